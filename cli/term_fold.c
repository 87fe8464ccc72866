/* Lines that are too long for a terminal; see term_fold() in cli/term.h. */
#include <string.h>

#include "base/cleanup.h"
#include "cli/term.h"

#define CELL_GAP "   " /* between the cells of a table */
#define NARROW   20    /* a last cell with less room than this is folded below the whole line */

/* Where the last cell of a line begins that has some room left; else the line's text. */
static size_t
text_start(const char *line, size_t columns, size_t *ret_hang)
{
    size_t indent = strspn(line, " "), start = indent;

    *ret_hang = indent + 2;
    for (const char *p = line + indent; (p = strstr(p, CELL_GAP)); p += strspn(p, " ")) {
        size_t cell = (size_t)(p - line) + strspn(p, " ");
        AUTO_FREE char *before = xstrndup(line, cell);
        size_t at = term_width(before);

        if (line[cell] == '\0' || at + NARROW > columns)
            break;
        start = cell;
        *ret_hang = at;
    }
    return start;
}

/* The blank at which line is broken: the last one that fits, else the first one; 0: none. */
static size_t
break_at(const char *line, size_t start, size_t columns)
{
    size_t at = 0;

    for (size_t i = start; line[i]; i++) {
        AUTO_FREE char *before = NULL;

        if (line[i] != ' ' || i == start)
            continue;
        before = xstrndup(line, i);
        if (at > 0 && term_width(before) > columns)
            break;
        at = i;
    }
    return at;
}

static void
fold_line(struct sb *out, const char *line, size_t columns)
{
    size_t hang, start = text_start(line, columns, &hang), room = columns, at;

    while (term_width(line) > room && (at = break_at(line, start, room)) > 0) {
        sb_add(out, line, at);
        sb_printf(out, "\n%*s", (int)hang, "");
        line += at + strspn(line + at, " ");
        start = 0;
        room = columns - hang;
    }
    sb_puts(out, line);
}

void
term_fold(struct sb *out, const char *text, int columns)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        AUTO_FREE char *line = xstrndup(text, len);

        fold_line(out, line, (size_t)columns);
        text += len;
        if (*text == '\n') {
            sb_putc(out, '\n');
            text++;
        }
    }
}
