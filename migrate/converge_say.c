/* Sentences for the decision log; see converge_say.h. */
#include "migrate/converge_say.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NUMBER 32

struct words { /* a sentence that is put together from parts */
    char *text;
    size_t at;
};

static void add(struct words *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct words *w, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(w->text + w->at, MIG_DECISION_TEXT - w->at, fmt, ap);
    va_end(ap);
    if (n > 0)
        w->at += (size_t)n < MIG_DECISION_TEXT - w->at ? (size_t)n : MIG_DECISION_TEXT - w->at - 1;
}

static const char *
bytes_text(double bytes, char buf[NUMBER])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned u = 0;

    for (; bytes >= 1024 && u < 4; u++)
        bytes /= 1024;
    snprintf(buf, NUMBER, u ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return buf;
}

static const char *
rate_text(double bytes_per_s, char buf[NUMBER])
{
    static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s"};
    unsigned u = 0;

    for (; bytes_per_s >= 1000 && u < 3; u++)
        bytes_per_s /= 1000;
    snprintf(buf, NUMBER, bytes_per_s < 10 ? "%.2f %s" : "%.0f %s", bytes_per_s, units[u]);
    return buf;
}

static const char *
time_text(double us, char buf[NUMBER])
{
    if (us < 10000)
        snprintf(buf, NUMBER, "%.1f ms", us / 1e3);
    else if (us < 1e6)
        snprintf(buf, NUMBER, "%.0f ms", us / 1e3);
    else
        snprintf(buf, NUMBER, "%.1f s", us / 1e6);
    return buf;
}

const char *
converge_decision_name(enum converge_decision d)
{
    static const char *const names[CONVERGE_DECISIONS] = {
        [CONVERGE_ROUND] = "round",       [CONVERGE_SWITCH] = "switchover",
        [CONVERGE_THROTTLE] = "throttle", [CONVERGE_POSTCOPY] = "postcopy",
        [CONVERGE_PAUSE] = "pause",       [CONVERGE_ABORT] = "abort"};

    return (unsigned)d < CONVERGE_DECISIONS ? names[d] : "?";
}

static void
add_prediction(struct words *w, const struct converge_prediction *p)
{
    char a[NUMBER], b[NUMBER];

    switch (p->end) {
    case CONVERGE_SWITCH:
        if (p->throttle_percent)
            add(w, "converges when slowed down by %u %%", p->throttle_percent);
        else
            add(w, "converges");
        break;
    case CONVERGE_POSTCOPY:
        add(w, "needs post-copy");
        break;
    case CONVERGE_PAUSE:
        add(w, "needs a pause beyond the budget");
        break;
    default:
        add(w, "does not converge");
        break;
    }
    add(w, ": %s in all (P90 %s)", time_text((double)p->total_p50_us, a),
        time_text((double)p->total_p90_us, b));
    add(w, ", downtime %s (P90 %s)", time_text((double)p->downtime_p50_us, a),
        time_text((double)p->downtime_p90_us, b));
    add(w, ", %u rounds (P90 %u), %s", p->rounds_p50, p->rounds_p90,
        bytes_text((double)p->bytes_p50, a));
}

static void
add_set(struct words *w, const struct converge *c)
{
    char a[NUMBER], b[NUMBER];

    if (!wws_known(&c->wws))
        add(w, "what the guest writes is not known yet");
    else if (c->wws.set_bytes <= 0)
        add(w, "the guest writes nothing");
    else
        add(w, "the guest writes %s to a set of %s", rate_text(c->wws.bytes_per_s, a),
            bytes_text(c->wws.set_bytes, b));
}

void
converge_say_estimate(uint64_t bytes_per_s, const char *from, char *text)
{
    struct words w = {.text = text};
    char a[NUMBER];

    add(&w, "first estimate %s from %s", rate_text((double)bytes_per_s, a), from);
}

void
converge_say_start(const struct converge *c, char *text)
{
    struct words w = {.text = text};
    char a[NUMBER], b[NUMBER];

    add(&w, "start: %s of %s have content; ", bytes_text(c->present_bytes, a),
        bytes_text((double)c->cfg.total_bytes, b));
    add_set(&w, c);
    if (c->prediction.known) {
        add(&w, "; at %s it ", rate_text((double)linkrate_percentile(&c->link, 50), a));
        add_prediction(&w, &c->prediction);
    } else {
        add(&w, "; nothing was sent yet that would tell how fast the link is");
    }
}

