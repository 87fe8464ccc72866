/* A store of either back end with calls that wait: for tests/control/test_store*.c and test_api*.c. */
#ifndef TESTS_CONTROL_STORE_FIXTURE_H
#define TESTS_CONTROL_STORE_FIXTURE_H

#include "base/loop.h"
#include "control/store_object.h"

struct fixture {
    struct loop *loop;
    struct store *st;
    char dir[64], path[96]; /* "" for the memory back end */
    /* of the last call that waited */
    bool finished;
    int rc;
    bool changed, removed;
    char message[256];
    struct tree *obj; /* copy of the result, or NULL */
};

void fixture_open(struct fixture *f, bool sqlite); /* a new, empty store */
void fixture_reopen(struct fixture *f);            /* SQLite: close and open the same file */
void fixture_close(struct fixture *f);             /* and remove the file */

/* {"apiVersion", "kind", "metadata": {...}} of a kind; extra is more JSON after the metadata
 * (", \"spec\": {...}") or "". ns "" for none. */
struct tree *fixture_object(enum kind kind, const char *ns, const char *name, const char *extra);

/* Each queues the write and runs the loop until it is done; returns its rc. */
int fixture_create(struct fixture *f, struct tree *obj);
int fixture_update(struct fixture *f, struct tree *obj);
int fixture_patch(struct fixture *f, enum kind kind, const char *ns, const char *name, uint64_t rv,
                  const char *patch);
int fixture_delete(struct fixture *f, enum kind kind, const char *ns, const char *name,
                   const char *uid, uint64_t rv);
/* As store_done for a write queued by the test itself; ctx is the fixture. */
void fixture_done(void *ctx, const struct store_result *res);
/* Runs the loop until `finished`. */
void fixture_wait(struct fixture *f);
/* All objects of all kinds as one text, ordered: equal texts are equal stores. */
char *fixture_dump(struct store *st);

struct tree *fixture_json(const char *text); /* aborts the test when it does not parse */

#endif
