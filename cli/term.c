/* Terminals: detection, styles, bars, and redrawing a few lines in place with the four escape codes
 * that every terminal since the VT100 knows. No curses: drover never takes over the screen, so that
 * what it printed can be scrolled back to and copied. */
#include "cli/term.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <sys/ioctl.h>

#define CURSOR_HIDE "\033[?25l"
#define CURSOR_SHOW "\033[?25h"
#define CLEAR_BELOW "\033[J"
#define CLEAR_RIGHT "\033[K"

void
term_init(struct term *t, FILE *out)
{
    const char *no_color = getenv("NO_COLOR"), *name = getenv("TERM");
    struct winsize ws = {0};

    *t = (struct term){.out = out, .columns = TERM_MAX_COLUMNS, .rows = 24};
    if (!setlocale(LC_CTYPE, ""))
        setlocale(LC_CTYPE, "C");
    t->tty = isatty(fileno(out)) == 1 && (!name || strcmp(name, "dumb") != 0);
    t->utf8 = t->tty && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    t->colour = t->tty && !(no_color && no_color[0]);
    if (t->tty && ioctl(fileno(out), TIOCGWINSZ, &ws) == 0 && ws.ws_col > 0) {
        if (ws.ws_col < TERM_MAX_COLUMNS)
            t->columns = ws.ws_col;
        t->rows = ws.ws_row > 0 ? ws.ws_row : 24;
    }
}

void
term_puts(const struct term *t, struct sb *out, enum term_style style, const char *text)
{
    static const char *const codes[] = {
        [TERM_PLAIN] = "",        [TERM_BOLD] = "\033[1m", [TERM_DIM] = "\033[2m",
        [TERM_GOOD] = "\033[32m", [TERM_BAD] = "\033[31m", [TERM_BUSY] = "\033[34m",
        [TERM_WARN] = "\033[33m",
    };

    if (!t->colour || style == TERM_PLAIN) {
        sb_puts(out, text);
        return;
    }
    sb_puts(out, codes[style]);
    sb_puts(out, text);
    sb_puts(out, "\033[0m");
}

void
term_bar(const struct term *t, struct sb *out, int width, int permille)
{
    /* eighths of a cell, so that the bar moves smoothly */
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    AUTO_SB struct sb full = SB_INIT, rest = SB_INIT;
    int units, i;

    if (permille < 0)
        permille = 0;
    if (permille > 1000)
        permille = 1000;
    units = width * 8 * permille / 1000;
    for (i = 0; i < units / 8; i++)
        sb_puts(&full, t->utf8 ? "█" : "#");
    if (t->utf8 && units % 8) {
        sb_puts(&full, eighths[units % 8]);
        i++;
    }
    for (; i < width; i++)
        sb_puts(&rest, t->utf8 ? "░" : ".");
    term_puts(t, out, permille == 1000 ? TERM_GOOD : TERM_BUSY, sb_str(&full));
    term_puts(t, out, TERM_DIM, sb_str(&rest));
}

const char *
term_glyph(const struct term *t, char which)
{
    switch (which) {
    case '-':
        return t->utf8 ? "─" : "-";
    case 'y':
        return t->utf8 ? "✓" : "ok";
    case 'n':
        return t->utf8 ? "✗" : "no";
    case '>':
        return t->utf8 ? "→" : "->";
    default:
        return t->utf8 ? "·" : "-";
    }
}

/* Length of an escape sequence at p (ESC [ ... letter), or 0. */
static size_t
escape_len(const char *p)
{
    size_t n = 2;

    if (p[0] != '\033' || p[1] != '[')
        return 0;
    while (p[n] && (p[n] < '@' || p[n] > '~'))
        n++;
    return p[n] ? n + 1 : n;
}

/* Bytes of the UTF-8 character at p; 1 for what is none. */
static int
utf8_len(const char *p)
{
    int n = 1;

    while (n < 4 && ((unsigned char)p[n] & 0xc0) == 0x80)
        n++;
    return n;
}

size_t
term_width(const char *text)
{
    size_t width = 0, n;

    while (*text) {
        n = escape_len(text);
        if (!n) {
            n = (size_t)utf8_len(text);
            width++;
        }
        text += n;
    }
    return width;
}

void
term_cell(const struct term *t, struct sb *out, const char *text, int width, bool right)
{
    size_t have = term_width(text), want = width > 0 ? (size_t)width : 0;
    const char *dots = t->utf8 ? "…" : "~";

    if (have > want) {
        for (size_t i = 0; i + 1 < want; i++) {
            int n = utf8_len(text);

            sb_add(out, text, (size_t)n);
            text += n;
        }
        if (want)
            sb_puts(out, dots);
        return;
    }
    if (!right)
        sb_puts(out, text);
    for (size_t i = have; i < want; i++)
        sb_putc(out, ' ');
    if (right)
        sb_puts(out, text);
}

/* One line, cut at the width; escape codes take no room and are all kept. */
static void
add_cut(struct sb *out, const char *line, size_t len, int columns)
{
    const char *end = line + len;
    int used = 0;

    while (line < end) {
        size_t n = escape_len(line);

        if (!n) {
            n = (size_t)utf8_len(line);
            if (used++ >= columns) {
                line += n;
                continue;
            }
        }
        if (line + n > end)
            n = (size_t)(end - line);
        sb_add(out, line, n);
        line += n;
    }
}

static void
go_to_start(const struct term_live *l, struct sb *out)
{
    if (l->drawn > 0)
        sb_printf(out, "\033[%dA", l->drawn);
    sb_putc(out, '\r');
}

static void
put_out(const struct term_live *l, const struct sb *out)
{
    fwrite(sb_str(out), 1, out->len, l->term->out);
    fflush(l->term->out);
}

void
term_live_draw(struct term_live *l, const char *text)
{
    AUTO_SB struct sb out = SB_INIT;
    int lines = 0;

    sb_puts(&out, CURSOR_HIDE);
    go_to_start(l, &out);
    while (*text && lines < l->term->rows - 1) {
        size_t n = strcspn(text, "\n");

        add_cut(&out, text, n, l->term->columns);
        sb_puts(&out, CLEAR_RIGHT "\n");
        text += n + (text[n] == '\n');
        lines++;
    }
    sb_puts(&out, CLEAR_BELOW);
    l->drawn = lines;
    put_out(l, &out);
}

void
term_live_end(struct term_live *l)
{
    l->drawn = 0;
    fputs(CURSOR_SHOW, l->term->out);
    fflush(l->term->out);
}