void
converge_say(const struct converge *c, char *text)
{
    struct words w = {.text = text};
    char a[NUMBER];

    text[0] = '\0';
    add(&w, "prediction at %s: it ", rate_text((double)linkrate_percentile(&c->link, 50), a));
    add_prediction(&w, &c->prediction);
    add(&w, "; ");
    add_set(&w, c);
}

/* "210.0 MiB remain, 1.10 GB/s (p10 900 MB/s): predicted downtime 191 ms + 38 ms fixed > 150 ms" */
static void
add_numbers(struct words *w, const struct converge *c, const struct converge_round *in,
            const struct converge_world *world, const struct converge_judgement *j)
{
    double budget = (double)c->cfg.limits.max_downtime_us;
    char a[NUMBER], b[NUMBER], d[NUMBER], e[NUMBER];

    add(w, "round %u: %s remain, %s (p10 %s)", in->round,
        bytes_text((double)in->remaining_bytes, a), rate_text(world->mid, b),
        rate_text(world->low, d));
    add(w, ": predicted downtime %s + %s fixed %s %s",
        time_text(j->downtime_low_us - world->fixed_us, a), time_text(world->fixed_us, b),
        j->downtime_low_us <= budget ? "<=" : ">", time_text(budget, e));
}

static void
add_trend(struct words *w, const struct converge *c)
{
    double was = c->st.last_remaining, now = c->st.remaining;

    if (was <= 0)
        return;
    if (now <= was)
        add(w, "; what is left fell by %.0f %%", (was - now) / was * 100);
    else
        add(w, "; what is left grew by %.0f %%", (now - was) / was * 100);
}

static void
add_outlook(struct words *w, const struct converge *c, const struct converge_judgement *j)
{
    char a[NUMBER], b[NUMBER], d[NUMBER];

    switch (j->why) {
    case CONVERGE_WHY_SHRINKS:
        add(w, "; another round takes %s and saves %s of it", time_text(j->price_us, a),
            time_text(j->gain_us, b));
        break;
    case CONVERGE_WHY_MINIMUM:
        if (j->gain_us > 0)
            add(w, "; another round would take %s and save no more than %s",
                time_text(j->price_us, a), time_text(j->gain_us, b));
        else
            add(w, "; another round would not shrink it");
        break;
    case CONVERGE_WHY_PATIENCE:
        add(w, "; it was within the budget for %u rounds", c->st.within);
        break;
    case CONVERGE_WHY_HURRY:
        add(w, "; the completion timeout of %s is near",
            time_text((double)c->cfg.limits.completion_timeout_us, a));
        break;
    case CONVERGE_WHY_COMING:
        add(w, "; expected within it after %u more", j->rounds);
        break;
    case CONVERGE_WHY_LATE:
        add(w, "; expected within it only after the completion timeout of %s",
            time_text((double)c->cfg.limits.completion_timeout_us, a));
        break;
    case CONVERGE_WHY_TIMEOUT:
        add(w, "; the completion timeout of %s is over",
            time_text((double)c->cfg.limits.completion_timeout_us, a));
        break;
    case CONVERGE_WHY_WATCH:
    case CONVERGE_WHY_NEVER:
        add(w, "; %s written to a set of %s: rounds settle at %s", rate_text(c->wws.bytes_per_s, a),
            bytes_text(c->wws.set_bytes, b), bytes_text(j->steady_bytes, d));
        break;
    }
}

static void
add_decision(struct words *w, const struct converge_judgement *j)
{
    char a[NUMBER];

    switch (j->decision) {
    case CONVERGE_ROUND:
        if (j->why == CONVERGE_WHY_NEVER || j->why == CONVERGE_WHY_LATE)
            add(w, "; nothing that the policy allows helps");
        add(w, ": another round");
        break;
    case CONVERGE_SWITCH:
        add(w, ": switch over");
        break;
    case CONVERGE_THROTTLE:
        add(w, ": slow %s down by %u %%", j->writers_only ? "the writers" : "the whole guest",
            j->percent);
        break;
    case CONVERGE_POSTCOPY:
        add(w, ": go on by post-copy");
        break;
    case CONVERGE_PAUSE:
        add(w, ": pause the guest for %s", time_text(j->downtime_us, a));
        break;
    default:
        add(w, ": abort");
        break;
    }
}

void
converge_say_round(const struct converge *c, const struct converge_round *in,
                   const struct converge_world *w, const struct converge_judgement *j, char *text)
{
    struct words s = {.text = text};

    text[0] = '\0';
    add_numbers(&s, c, in, w, j);
    add_trend(&s, c);
    add_outlook(&s, c, j);
    add_decision(&s, j);
}
