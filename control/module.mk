PROGS += drover-controller
drover-controller_MAIN := control/main_controller.c
drover-controller_LIBS := control
