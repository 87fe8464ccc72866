/* The look of running migrations. One line each, on a terminal:
 *
 *   VM      ROUTE          MEMORY                ROUND  REMAINING        RATE       DIRTY      ETA
 *   vm-web  node1 → node2  ██████████████░░░░░░      2    112 MiB   1.2 GiB/s    40 MiB/s    94 ms
 *
 * A finished one says what it took, a waiting one says what for. */
#include "cli/term_migrations.h"

#include <string.h>

#include "base/strmap.h"

#define MIN_BAR       8
#define MAX_BAR       20
#define NEWS_MS       5000
#define NUMBERS_WIDTH 51 /* of put_live_numbers */

struct said {
    char *key, *line;
};

struct migrations_view {
    struct term *term;
    struct term_live live;
    int indent;
    struct strmap *said; /* uid -> struct said: what was printed last, off a terminal */
    char *said_below;
    bool details;
    int name_width, route_width; /* only grow, so that columns stay where they are */
};

struct migrations_view *
migrations_view_new(struct term *term, int indent)
{
    struct migrations_view *v = xcalloc(1, sizeof(*v));

    v->term = term;
    v->live.term = term;
    v->indent = indent;
    v->said = strmap_new();
    v->name_width = 2;
    v->route_width = 5;
    return v;
}

static void
said_free(void *p)
{
    struct said *s = p;

    if (!s)
        return;
    free(s->key);
    free(s->line);
    free(s);
}

void
migrations_view_free(struct migrations_view *v)
{
    if (!v)
        return;
    migrations_view_settle(v);
    strmap_free(v->said, said_free);
    free(v->said_below);
    free(v);
}

void
migrations_view_details(struct migrations_view *v)
{
    v->details = true;
}

void
migrations_view_settle(struct migrations_view *v)
{
    if (v->term->tty && v->live.drawn)
        term_live_end(&v->live);
}

static void
put_route(const struct term *t, const struct migration *m, struct sb *out)
{
    if (!m->source[0] && !m->target[0])
        return;
    sb_printf(out, "%s %s %s", m->source[0] ? m->source : "?", term_glyph(t, '>'),
              m->target[0] ? m->target : "?");
}

/* How it goes, beyond the numbers in columns; what was not measured is left out. */
static void
put_details(const struct migration *m, struct sb *out)
{
    if (m->encodings[0])
        sb_printf(out, ", %s", m->encodings);
    if (m->predicted_downtime_ms > 0) {
        sb_puts(out, ", downtime ");
        human_ms(out, m->predicted_downtime_ms);
        if (m->predicted_downtime_p90_ms > 0) {
            sb_puts(out, " (P90 ");
            human_ms(out, m->predicted_downtime_p90_ms);
            sb_putc(out, ')');
        }
        sb_puts(out, " predicted");
    }
    if (m->limit_bytes_per_s > 0) {
        sb_puts(out, ", limit ");
        human_rate(out, m->limit_bytes_per_s);
    }
    if (m->throttle_percent > 0)
        sb_printf(out, ", throttled %lld %%", (long long)m->throttle_percent);
    if (m->missing_bytes > 0) {
        sb_puts(out, ", missing at the target ");
        human_bytes(out, m->missing_bytes);
    }
    if (m->reconnects > 0)
        sb_printf(out, ", reconnected %lld times", (long long)m->reconnects);
}

/* What follows the bar while memory moves. */
static void
put_numbers(const struct migration *m, bool details, struct sb *out)
{
    sb_printf(out, "round %lld, ", (long long)m->round);
    human_bytes(out, m->remaining_bytes);
    sb_puts(out, " left");
    if (!m->rate_bytes_per_s) /* not measured yet */
        return;
    sb_puts(out, ", ");
    human_rate(out, m->rate_bytes_per_s);
    sb_puts(out, ", dirty ");
    human_rate(out, m->dirty_bytes_per_s);
    if (migration_eta_ms(m) >= 0) {
        sb_puts(out, ", ETA ");
        human_ms(out, migration_eta_ms(m));
    }
    if (details && strcmp(m->transport, "rdma") == 0)
        sb_printf(out, ", %s", m->privacy);
    if (details)
        put_details(m, out);
}

