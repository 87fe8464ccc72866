/* What is to be looked at when, by itself: deadlines of objects, on wall time. Part of
 * control/loop_core.h's state. */
#ifndef CONTROL_LOOP_DUE_H
#define CONTROL_LOOP_DUE_H

#include <stdbool.h>
#include <stdint.h>

#include "api/types.h"

struct loop_due;

struct loop_due *loop_due_new(void);
void loop_due_free(struct loop_due *d); /* NULL is fine */
/* The object is due at wall_us, at the latest: an earlier time that is known stays. True when none
 * was known. */
bool loop_due_at(struct loop_due *d, enum kind kind, const char *ns, const char *name,
                 int64_t wall_us);
/* When the first one is due; 0: nothing is. */
int64_t loop_due_first_us(const struct loop_due *d);
/* Takes out one that is due and says what it is; false when nothing is. Borrowed until the next
 * call. */
bool loop_due_next(struct loop_due *d, int64_t now_us, enum kind *ret_kind, const char **ret_ns,
                   const char **ret_name);

#endif
