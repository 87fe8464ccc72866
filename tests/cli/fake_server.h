/* A controller for tests: recorded answers over HTTP on a UNIX socket, in a thread of this process;
 * and a way to run a verb and catch what it prints. */
#ifndef TESTS_CLI_FAKE_SERVER_H
#define TESTS_CLI_FAKE_SERVER_H

#include <stddef.h>

struct fake_answer {
    const char *method, *path; /* path with query, exactly; a path that ends with '*' is a prefix */
    int status;
    const char *body;    /* JSON; for a watch: lines, after which the connection ends */
    const char *warning; /* text of a Warning header, or NULL */
    int times; /* how often it is given; 0 = always. Later rows come after it is used up. */
};

struct fake_server;

/* answers end with a row without method and must outlive the server. What matches none of them is
 * answered with 404 and a Status. */
struct fake_server *fake_server_new(const struct fake_answer *answers);
void fake_server_free(struct fake_server *s);
const char *fake_server_url(const struct fake_server *s);
/* Everything that was asked so far, a line "METHOD PATH BODY" each; valid until the next call. */
const char *fake_server_log(struct fake_server *s);

struct ran {
    int exit_code;
    char *out, *err; /* malloc */
};

/* Runs a verb with these arguments (NULL-terminated; args[0] is the verb's name). */
struct ran run_verb(int (*verb)(int argc, char **argv), const char *const *args);
void ran_done(struct ran *r);

#endif
