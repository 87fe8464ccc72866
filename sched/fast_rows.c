/* Nodes as rows: their room as columns, their shapes, and the domains that they are in. Kept up
 * to date by the cluster's news; a new node renews it all, since rows are in byte order of
 * names. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/names.h"
#include "sched/fast_priv.h"
#include "sched/filter.h"
#include "sched/host_rule.h"

#define EXACT_BYTES  (INT64_C(1) << 46) /* up to here the scan's doubles are exact: fast_scan.c */
#define EVENTS_MIN   1024
#define EVENTS_MAX   65536
#define FINE_DOMAINS 8 /* more, and more than half the rows: each is told apart by its count */
#define FINE_ALWAYS  200
#define SPARE_SHAPES 1024
#define EXTRAS_MAX   48 /* resources and topology keys that are kept by row; more, and all are */
#define TOPOS_MAX    48 /* forgotten: who still asks for one brings it back */

static void renew(struct fast *f);
static void put_shape(struct fast *f, uint32_t row);
static void leave_shape(struct fast *f, uint32_t row);
static uint32_t shape_with(struct fast *f, const struct sb *sig);
static void forget_shapes(struct fast *f);
static bool put_room(struct fast *f, uint32_t row);
static bool put_extra(struct fast *f, struct fast_extra *e, uint32_t row);
static bool put_dom(struct fast_topo *t, const struct cluster_node *n, uint32_t row);
static void fill_topo(struct fast *f, struct fast_topo *t);
static void drop_topos(struct fast *f);
static void age(struct fast *f);
static int64_t ages_at(const struct fast *f, const struct cluster_node *n);
static int by_order(const void *x, const void *y);
static void *column(struct fast *f, void *p, size_t size);

void
fast_rows_init(struct fast *f)
{
    f->node_keys = strmap_new();
    /* read for every VM, and without OUR_LABELS in their names */
    strmap_put(f->node_keys, LABEL_ARCH, f);
    strmap_put(f->node_keys, LABEL_CPUMANAGER, f);
    strmap_put(f->node_keys, LABEL_HYPERVISOR_LIBVIRT, f);
    strmap_put(f->node_keys, LABEL_HYPERVISOR_NATIVE, f);
    f->rows_stale = true;
}

void
fast_rows_done(struct fast *f)
{
    struct fast_rows *r = &f->rows;
    void *columns[] = {r->cpu,       r->memory,       r->used_cpu, r->used_memory,
                       r->score_cpu, r->score_memory, r->pods,     r->odd};

    for (size_t i = 0; i < ARRAY_LEN(columns); i++)
        free(columns[i]);
    for (size_t i = 0; i < f->extras_len; i++)
        free(f->extras[i].free);
    for (size_t i = 0; i < f->rows_len; i++)
        if (f->nodes[i])
            f->nodes[i]->row = CLUSTER_NO_ROW;
    drop_topos(f);
    forget_shapes(f);
    free(f->shapes);
    free(f->extras);
    free(f->nodes);
    free(f->shape_of);
    free(f->shape_byte);
    free(f->events);
    strmap_free(f->node_keys, NULL);
}

void
fast_rows_refresh(struct fast *f)
{
    size_t live = f->rows_len;

    if (f->node_keys_grew || f->shapes_len > 2 * live + SPARE_SHAPES ||
        f->extras_len > EXTRAS_MAX || f->topos_len > TOPOS_MAX)
        f->rows_stale = true;
    if (f->rows_stale)
        renew(f);
    else if (f->c->now_us != f->now_us)
        age(f);
}

void
fast_rows_touch(struct fast *f, uint32_t row)
{
    put_room(f, row);
}

