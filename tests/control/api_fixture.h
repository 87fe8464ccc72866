/* The API server in a thread of its own, on a memory store, with clients in the test's thread: the
 * REST client of proto/, and raw sockets for what no client would send. */
#ifndef TESTS_CONTROL_API_FIXTURE_H
#define TESTS_CONTROL_API_FIXTURE_H

#include <pthread.h>

#include "api/tree.h"
#include "control/api_server.h"
#include "proto/rest.h"

struct api_fixture {
    char dir[64], url[96], tcp_url[64];
    struct loop *loop; /* the server's: only through api_fixture_do */
    struct store *store;
    struct api *api;
    pthread_t thread;
    struct rest *rest;
    /* the last answer */
    int status;
    char *text;
    struct tree *body; /* NULL when it is no JSON */
    size_t warnings;
    char warning[512]; /* the first one */
};

/* config may be NULL. */
void api_fixture_open(struct api_fixture *f, const struct api_config *config);
void api_fixture_close(struct api_fixture *f);

/* cmocka setup and teardown with the default configuration; *state is the fixture. */
int api_fixture_setup(void **state);
int api_fixture_teardown(void **state);

/* One request; the answer is in f. type NULL: JSON. Returns the status. */
int api_fixture_call(struct api_fixture *f, const char *method, const char *path, const char *type,
                     const char *body);
int api_fixture_get(struct api_fixture *f, const char *path);
/* The same with an Accept header. */
int api_fixture_get_as(struct api_fixture *f, const char *path, const char *accept);
/* A text or number of the last answer's body, by path ("metadata.name", "items.0.metadata.name"); ""
 * when there is none. Borrowed until the next call. */
const char *api_fixture_text(struct api_fixture *f, const char *path);
/* Creates an object from YAML or JSON text; fails the test when it is refused. */
void api_fixture_create(struct api_fixture *f, const char *path, const char *json);

/* Runs fn on the server's thread and waits for it. */
void api_fixture_do(struct api_fixture *f, void (*fn)(struct api_fixture *f, void *ctx), void *ctx);

/* Raw connections: blocking, with a deadline of 20 s on each read. */
int api_fixture_connect(struct api_fixture *f);
void api_fixture_send(int fd, const char *text);
/* Reads until the end, or (until not NULL) until that text has come. The caller frees it. */
char *api_fixture_read(int fd, const char *until);

#endif
