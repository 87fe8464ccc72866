/* NUMA cells: what they have, who is in them, and whether one more fits; see numa.h. */
#include "sched/numa.h"

#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "api/selector.h"
#include "api/tree.h"
#include "base/sb.h"

struct cell {
    int64_t cpus, bytes; /* free; bytes of the page size that is asked for */
};

struct layout {
    struct cell cells[NUMA_CELLS_MAX];
    size_t len;
};

struct part {
    int64_t cpus, bytes;
};

static bool read_cells(const struct node *n, const char *page, struct layout *ret);
static bool lay_out(const struct cluster *c, const struct cluster_node *n,
                    const struct numa_need *want, const struct occupant *self, struct layout *l);
static bool place_vm(struct layout *l, const struct numa_need *need, const char *page);
static bool place_part(struct layout *l, const struct part *p);
static void spill(struct layout *l, struct part p);
static const struct vmi_spec *spec_of(const struct occupant *vm);
static int64_t amount(const struct tree *cell, const char *name);
static int by_size(const void *x, const void *y);

struct numa_need
numa_need_of(const struct vmi_spec *s, const struct hco *hco)
{
    const struct vmi_domain *d = &s->domain;
    const struct vmi_cpu *cpu = &d->cpu;
    struct numa_need n = {0};
    int64_t total;

    if (!cpu->dedicated_placement)
        return n;
    n.extra = cpu->isolate_emulator_thread ? 1 : 0;
    total = vmi_cpu_request_milli(s, 0) / 1000 - n.extra;
    n.extra += vmi_align_milli(s, hco) / 1000;
    n.parts = cpu->sockets > 0 && total % cpu->sockets == 0 ? cpu->sockets : 1;
    n.cpus = total / n.parts;
    n.strict = cpu->numa_passthrough;
    if (d->hugepages_size && *d->hugepages_size) {
        n.page = d->hugepages_size;
        n.bytes = vmi_guest_memory_bytes(s) / n.parts;
    }
    return n;
}

bool
numa_fits(const struct cluster *c, const struct vmi_spec *s, const struct cluster_node *n,
          const struct occupant *self)
{
    struct numa_need want = numa_need_of(s, c->hco);
    struct layout l;

    if (!want.strict || !lay_out(c, n, &want, self, &l))
        return true;
    return place_vm(&l, &want, want.page);
}

const char *
numa_free_text(const struct cluster *c, const struct vmi_spec *s, const struct cluster_node *n,
               const struct occupant *self, struct arena *a)
{
    struct numa_need want = numa_need_of(s, c->hco);
    AUTO_SB struct sb text = SB_INIT;
    struct layout l;
    char bytes[32];

    if (!lay_out(c, n, &want, self, &l))
        return "unknown";
    for (size_t i = 0; i < l.len; i++) {
        sb_printf(&text, "%scell %zu: %lld CPUs", i > 0 ? ", " : "", i, (long long)l.cells[i].cpus);
        if (want.page) {
            quantity_format_bytes(l.cells[i].bytes, bytes, sizeof(bytes));
            sb_printf(&text, " and %s of hugepages-%s", bytes, want.page);
        }
    }
    sb_puts(&text, " free");
    return arena_strdup(a, sb_str(&text));
}

/* The cells of the node, less what runs there. False: its cells are not known. */
static bool
lay_out(const struct cluster *c, const struct cluster_node *n, const struct numa_need *want,
        const struct occupant *self, struct layout *l)
{
    AUTO_FREE const struct occupant **list = NULL;
    const struct occupant *mine = cluster_occupant_on(self, n);
    size_t len = 0, cap = 0;

    if (!n->node || !read_cells(n->node, want->page, l))
        return false;
    for (const struct occupant *o = n->occupants; o; o = o->next) {
        if (o == mine || o->is_pod || numa_need_of(spec_of(o), NULL).parts == 0)
            continue;
        if (len == cap) {
            cap = cap ? 2 * cap : 8;
            list = xreallocarray(list, cap, sizeof(*list));
        }
        list[len++] = o;
    }
    if (len > 1)
        qsort(list, len, sizeof(*list), by_size);
    for (size_t i = 0; i < len; i++) {
        struct numa_need need = numa_need_of(spec_of(list[i]), c->hco);

        place_vm(l, &need, want->page);
    }
    return true;
}