void
fast_rows_node(struct fast *f, struct cluster_node *n)
{
    bool moved = false;

    if (n->row == CLUSTER_NO_ROW)
        f->rows_stale = true;
    if (f->rows_stale)
        return;
    for (size_t i = 0; i < f->topos_len; i++)
        moved |= put_dom(&f->topos[i], n, n->row);
    if (moved)
        f->epoch++;
    put_shape(f, n->row);
    if (put_room(f, n->row))
        fast_event(f, (struct fast_event){.row = n->row, .kind = FAST_NONE});
    if (f->c->heartbeat_timeout_s > 0) {
        int64_t at = ages_at(f, n);

        f->quiet_until_us = at < f->quiet_until_us ? at : f->quiet_until_us;
    }
}

void
fast_rows_gone(struct fast *f, struct cluster_node *n)
{
    uint32_t row = n->row;

    n->row = CLUSTER_NO_ROW;
    if (row == CLUSTER_NO_ROW)
        return;
    f->nodes[row] = NULL;
    if (f->rows_stale)
        return;
    /* what ran there no longer counts; and domains may be gone */
    if (f->topos_len > 0)
        f->rows_stale = true;
    leave_shape(f, row);
    f->rows.odd_len += !f->rows.odd[row];
    f->rows.odd[row] = true;
    f->rows.pods[row] = INT32_MIN;
    fast_event(f, (struct fast_event){.row = row, .kind = FAST_NONE, .shape = true});
}

uint32_t
fast_rows_topo(struct fast *f, const char *key)
{
    struct fast_topo *t;

    for (uint32_t i = 0; i < f->topos_len; i++)
        if (strcmp(f->topos[i].key, key) == 0)
            return i;
    f->topos = xreallocarray(f->topos, f->topos_len + 1, sizeof(*f->topos));
    t = &f->topos[f->topos_len];
    *t = (struct fast_topo){.key = xstrdup(key)};
    fill_topo(f, t);
    return (uint32_t)f->topos_len++;
}

uint32_t
fast_rows_extra(struct fast *f, const char *name, bool if_listed)
{
    struct fast_extra *e;

    for (uint32_t i = 0; i < f->extras_len; i++)
        if (f->extras[i].if_listed == if_listed && (name == NULL) == (f->extras[i].name == NULL) &&
            (!name || strcmp(f->extras[i].name, name) == 0))
            return i;
    f->extras = xreallocarray(f->extras, f->extras_len + 1, sizeof(*f->extras));
    e = &f->extras[f->extras_len];
    *e = (struct fast_extra){.name = name ? need_name(f->c->names, name) : NULL,
                             .if_listed = if_listed};
    e->free = xcalloc(f->rows_cap, sizeof(*e->free));
    for (uint32_t i = 0; i < f->rows_len; i++)
        put_extra(f, e, i);
    return (uint32_t)f->extras_len++;
}

uint32_t
fast_rows_some(struct fast *f, uint32_t shape)
{
    struct fast_shape *s = &f->shapes[shape];

    for (uint32_t i = 0; s->rows > 0 && s->some == FAST_NONE && i < f->rows_len; i++)
        if (f->nodes[i] && f->shape_of[i] == shape)
            s->some = i;
    return s->rows > 0 ? s->some : FAST_NONE;
}

void
fast_event(struct fast *f, struct fast_event e)
{
    size_t max = f->rows_len / 4;

    max = max < EVENTS_MIN ? EVENTS_MIN : max > EVENTS_MAX ? EVENTS_MAX : max;
    if (f->events_len >= max) { /* the older half goes: who has not read it starts anew */
        size_t drop = f->events_len / 2;

        memmove(f->events, f->events + drop, (f->events_len - drop) * sizeof(*f->events));
        f->events_len -= drop;
        f->events_base += drop;
    }
    if (f->events_len == f->events_cap) {
        f->events_cap = f->events_cap ? 2 * f->events_cap : 64;
        f->events = xreallocarray(f->events, f->events_cap, sizeof(*f->events));
    }
    f->events[f->events_len++] = e;
}