static void
put_outcome(const struct migration *m, struct sb *out)
{
    if (m->failed) {
        sb_printf(out, "failed: %s", m->failure[0] ? m->failure : m->cause);
        return;
    }
    sb_puts(out, "moved");
    if (m->has_result) {
        sb_puts(out, " in ");
        human_ms(out, m->result_total_ms);
        sb_puts(out, ", ");
        human_bytes(out, m->result_sent_bytes);
        sb_printf(out, " in %lld round%s", (long long)m->result_rounds,
                  m->result_rounds == 1 ? "" : "s");
        if (strcmp(m->transport, "rdma") == 0)
            sb_printf(out, ", %s", m->privacy);
    }
    if (m->guest_downtime_ms >= 0) {
        sb_puts(out, ", downtime ");
        human_ms(out, m->guest_downtime_ms);
    }
}

static void
put_state(const struct migrations_view *v, const struct migration *m, struct sb *out)
{
    if (m->final) {
        put_outcome(m, out);
    } else if (m->has_progress && m->started_us) {
        put_numbers(m, v->details, out);
    } else if (m->waiting[0]) {
        sb_puts(out, m->waiting); /* the coordinator's words: "waiting: 2 of 2 ..." */
    } else {
        sb_puts(out, m->phase[0] ? m->phase : "Pending");
    }
}

/* --- plain lines --- */

/* What counts as news: a phase, a round, and that much time. Rates alone do not, or it would be a
 * flood. */
static void
put_news_key(const struct migration *m, struct sb *out)
{
    bool moves = m->started_us && !m->final;

    sb_printf(out, "%s|%s|%lld|%lld|%d", m->phase, m->waiting, moves ? (long long)m->round : 0LL,
              moves ? (long long)m->elapsed_ms / NEWS_MS : 0LL,
              m->has_result && m->guest_downtime_ms >= 0);
}

static void
say(struct migrations_view *v, const char *line)
{
    fprintf(v->term->out, "%*s%s\n", v->indent, "", line);
    fflush(v->term->out);
}

static void
show_plain(struct migrations_view *v, const struct migration *m)
{
    AUTO_SB struct sb line = SB_INIT, key = SB_INIT;
    const struct said *before = strmap_get(v->said, m->uid);
    struct said *now;

    put_news_key(m, &key);
    if (before && strcmp(before->key, sb_str(&key)) == 0)
        return;
    sb_printf(&line, "%s: ", m->vm);
    put_route(v->term, m, &line);
    if (m->source[0] || m->target[0])
        sb_puts(&line, ": ");
    put_state(v, m, &line);
    if (!before || strcmp(before->line, sb_str(&line)) != 0)
        say(v, sb_str(&line));
    now = xcalloc(1, sizeof(*now));
    *now = (struct said){.key = sb_steal(&key), .line = sb_steal(&line)};
    said_free(strmap_put(v->said, m->uid, now));
}

/* --- the live table --- */

static int
bar_width(const struct migrations_view *v)
{
    int left = v->term->columns - v->indent - v->name_width - v->route_width - 4 - NUMBERS_WIDTH;

    return left < MIN_BAR ? MIN_BAR : left > MAX_BAR ? MAX_BAR : left;
}

static void
put_live_headings(struct migrations_view *v, struct sb *out)
{
    AUTO_SB struct sb line = SB_INIT;

    sb_printf(&line, "%*s", v->indent, "");
    term_cell(v->term, &line, "VM", v->name_width, false);
    sb_puts(&line, "  ");
    term_cell(v->term, &line, "ROUTE", v->route_width, false);
    sb_puts(&line, "  ");
    term_cell(v->term, &line, "MEMORY", bar_width(v), false);
    sb_printf(&line, "%7s%11s%12s%12s%9s", "ROUND", "REMAINING", "RATE", "DIRTY", "ETA");
    term_puts(v->term, out, TERM_DIM, sb_str(&line));
    sb_putc(out, '\n');
}

