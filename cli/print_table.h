/* Tables as kubectl prints them: upper-case headings, columns parted by three blanks, nothing after
 * the last cell. Rows may come in portions (watch): widths only grow. */
#ifndef CLI_PRINT_TABLE_H
#define CLI_PRINT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/sb.h"

struct table;

struct table *table_new(void);
void table_free(struct table *t); /* NULL is fine */
void table_auto(struct table **t);
#define AUTO_TABLE CLEANUP(table_auto)
/* Two blanks instead of three between columns, for tables that must fit into 100 columns. */
void table_set_tight(struct table *t);
void table_no_headings(struct table *t);
/* Numbers are flushed right. All columns are added before the first cell. */
void table_column(struct table *t, const char *heading, bool right);
size_t table_rows(const struct table *t);
/* Cells fill the columns from left to right; a new row begins by itself. Control characters are
 * made visible (a message must not drive the terminal); a text is cut at its first newline. */
void table_cell(struct table *t, const char *text);
void table_cellf(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Appends the rows that were added since the last call; the headings before the first ones. Each
 * line is preceded by `indent` blanks. */
void table_flush(struct table *t, int indent, struct sb *out);

#endif