/* False: the annotation is not there or not what it should be; nothing is known then. */
static bool
read_cells(const struct node *n, const char *page, struct layout *ret)
{
    const char *json = kv_get(&n->meta.annotations, NUMA_ANN_CELLS);
    AUTO_TREE struct tree *list = NULL;
    AUTO_FREE char *pages = page ? xasprintf("hugepages-%s", page) : NULL;

    if (!json || tree_from_json(json, strlen(json), &list, NULL) != 0 ||
        tree_type(list) != TREE_LIST || tree_len(list) == 0 || tree_len(list) > NUMA_CELLS_MAX)
        return false;
    *ret = (struct layout){.len = tree_len(list)};
    for (size_t i = 0; i < ret->len; i++) {
        const struct tree *cell = tree_at(list, i);

        if (tree_type(cell) != TREE_MAP)
            return false;
        ret->cells[i].cpus = amount(cell, "cpu");
        ret->cells[i].bytes = pages ? amount(cell, pages) : 0;
    }
    return true;
}

/* Takes its place; where a part fits nowhere it is spread, and the answer is false. */
static bool
place_vm(struct layout *l, const struct numa_need *need, const char *page)
{
    bool same_page = need->page && page && strcmp(need->page, page) == 0, whole = true;

    for (int64_t i = 0; i < need->parts; i++) {
        struct part p = {.cpus = need->cpus + (i == 0 ? need->extra : 0),
                         .bytes = same_page ? need->bytes : 0};

        if (place_part(l, &p))
            continue;
        spill(l, p);
        whole = false;
    }
    return whole;
}

/* Into the cell with the fewest free CPUs that takes it; of equals the first. */
static bool
place_part(struct layout *l, const struct part *p)
{
    struct cell *best = NULL;

    for (size_t i = 0; i < l->len; i++) {
        struct cell *cell = &l->cells[i];

        if (cell->cpus >= p->cpus && cell->bytes >= p->bytes && (!best || cell->cpus < best->cpus))
            best = cell;
    }
    if (!best)
        return false;
    best->cpus -= p->cpus;
    best->bytes -= p->bytes;
    return true;
}

static void
spill(struct layout *l, struct part p)
{
    for (size_t i = 0; i < l->len; i++) {
        struct cell *cell = &l->cells[i];
        int64_t cpus = p.cpus < cell->cpus ? p.cpus : cell->cpus;
        int64_t bytes = p.bytes < cell->bytes ? p.bytes : cell->bytes;

        cell->cpus -= cpus;
        cell->bytes -= bytes;
        p.cpus -= cpus;
        p.bytes -= bytes;
    }
}

static const struct vmi_spec *
spec_of(const struct occupant *vm)
{
    return &((const struct vmi *)vm->object)->spec;
}

/* Of a cell; whole CPUs. */
static int64_t
amount(const struct tree *cell, const char *name)
{
    const struct tree *value = tree_get(cell, name);
    struct quantity q = {0};

    if (tree_type(value) == TREE_INT)
        return tree_get_int(value, 0) > 0 ? tree_get_int(value, 0) : 0;
    if (quantity_parse(tree_get_string(value, "0"), &q, NULL) != 0 || q.milli <= 0)
        return 0;
    return strcmp(name, "cpu") == 0 ? q.milli / 1000 : q.units;
}

/* The largest parts first; of equals those of the first name, so that the order of arrival does not matter. */
static int
by_size(const void *x, const void *y)
{
    const struct occupant *a = *(const struct occupant *const *)x;
    const struct occupant *b = *(const struct occupant *const *)y;
    struct numa_need na = numa_need_of(spec_of(a), NULL), nb = numa_need_of(spec_of(b), NULL);
    int c;

    if (na.cpus != nb.cpus)
        return na.cpus > nb.cpus ? -1 : 1;
    c = strcmp(a->ns, b->ns);
    return c ? c : strcmp(a->name, b->name);
}
