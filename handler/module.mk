PROGS += drover-handler drover-guest
drover-handler_MAIN := handler/main_handler.c
drover-handler_LIBS := handler
drover-guest_MAIN := handler/main_guest.c
drover-guest_LIBS := handler
