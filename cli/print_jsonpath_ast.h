/* What a JSONPath template is after parsing: shared by print_jsonpath.c (writes it) and
 * print_jsonpath_eval.c (reads it), and by nobody else. Everything lives in jsonpath.arena. */
#ifndef CLI_PRINT_JSONPATH_AST_H
#define CLI_PRINT_JSONPATH_AST_H

#include <stdbool.h>
#include <stdint.h>

#include "api/tree.h"
#include "base/arena.h"

enum step_type { STEP_FIELD, STEP_ALL, STEP_SLICE, STEP_UNION, STEP_FILTER, STEP_DESCEND };
enum filter_op { OP_EXISTS, OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

struct path;

struct operand {
    struct path *path;        /* NULL: a literal */
    const struct tree *value; /* owned by jsonpath.literals */
};

struct step {
    enum step_type type;
    struct step *next;
    const char *name; /* FIELD: the key, escapes resolved */
    bool quoted;      /* FIELD: came from ['...'], may hold a path */
    bool has_start, has_end, single;
    int64_t start, end, stride; /* SLICE */
    struct path *alternatives;  /* UNION */
    enum filter_op op;          /* FILTER */
    struct operand left, right;
};

struct path {
    bool from_root; /* $: the document; else the current value */
    struct step *steps, **tail;
    struct path *next; /* in a union */
};

enum node_type { NODE_TEXT, NODE_PATH, NODE_RANGE };

struct node {
    enum node_type type;
    struct node *next;
    const char *text;
    struct path *path;
    struct node *body; /* RANGE */
};

struct jsonpath {
    struct arena *arena;
    struct tree *literals;
    struct node *nodes;
};

#endif
