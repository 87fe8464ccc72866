/* The program drover-guest, callable: main_guest.c is this and nothing else, and tests run it from
 * their own program, so that they need no other file. */
#ifndef HANDLER_GUEST_MAIN_H
#define HANDLER_GUEST_MAIN_H

/* Returns the exit status: 0 ended in order, 1 could not start or go on (one line on stderr, and in
 * the file `exit` of its directory). Changes signal dispositions of the process. */
int guest_main(int argc, char **argv);

#endif
