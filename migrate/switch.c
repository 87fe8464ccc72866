/* The two switchover machines, from the tables in switch.h. */
#include "migrate/switch.h"

#include <errno.h>
#include <stddef.h>

#include "base/cleanup.h"

struct state {
    const char *name, *text;
    uint64_t deadline_us;
};

struct edge {
    int from;
    enum switch_event event;
    int to;
    unsigned actions;
};

/* The action column of the tables, inside the edge arrays only. */
enum {
    NOTHING = SWITCH_DO_NOTHING,
    PAUSE = SWITCH_DO_PAUSE,
    SEND_LAST = SWITCH_DO_SEND_LAST,
    SAY_FINISH = SWITCH_DO_SAY_FINISH,
    RECORD_COMMIT = SWITCH_DO_RECORD_COMMIT,
    SAY_COMMIT = SWITCH_DO_SAY_COMMIT,
    SAY_ABORT = SWITCH_DO_SAY_ABORT,
    RESUME = SWITCH_DO_RESUME,
    LOAD = SWITCH_DO_LOAD,
    RECORD_PREPARED = SWITCH_DO_RECORD_PREPARED,
    SAY_PREPARED = SWITCH_DO_SAY_PREPARED,
    RECORD_COMMITTED = SWITCH_DO_RECORD_COMMITTED,
    SAY_RUNNING = SWITCH_DO_SAY_RUNNING,
    RECORD_NEVER = SWITCH_DO_RECORD_NEVER,
    SAY_NEVER = SWITCH_DO_SAY_NEVER,
    SAY_ERROR = SWITCH_DO_SAY_ERROR,
    SAY_BYE = SWITCH_DO_SAY_BYE,
    SAY_COMPLETE = SWITCH_DO_SAY_COMPLETE,
    POISON = SWITCH_DO_POISON,
};

#define X(id, deadline_ms, text) [SWITCH_SRC_##id] = {#id, text, deadline_ms * 1000ull},
static const struct state source_states[] = {SWITCH_SOURCE_STATES(X)};
#undef X
#define X(id, deadline_ms, text) [SWITCH_DST_##id] = {#id, text, deadline_ms * 1000ull},
static const struct state target_states[] = {SWITCH_TARGET_STATES(X)};
#undef X
#define X(from, ev, to, actions) {SWITCH_SRC_##from, SWITCH_EV_##ev, SWITCH_SRC_##to, actions},
static const struct edge source_edges[] = {SWITCH_SOURCE_EDGES(X)};
#undef X
#define X(from, ev, to, actions) {SWITCH_DST_##from, SWITCH_EV_##ev, SWITCH_DST_##to, actions},
static const struct edge target_edges[] = {SWITCH_TARGET_EDGES(X)};
#undef X

static const struct edge *
find(const struct edge *edges, size_t n, int from, enum switch_event ev)
{
    for (size_t i = 0; i < n; i++) {
        if (edges[i].from == from && edges[i].event == ev)
            return &edges[i];
    }
    return NULL;
}

int
switch_source_step(struct switch_source *m, enum switch_event ev, uint64_t now_us,
                   unsigned *ret_actions)
{
    const struct edge *e = find(source_edges, ARRAY_LEN(source_edges), (int)m->state, ev);

    if (!e)
        return -EPROTO;
    m->state = (enum switch_source_state)e->to;
    m->since_us = now_us;
    *ret_actions = e->actions;
    return 0;
}

int
switch_target_step(struct switch_target *m, enum switch_event ev, uint64_t now_us,
                   unsigned *ret_actions)
{
    const struct edge *e = find(target_edges, ARRAY_LEN(target_edges), (int)m->state, ev);

    if (!e)
        return -EPROTO;
    m->state = (enum switch_target_state)e->to;
    m->since_us = now_us;
    *ret_actions = e->actions;
    return 0;
}

uint64_t
switch_source_deadline_us(const struct switch_source *m)
{
    uint64_t d = source_states[m->state].deadline_us;

    return d ? m->since_us + d : 0;
}

bool
switch_source_final(enum switch_source_state s)
{
    return s == SWITCH_SRC_MOVED || s == SWITCH_SRC_FAILED || s == SWITCH_SRC_UNKNOWN;
}

bool
switch_target_final(enum switch_target_state s)
{
    return s == SWITCH_DST_RUNNING || s == SWITCH_DST_FAILED || s == SWITCH_DST_ABORTED ||
           s == SWITCH_DST_NEVER || s == SWITCH_DST_IN_DOUBT || s == SWITCH_DST_DAMAGED;
}

const char *
switch_source_name(enum switch_source_state s)
{
    return source_states[s].name;
}

const char *
switch_target_name(enum switch_target_state s)
{
    return target_states[s].name;
}

const char *
switch_source_text(enum switch_source_state s)
{
    return source_states[s].text;
}

const char *
switch_target_text(enum switch_target_state s)
{
    return target_states[s].text;
}

const char *
switch_event_name(enum switch_event ev)
{
    static const char *const names[SWITCH_EV_COUNT] = {
        [SWITCH_EV_SWITCH] = "SWITCH",   [SWITCH_EV_DONE] = "DONE",
        [SWITCH_EV_TROUBLE] = "TROUBLE", [SWITCH_EV_PREPARED] = "PREPARED",
        [SWITCH_EV_RUNNING] = "RUNNING", [SWITCH_EV_NEVER] = "NEVER",
        [SWITCH_EV_FINISH] = "FINISH",   [SWITCH_EV_COMMIT] = "COMMIT",
        [SWITCH_EV_ABORT] = "ABORT",     [SWITCH_EV_GONE] = "GONE",
        [SWITCH_EV_LOST] = "LOST",       [SWITCH_EV_PARTLY] = "PARTLY",
        [SWITCH_EV_ARRIVED] = "ARRIVED", [SWITCH_EV_HOPELESS] = "HOPELESS",
    };

    return names[ev];
}
