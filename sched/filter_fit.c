/* Room: pods, CPU, memory, ephemeral storage, extended resources and huge pages. All that is short is
 * reported, as kube-scheduler's NodeResourcesFit does. What the VM itself has on the node already
 * (a reservation) does not count against it. */
#include "sched/explain.h"
#include "sched/filter.h"
#include "sched/profile.h"

static void check(const struct request *r, const char *name, int64_t want, int64_t total,
                  int64_t used, int64_t own, struct str_list *reasons);

void
filter_fit(const struct request *r, const struct cluster_node *n, struct str_list *reasons)
{
    static const struct need nothing;
    const struct occupant *here = cluster_occupant_on(r->self, n);
    const struct need *own = here ? &here->need : &nothing;
    const struct room *room = &n->room;

    if (room->used_pods - (here != NULL) + 1 > room->pods)
        explain_add(reasons, r->arena, "Too many pods");
    check(r, "cpu", r->need.cpu_milli, room->cpu_milli, room->used_cpu_milli, own->cpu_milli,
          reasons);
    check(r, "memory", r->need.memory_bytes, room->memory_bytes, room->used_memory_bytes,
          own->memory_bytes, reasons);
    check(r, "ephemeral-storage", r->need.ephemeral_bytes, room->ephemeral_bytes,
          room->used_ephemeral_bytes, own->ephemeral_bytes, reasons);
    for (size_t i = 0; i < r->need.extras_len; i++) {
        const struct need_extra *want = &r->need.extras[i];
        const struct need_extra *mine = need_find_extra(own, want->name);
        const struct room_extra *have = need_room_extra(room, want->name);

        if (want->if_listed && !(have && have->listed))
            continue;
        if (profile_ignores(r->c->profile, want->name))
            continue;
        check(r, want->name, want->value, have ? have->total : 0, have ? have->used : 0,
              mine ? mine->value : 0, reasons);
    }
}

static void
check(const struct request *r, const char *name, int64_t want, int64_t total, int64_t used,
      int64_t own, struct str_list *reasons)
{
    if (want > 0 && want > total - (used - own))
        explain_addf(reasons, r->arena, "Insufficient %s", name);
}
