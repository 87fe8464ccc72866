/* Output formats, as kubectl's -o: table, wide, yaml, json, name, jsonpath=TEMPLATE. */
#ifndef CLI_PRINT_H
#define CLI_PRINT_H

#include <stdbool.h>

#include "api/object.h"
#include "api/tree.h"
#include "base/err.h"
#include "base/sb.h"
#include "cli/print_jsonpath.h"
#include "cli/print_table.h"

enum print_kind { PRINT_TABLE, PRINT_WIDE, PRINT_YAML, PRINT_JSON, PRINT_NAME, PRINT_JSONPATH };

struct print_format {
    enum print_kind kind;
    struct jsonpath *jsonpath; /* PRINT_JSONPATH; owned */
};

/* text NULL means table. -EINVAL names what is allowed. */
int print_format_parse(const char *text, struct print_format *ret, struct err *err);
void print_format_done(struct print_format *f);
/* Appends one object (or a List) as yaml, json or through the template; a List as names gives one
 * name a line. Not for tables. */
void print_object(const struct print_format *f, const struct tree *obj, struct sb *out);
/* "virtualmachine.kubevirt.io/vm1", "node/n1": how kubectl names an object. Appended. */
void print_object_name(const struct kind_info *ki, const char *name, struct sb *out);

/* The server's tables. Several kinds in one answer are told apart by kind_prefix (their KIND/NAME).
 * The same print_rows is fed again and again by a watch. */
struct print_rows {
    struct table *table; /* made by the first call; owned */
    size_t shown[64];    /* indexes of the server's columns that are shown */
    size_t shown_len;
    bool wide, no_headings, with_namespace, show_labels;
    const struct kind_info *kind_prefix; /* NULL: plain names */
};

/* Adds a Table's rows. Those of later calls need no columnDefinitions. -EPROTO when it is no
 * Table. */
int print_rows_add(struct print_rows *r, const struct tree *server_table, struct err *err);
void print_rows_done(struct print_rows *r);

#endif
