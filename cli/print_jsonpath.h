/* JSONPath as kubectl prints it (`-o jsonpath=TEMPLATE`): text, {.field}, {.a\.b}, {['quoted']},
 * {[n]}, {[-1]}, {[a:b]}, {[*]}, {.*}, {..name}, {['a','b']}, {[?(@.x=="y")]}, {range}...{end},
 * {"\n"}. Follows client-go's util/jsonpath. Differences, on purpose: a quoted key is first looked
 * up as it stands and only then split at its dots, and a template without braces that starts with a
 * dot or a dollar is one expression. Pure. */
#ifndef CLI_PRINT_JSONPATH_H
#define CLI_PRINT_JSONPATH_H

#include "api/tree.h"
#include "base/err.h"
#include "base/sb.h"

struct jsonpath;

/* -EINVAL with the column and what was wanted there. *ret is the caller's. */
int jsonpath_parse(const char *text, struct jsonpath **ret, struct err *err);
void jsonpath_free(struct jsonpath *jp); /* NULL is fine */
/* Fields that are not there print nothing. Several values of one expression are parted by blanks;
 * maps and lists are printed as JSON. */
void jsonpath_print(const struct jsonpath *jp, const struct tree *root, struct sb *out);

#endif
