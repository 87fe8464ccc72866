/* What drover knows of the place it prints to: is it a terminal, how wide, colours, UTF-8; progress
 * bars; and a region of lines that is redrawn in place. Off a terminal there are no escape codes
 * and no carriage returns. Colours only decorate: nothing is said by colour alone. */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/sb.h"

#define TERM_MAX_COLUMNS 100 /* what drover draws never gets wider, on any terminal */

struct term {
    FILE *out;
    bool tty;
    bool colour; /* tty, NO_COLOR unset or empty, TERM not "dumb" */
    bool utf8;   /* tty, and the locale's character set is UTF-8 */
    int columns; /* at most TERM_MAX_COLUMNS */
    int rows;
};

enum term_style {
    TERM_PLAIN,
    TERM_BOLD,
    TERM_DIM,
    TERM_GOOD, /* green */
    TERM_BAD,  /* red */
    TERM_BUSY, /* blue */
    TERM_WARN  /* yellow */
};

/* Looks at out's descriptor and the environment. out is borrowed. */
void term_init(struct term *t, FILE *out);
/* Appends text in a style; without colours, the text alone. */
void term_puts(const struct term *t, struct sb *out, enum term_style style, const char *text);
/* Appends a bar of `width` columns, full at 1000 permille. */
void term_bar(const struct term *t, struct sb *out, int width, int permille);
/* '-' is a rule, 'y' and 'n' good and bad, '>' an arrow, '.' a dot: one character each where the
 * terminal can, ASCII elsewhere. Borrowed literals. */
const char *term_glyph(const struct term *t, char which);
/* Columns that text takes on a terminal: UTF-8 characters count one each, escape codes none. */
size_t term_width(const char *text);
/* Appends text padded or cut ("...") to exactly `width` columns; text holds no escape codes. */
void term_cell(const struct term *t, struct sb *out, const char *text, int width, bool right);

/* Appends text with lines of at most `columns`, broken at blanks. What goes on stands below the last cell of
 * its line (cells are parted by three blanks), or two blanks further in than its line. One long word
 * sticks out rather than break. */
void term_fold(struct sb *out, const char *text, int columns);

/* A region at the cursor that is redrawn in place. Only on a terminal. */
struct term_live {
    struct term *term;
    int drawn; /* lines that the region has now */
};

/* Replaces the region by text (lines end with \n; each is cut at the terminal's width; lines beyond
 * the terminal's height are left out). One write, so that nothing flickers. */
void term_live_draw(struct term_live *l, const char *text);
/* Leaves the region as it stands, cursor below it. Shows the cursor again. */
void term_live_end(struct term_live *l);

#endif