size_t
fast_rows_bytes(const struct fast *f)
{
    size_t row = 6 * sizeof(double) + sizeof(int32_t) + 2 + sizeof(uint32_t) + sizeof(void *);
    size_t bytes = f->events_cap * sizeof(*f->events) + f->shapes_cap * sizeof(*f->shapes);

    for (size_t i = 0; i < f->shapes_len; i++)
        bytes += f->shapes[i].len;
    for (size_t i = 0; i < f->topos_len; i++) {
        const struct fast_topo *t = &f->topos[i];

        /* a value's text is the map's; it has up to two entries and three slots for each */
        row += 2 * sizeof(uint32_t);
        bytes += t->cap * sizeof(uint32_t) + t->doms * (32 + 2 * 24 + 3 * sizeof(uint32_t));
    }
    return bytes + f->rows_cap * (row + f->extras_len * sizeof(int64_t));
}

static void
renew(struct fast *f)
{
    const struct cluster *c = f->c;
    struct fast_rows *r = &f->rows;

    for (size_t i = 0; i < f->rows_len; i++)
        if (f->nodes[i])
            f->nodes[i]->row = CLUSTER_NO_ROW;
    f->rows_len = c->nodes_len;
    f->blocks = (f->rows_len + FAST_BLOCK - 1) / FAST_BLOCK;
    f->rows_cap = f->blocks * FAST_BLOCK;
    f->nodes = xreallocarray(f->nodes, f->rows_len + 1, sizeof(struct cluster_node *));
    if (f->rows_len > 0) {
        memcpy(f->nodes, c->nodes, f->rows_len * sizeof(struct cluster_node *));
        qsort(f->nodes, f->rows_len, sizeof(struct cluster_node *), by_order);
    }
    r->cpu = column(f, r->cpu, sizeof(double));
    r->memory = column(f, r->memory, sizeof(double));
    r->used_cpu = column(f, r->used_cpu, sizeof(double));
    r->used_memory = column(f, r->used_memory, sizeof(double));
    r->score_cpu = column(f, r->score_cpu, sizeof(double));
    r->score_memory = column(f, r->score_memory, sizeof(double));
    r->pods = column(f, r->pods, sizeof(int32_t));
    r->odd = column(f, r->odd, sizeof(uint8_t));
    f->shape_of = column(f, f->shape_of, sizeof(uint32_t));
    f->shape_byte = column(f, f->shape_byte, sizeof(uint8_t));
    for (size_t i = 0; i < f->extras_len; i++)
        free(f->extras[i].free);
    f->extras_len = 0;
    r->odd_len = 0;
    forget_shapes(f);
    drop_topos(f);
    f->rows_stale = f->node_keys_grew = false;
    f->events_base += f->events_len;
    f->events_len = 0;
    f->now_us = c->now_us;
    f->quiet_until_us = INT64_MAX;
    for (uint32_t i = 0; i < f->rows_len; i++) {
        int64_t at = ages_at(f, f->nodes[i]);

        f->quiet_until_us = at < f->quiet_until_us ? at : f->quiet_until_us;
        f->nodes[i]->row = i;
        f->shape_of[i] = FAST_NONE;
        put_shape(f, i);
        put_room(f, i);
    }
    f->events_len = 0;
    f->epoch++;
}

static void *
column(struct fast *f, void *p, size_t size)
{
    free(p);
    return xcalloc(f->rows_cap + FAST_BLOCK, size);
}

static void
put_shape(struct fast *f, uint32_t row)
{
    uint32_t shape;

    sb_reset(&f->scratch);
    fast_sig_shape(f, f->nodes[row], &f->scratch);
    shape = shape_with(f, &f->scratch);
    if (f->shape_of[row] == shape)
        return;
    leave_shape(f, row);
    f->shape_of[row] = shape;
    f->shape_byte[row] = (uint8_t)shape;
    f->shapes[shape].rows++;
    f->shapes[shape].some = row;
    fast_event(f, (struct fast_event){.row = row, .kind = FAST_NONE, .shape = true});
}

