/* Rules about room and volumes: how much is wanted, how much is free; part of why.h. */
#include <string.h>

#include "api/quantity.h"
#include "sched/numa.h"
#include "sched/profile.h"
#include "sched/why.h"

#define MIB (INT64_C(1) << 20)

enum unit { COUNT, CPU, BYTES };

static void check(struct why_ctx *w, const char *name, enum unit unit, int64_t want, int64_t total,
                  int64_t used);
static const char *amount(const struct why_ctx *w, enum unit unit, int64_t n, bool up);
static bool is_bytes(const char *name);

void
why_fit(struct why_ctx *w)
{
    static const struct need nothing;
    const struct need *need = &w->r->need;
    const struct occupant *here = cluster_occupant_on(w->r->self, w->n);
    const struct need *own = here ? &here->need : &nothing;
    const struct room *room = &w->n->room;

    check(w, "pods", COUNT, 1, room->pods, room->used_pods - (here != NULL));
    check(w, "cpu", CPU, need->cpu_milli, room->cpu_milli, room->used_cpu_milli - own->cpu_milli);
    check(w, "memory", BYTES, need->memory_bytes, room->memory_bytes,
          room->used_memory_bytes - own->memory_bytes);
    check(w, "ephemeral-storage", BYTES, need->ephemeral_bytes, room->ephemeral_bytes,
          room->used_ephemeral_bytes - own->ephemeral_bytes);
    for (size_t i = 0; i < need->extras_len; i++) {
        const struct need_extra *want = &need->extras[i];
        const struct need_extra *mine = need_find_extra(own, want->name);
        const struct room_extra *have = need_room_extra(room, want->name);

        if ((want->if_listed && !(have && have->listed)) ||
            profile_ignores(w->r->c->profile, want->name))
            continue;
        check(w, want->name, is_bytes(want->name) ? BYTES : COUNT, want->value,
              have ? have->total : 0, (have ? have->used : 0) - (mine ? mine->value : 0));
    }
}

void
why_numa(struct why_ctx *w)
{
    const struct vmi_spec *s = &w->r->vmi->spec;
    struct numa_need need = numa_need_of(s, w->r->c->hco);
    const char *pages = "";
    int64_t cpus = need.cpus + need.extra;

    if (need.page)
        pages = arena_printf(w->a, " and %s of hugepages-%s", amount(w, BYTES, need.bytes, true),
                             need.page);
    why_add(w,
            arena_printf(w->a, "%lld CPUs%s from one NUMA cell%s", (long long)cpus, pages,
                         need.parts > 1 ? ", for each socket" : ""),
            numa_free_text(w->r->c, s, w->n, w->r->self, w->a), WHY_COST_ROOM,
            arena_printf(w->a, "free a NUMA cell of %s, or give the VM more sockets", w->n->name));
}

void
why_volumes(struct why_ctx *w)
{
    const struct volume_rule *v = volumes_in_the_way(w->r->c, &w->r->volumes, w->n, w->a);

    if (!v)
        why_add(w, "the volumes of its claims", "a claim whose volume does not exist", WHY_COST_VM,
                "create the volume that its claim is bound to");
    else if (v->bound)
        why_add(w, arena_printf(w->a, "volume %s of claim %s", v->bound->meta.name, v->claim),
                "no way to it: it is on other nodes", WHY_COST_VM,
                arena_printf(w->a, "move the data of claim %s to a volume that %s reaches",
                             v->claim, w->n->name));
    else
        why_add(
            w, arena_printf(w->a, "a volume of class %s for claim %s", v->cls->meta.name, v->claim),
            "none that is free and does", WHY_COST_VM,
            arena_printf(w->a, "make a volume of class %s on %s", v->cls->meta.name, w->n->name));
}

static void
check(struct why_ctx *w, const char *name, enum unit unit, int64_t want, int64_t total,
      int64_t used)
{
    int64_t left = total > used ? total - used : 0, lacks = want - left;
    const char *wanted, *has;

    if (want <= 0 || want <= total - used)
        return;
    if (unit == BYTES && want >= MIB && left >= MIB) /* so that the numbers shown add up */
        lacks = ((want + MIB - 1) / MIB - left / MIB) * MIB;
    wanted = arena_printf(w->a, "%s %s", amount(w, unit, want, true), name);
    has = arena_printf(w->a, "%s free of %s", amount(w, unit, left, false),
                       amount(w, unit, total, false));
    if (want > total)
        why_add(w, wanted, has, WHY_COST_ROOM_ALL,
                total > 0 ? arena_printf(w->a, "ask for at most %s %s, all that %s has",
                                         amount(w, unit, total, false), name, w->n->name)
                          : arena_printf(w->a, "give %s some %s", w->n->name, name));
    else
        why_add(w, wanted, has, WHY_COST_ROOM + (int)(lacks / (want / WHY_COST_ROOM + 1)),
                unit == COUNT && want == 1
                    ? arena_printf(w->a, "free one of the %s of %s", name, w->n->name)
                    : arena_printf(w->a, "free %s more %s on %s, or ask for less",
                                   amount(w, unit, lacks, true), name, w->n->name));
}

/* Bytes in whole MiB, rounded up or down. */
static const char *
amount(const struct why_ctx *w, enum unit unit, int64_t n, bool up)
{
    char text[32];

    if (unit == COUNT)
        return arena_printf(w->a, "%lld", (long long)n);
    if (unit == CPU) {
        quantity_format_cpu(n, text, sizeof(text));
        return arena_strdup(w->a, text);
    }
    if (n >= MIB)
        n = (n / MIB + (up && n % MIB != 0)) * MIB;
    quantity_format_bytes(n, text, sizeof(text));
    return arena_strdup(w->a, text);
}

static bool
is_bytes(const char *name)
{
    return strncmp(name, "hugepages-", strlen("hugepages-")) == 0;
}
