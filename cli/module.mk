PROGS += drover
drover_MAIN := cli/main_drover.c
drover_LIBS := cli