/* The numbers of put_numbers in columns, so that nothing jumps while they change. */
static void
put_live_numbers(const struct migration *m, struct sb *out)
{
    AUTO_SB struct sb remaining = SB_INIT, rate = SB_INIT, dirty = SB_INIT, eta = SB_INIT;

    human_bytes(&remaining, m->remaining_bytes);
    if (m->rate_bytes_per_s) {
        human_rate(&rate, m->rate_bytes_per_s);
        human_rate(&dirty, m->dirty_bytes_per_s);
    } else { /* not measured yet */
        sb_putc(&rate, '-');
        sb_putc(&dirty, '-');
    }
    human_ms(&eta, migration_eta_ms(m));
    sb_printf(out, "%7lld%11s%12s%12s%9s", (long long)m->round, sb_str(&remaining), sb_str(&rate),
              sb_str(&dirty), sb_str(&eta));
}

/* Words from the bar's column on, cut at the width. */
static void
put_live_words(const struct migrations_view *v, const struct migration *m, struct sb *out)
{
    const struct term *t = v->term;
    int left = t->columns - v->indent - v->name_width - v->route_width - 4, width;
    AUTO_SB struct sb state = SB_INIT;

    if (m->final) {
        const char *mark = term_glyph(t, m->failed ? 'n' : 'y');

        term_puts(t, out, m->failed ? TERM_BAD : TERM_GOOD, mark);
        sb_putc(out, ' ');
        left -= (int)term_width(mark) + 1;
    }
    put_state(v, m, &state);
    width = (int)term_width(sb_str(&state));
    term_cell(t, out, sb_str(&state), width < left ? width : left, false);
}

static void
put_live_details(const struct migrations_view *v, const struct migration *m, struct sb *out)
{
    AUTO_SB struct sb words = SB_INIT, line = SB_INIT;

    sb_printf(&words, "%s, %s", m->phase, m->mode[0] ? m->mode : "PreCopy");
    if (strcmp(m->privacy, "plaintext") != 0) /* that is the same for all, and somebody's word */
        sb_printf(&words, ", %s", m->privacy);
    put_details(m, &words);
    term_cell(v->term, &line, sb_str(&words), v->term->columns - v->indent - 4, false);
    sb_printf(out, "\n%*s    ", v->indent, "");
    term_puts(v->term, out, TERM_DIM, sb_str(&line));
}

static void
put_live_line(struct migrations_view *v, const struct migration *m, struct sb *out)
{
    const struct term *t = v->term;
    AUTO_SB struct sb route = SB_INIT;

    put_route(t, m, &route);
    sb_printf(out, "%*s", v->indent, "");
    term_cell(t, out, m->vm, v->name_width, false);
    sb_puts(out, "  ");
    term_cell(t, out, sb_str(&route), v->route_width, false);
    sb_puts(out, "  ");
    if (!m->final && m->has_progress && m->started_us) {
        term_bar(t, out, bar_width(v), migration_permille(m));
        put_live_numbers(m, out);
        if (v->details)
            put_live_details(v, m, out);
    } else {
        put_live_words(v, m, out);
    }
    sb_putc(out, '\n');
}

static void
grow(int *width, const char *s)
{
    int w = (int)term_width(s);

    if (w > *width)
        *width = w;
}

void
migrations_view_show(struct migrations_view *v, const struct migration *m, size_t len,
                     const char *below)
{
    AUTO_SB struct sb out = SB_INIT;

    if (!v->term->tty) {
        for (size_t i = 0; i < len; i++)
            show_plain(v, &m[i]);
        if (below && below[0] && (!v->said_below || strcmp(below, v->said_below) != 0)) {
            say(v, below);
            free(v->said_below);
            v->said_below = xstrdup(below);
        }
        return;
    }
    for (size_t i = 0; i < len; i++) {
        AUTO_SB struct sb route = SB_INIT;

        put_route(v->term, &m[i], &route);
        grow(&v->name_width, m[i].vm);
        grow(&v->route_width, sb_str(&route));
    }
    if (len)
        put_live_headings(v, &out);
    for (size_t i = 0; i < len; i++)
        put_live_line(v, &m[i], &out);
    if (below && below[0])
        sb_printf(&out, "%*s%s\n", v->indent, "", below);
    term_live_draw(&v->live, sb_str(&out));
}
