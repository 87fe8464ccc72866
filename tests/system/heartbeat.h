/* The test guest's heartbeat (tests/guest/main.c) as somebody outside sees it: all that one VM prints on its
 * console, on whichever host of a cluster it is, in the order in which it was printed. A thread follows
 * STATE/guests/UID/console.log of every host; a line that a migration cut in two is put together again. */
#ifndef TESTS_SYSTEM_HEARTBEAT_H
#define TESTS_SYSTEM_HEARTBEAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/system/cluster.h"

struct heartbeat;

struct heartbeat_now {
    uint64_t lines;    /* HB lines so far */
    uint64_t lost;     /* numbers that are missing, or came twice */
    uint64_t bad;      /* pages that the guest found other than it wrote them: its last word */
    uint64_t restarts; /* it began again at 0 */
    uint64_t gap_ms;   /* longest time between two lines since heartbeat_mark, by our clock */
    char wrong[256];   /* the first line that was not as expected, and what was; "" = none */
};

/* uid: of the VMI. Follows until heartbeat_free. */
struct heartbeat *heartbeat_new(struct sys *s, const char *uid);
void heartbeat_free(struct heartbeat *h); /* NULL is fine */
void heartbeat_look(struct heartbeat *h, struct heartbeat_now *ret);
/* gap_ms begins anew. */
void heartbeat_mark(struct heartbeat *h);
/* Waits for so many further HB lines; false after seconds. */
bool heartbeat_wait(struct heartbeat *h, uint64_t lines, unsigned seconds);
/* Waits for a line that holds text, from now on; false after seconds. */
bool heartbeat_says(struct heartbeat *h, const char *text, unsigned seconds);

#endif
