/* Table-driven tests: each row of a table is a named cmocka test of its own. */
#ifndef TESTS_API_ROWS_H
#define TESTS_API_ROWS_H

#include <stddef.h>

#include "api/object.h"

/* The first member of a row is its name (const char *); fn gets the row as its initial state. Returns the
 * number of rows that failed. */
int rows_run(const char *group, const void *rows, size_t row_size, size_t len,
             void (*fn)(void **state));
#define ROWS_RUN(group, rows, fn) rows_run(group, rows, sizeof(rows)[0], ARRAY_LEN(rows), fn)

/* A manifest that is checked, and what must come of it. */
struct object_row {
    const char *name;
    const char *text;    /* YAML */
    const char *error;   /* part of "path: message" of any error; NULL: it is valid */
    const char *warning; /* part of any warning; NULL: there is none; "*": whatever */
    unsigned flags;      /* 0: VALIDATE_CREATE | VALIDATE_STATUS */
};

/* Checks text, put into the wrapper at its "%s" (NULL: as it is), against the row. */
void object_row_check(const struct object_row *row, const char *wrapper);

/* One document of YAML, the caller's; fails the test when it cannot be read. */
struct tree *yaml_one(const char *text);
/* The same, checked as an object. */
struct tree *object_one(const char *text);

#endif
