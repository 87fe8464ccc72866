/* The columns that `kubectl get` shows for each kind. Internal to control/api_table.c and
 * control/api_columns.c. */
#ifndef CONTROL_API_COLUMNS_H
#define CONTROL_API_COLUMNS_H

#include "api/object.h"

struct api_column {
    const char *name; /* NULL ends a table */
    const char *type; /* "string", "date", "integer" */
    int priority;     /* 0: always; 1: with -o wide */
    /* Exactly one of: a path of map keys and list indexes ("status.interfaces.0.ipAddress"; of a
     * date: a timestamp, shown as an age), a condition's type (its status is shown), a function. */
    const char *path, *condition;
    void (*cell)(
        const struct tree *obj,
        struct sb *out); /* adds the text (of a date: a timestamp); nothing: an empty cell */
    const char *description;
};

/* Ended by one without a name; never NULL. */
const struct api_column *api_columns(enum kind kind);

#endif