static void
leave_shape(struct fast *f, uint32_t row)
{
    struct fast_shape *s;

    if (f->shape_of[row] == FAST_NONE)
        return;
    s = &f->shapes[f->shape_of[row]];
    s->rows--;
    if (s->some == row)
        s->some = FAST_NONE;
}

static uint32_t
shape_with(struct fast *f, const struct sb *sig)
{
    uint64_t h = fast_hash(sig->buf, sig->len);
    uint32_t *bucket = &f->shape_buckets[h % ARRAY_LEN(f->shape_buckets)];
    struct fast_shape *s;

    for (uint32_t i = *bucket; i != 0; i = f->shapes[i - 1].next) {
        s = &f->shapes[i - 1];
        if (s->hash == h && s->len == sig->len && memcmp(s->sig, sig->buf, sig->len) == 0)
            return i - 1;
    }
    if (f->shapes_len == f->shapes_cap) {
        f->shapes_cap = f->shapes_cap ? 2 * f->shapes_cap : 16;
        f->shapes = xreallocarray(f->shapes, f->shapes_cap, sizeof(*f->shapes));
    }
    s = &f->shapes[f->shapes_len++];
    *s = (struct fast_shape){.sig = xmalloc(sig->len),
                             .len = sig->len,
                             .hash = h,
                             .id = ++f->shape_ids,
                             .some = FAST_NONE,
                             .next = *bucket};
    memcpy(s->sig, sig->buf, sig->len);
    *bucket = (uint32_t)f->shapes_len;
    return *bucket - 1;
}

static void
forget_shapes(struct fast *f)
{
    for (size_t i = 0; i < f->shapes_len; i++)
        free(f->shapes[i].sig);
    f->shapes_len = 0;
    memset(f->shape_buckets, 0, sizeof(f->shape_buckets));
}

/* Returns whether it is another than before. */
static bool
put_room(struct fast *f, uint32_t row)
{
    const struct room *m = &f->nodes[row]->room;
    struct fast_rows *r = &f->rows;
    int64_t pods = m->pods - m->used_pods;
    const int64_t all[] = {
        m->cpu_milli,         m->memory_bytes,         m->used_cpu_milli,
        m->used_memory_bytes, m->used_score_cpu_milli, m->used_score_memory_bytes};
    double *const columns[] = {r->cpu,         r->memory,    r->used_cpu,
                               r->used_memory, r->score_cpu, r->score_memory};
    bool odd = m->cpu_milli <= 0 || m->memory_bytes <= 0, changed = false;

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        double now = (double)all[i];

        /* of odd ones the columns do not tell all */
        odd = odd || all[i] > EXACT_BYTES;
        changed = changed || columns[i][row] != now;
        columns[i][row] = now;
    }
    pods = pods > INT32_MAX ? INT32_MAX : pods < INT32_MIN ? INT32_MIN : pods;
    changed = changed || odd || r->odd[row] || r->pods[row] != (int32_t)pods;
    r->pods[row] = (int32_t)pods;
    r->odd_len += (size_t)odd - r->odd[row];
    r->odd[row] = odd;
    for (size_t i = 0; i < f->extras_len; i++)
        changed |= put_extra(f, &f->extras[i], row);
    return changed;
}

static bool
put_extra(struct fast *f, struct fast_extra *e, uint32_t row)
{
    const struct room_extra *have;
    const struct room *m;
    int64_t before = e->free[row];

    if (!f->nodes[row])
        return false;
    m = &f->nodes[row]->room;
    if (!e->name) {
        e->free[row] = m->ephemeral_bytes - m->used_ephemeral_bytes;
        return e->free[row] != before;
    }
    have = need_room_extra(m, e->name);
    if (e->if_listed && !(have && have->listed))
        e->free[row] = INT64_MAX;
    else
        e->free[row] = have ? have->total - have->used : 0;
    return e->free[row] != before;
}

