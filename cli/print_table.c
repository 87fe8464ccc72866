/* Tables in kubectl's form. Holds the cells of one portion, prints them, keeps the widths. Called
 * by print.c for the server's tables and by the verbs for their own. */
#include "cli/print_table.h"

#include <string.h>

#include "cli/term.h"

#define TABLE_MAX_COLUMNS 64

struct column {
    char *heading;
    bool right;
    size_t width;
};

struct table {
    struct column columns[TABLE_MAX_COLUMNS];
    size_t columns_len;
    char **cells;
    size_t cells_len, cells_cap, rows_printed;
    bool tight, no_headings, headings_done;
};

struct table *
table_new(void)
{
    return xcalloc(1, sizeof(struct table));
}

static void
drop_cells(struct table *t)
{
    for (size_t i = 0; i < t->cells_len; i++)
        free(t->cells[i]);
    t->cells_len = 0;
}

void
table_free(struct table *t)
{
    if (!t)
        return;
    drop_cells(t);
    for (size_t i = 0; i < t->columns_len; i++)
        free(t->columns[i].heading);
    free(t->cells);
    free(t);
}

void
table_auto(struct table **t)
{
    table_free(*t);
}

void
table_set_tight(struct table *t)
{
    t->tight = true;
}

void
table_no_headings(struct table *t)
{
    t->no_headings = true;
    for (size_t i = 0; i < t->columns_len; i++)
        t->columns[i].width = 0;
}

void
table_column(struct table *t, const char *heading, bool right)
{
    struct column *c;

    if (t->columns_len == TABLE_MAX_COLUMNS)
        return;
    c = &t->columns[t->columns_len++];
    c->heading = xstrdup(heading);
    c->right = right;
    c->width = t->no_headings ? 0 : term_width(heading);
}

size_t
table_rows(const struct table *t)
{
    size_t now = t->columns_len ? t->cells_len / t->columns_len : 0;

    return t->rows_printed + now;
}

static char *
clean_text(const char *text)
{
    struct sb s = SB_INIT;

    for (; *text && *text != '\n'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f) {
            sb_putc(&s, '^');
            sb_putc(&s, (char)(c ^ 0x40));
        } else {
            sb_putc(&s, *text);
        }
    }
    if (*text == '\n')
        sb_puts(&s, "...");
    return sb_steal(&s);
}

void
table_cell(struct table *t, const char *text)
{
    struct column *c;
    size_t width;

    if (!t->columns_len)
        return;
    if (t->cells_len == t->cells_cap) {
        t->cells_cap = t->cells_cap ? t->cells_cap * 2 : 64;
        t->cells = xreallocarray(t->cells, t->cells_cap, sizeof(t->cells[0]));
    }
    c = &t->columns[t->cells_len % t->columns_len];
    t->cells[t->cells_len] = clean_text(text ? text : "");
    width = term_width(t->cells[t->cells_len]);
    if (width > c->width)
        c->width = width;
    t->cells_len++;
}

void
table_cellf(struct table *t, const char *fmt, ...)
{
    AUTO_SB struct sb s = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&s, fmt, ap);
    va_end(ap);
    table_cell(t, sb_str(&s));
}

static void
put_blanks(struct sb *out, size_t n)
{
    while (n--)
        sb_putc(out, ' ');
}

static void
put_cell(const struct table *t, size_t column, const char *text, struct sb *out)
{
    const struct column *c = &t->columns[column];
    size_t pad = c->width - term_width(text);

    if (c->right)
        put_blanks(out, pad);
    sb_puts(out, text);
    if (column + 1 == t->columns_len) {
        while (out->len && out->buf[out->len - 1] == ' ')
            out->len--;
        sb_putc(out, '\n');
        return;
    }
    put_blanks(out, (c->right ? 0 : pad) + (t->tight ? 2 : 3));
}

void
table_flush(struct table *t, int indent, struct sb *out)
{
    if (!t->headings_done && !t->no_headings) {
        put_blanks(out, (size_t)indent);
        for (size_t i = 0; i < t->columns_len; i++)
            put_cell(t, i, t->columns[i].heading, out);
    }
    t->headings_done = true;
    if (t->columns_len == 0)
        return;
    while (t->cells_len % t->columns_len)
        table_cell(t, "");
    for (size_t i = 0; i < t->cells_len; i++) {
        if (i % t->columns_len == 0)
            put_blanks(out, (size_t)indent);
        put_cell(t, i % t->columns_len, t->cells[i], out);
    }
    t->rows_printed = table_rows(t);
    drop_cells(t);
}