/* Returns whether the row has another domain than before. */
static bool
put_dom(struct fast_topo *t, const struct cluster_node *n, uint32_t row)
{
    const char *value = node_labels_get(&n->labels, t->key);
    uint32_t dom = FAST_NONE, *at;

    if (value) {
        dom = (uint32_t)(uintptr_t)strmap_get(t->values, value) - 1;
        if (dom == FAST_NONE) {
            dom = t->doms++;
            if (dom == t->cap) {
                t->cap *= 2;
                t->head = xreallocarray(t->head, t->cap, sizeof(*t->head));
            }
            t->head[dom] = FAST_NONE;
            strmap_put(t->values, value, (void *)(uintptr_t)(dom + 1));
        }
    }
    if (t->dom[row] == dom)
        return false;
    if (t->dom[row] != FAST_NONE) {
        at = &t->head[t->dom[row]];
        while (*at != row)
            at = &t->next[*at];
        *at = t->next[row];
    }
    t->dom[row] = dom;
    if (dom != FAST_NONE) {
        t->next[row] = t->head[dom];
        t->head[dom] = row;
    }
    return true;
}

static void
fill_topo(struct fast *f, struct fast_topo *t)
{
    size_t with_key = 0;

    t->values = strmap_new();
    t->cap = 16;
    t->head = xcalloc(t->cap, sizeof(*t->head));
    t->dom = xreallocarray(NULL, f->rows_cap + 1, sizeof(*t->dom));
    t->next = xreallocarray(NULL, f->rows_cap + 1, sizeof(*t->next));
    memset(t->dom, 0xff, (f->rows_cap + 1) * sizeof(*t->dom));
    for (uint32_t i = (uint32_t)f->rows_len; i-- > 0;)
        if (f->nodes[i])
            with_key += put_dom(t, f->nodes[i], i);
    t->fine = t->doms > FINE_ALWAYS || (t->doms > FINE_DOMAINS && 2 * t->doms > with_key);
}

static void
drop_topos(struct fast *f)
{
    for (size_t i = 0; i < f->topos_len; i++) {
        struct fast_topo *t = &f->topos[i];

        strmap_free(t->values, NULL);
        free(t->key);
        free(t->dom);
        free(t->next);
        free(t->head);
    }
    free(f->topos);
    f->topos = NULL;
    f->topos_len = 0;
}

/* Time has moved: whose handler is not heard any more, or is again? */
static void
age(struct fast *f)
{
    bool back = f->c->now_us < f->now_us;

    f->now_us = f->c->now_us;
    if (f->c->heartbeat_timeout_s <= 0 || (!back && f->now_us < f->quiet_until_us))
        return;
    f->quiet_until_us = INT64_MAX;
    for (uint32_t i = 0; i < f->rows_len; i++) {
        int64_t at;

        if (!f->nodes[i])
            continue;
        put_shape(f, i);
        at = ages_at(f, f->nodes[i]);
        f->quiet_until_us = at < f->quiet_until_us ? at : f->quiet_until_us;
    }
}

/* When the handler's last word will be too old, or never again. */
static int64_t
ages_at(const struct fast *f, const struct cluster_node *n)
{
    int64_t at;

    if (f->c->heartbeat_timeout_s <= 0 || n->heartbeat_us == CLUSTER_NO_HEARTBEAT)
        return INT64_MAX;
    if (__builtin_mul_overflow(f->c->heartbeat_timeout_s, INT64_C(1000000), &at) ||
        __builtin_add_overflow(at, n->heartbeat_us, &at))
        return INT64_MIN; /* look every time */
    return at > f->c->now_us ? at : INT64_MAX;
}

static int
by_order(const void *x, const void *y)
{
    const struct cluster_node *a = *(struct cluster_node *const *)x;
    const struct cluster_node *b = *(struct cluster_node *const *)y;

    return a == b ? 0 : cluster_before(a, b) ? -1 : 1;
}
