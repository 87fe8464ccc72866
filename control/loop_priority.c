/* Priority classes of VMIs; see control/loop_priority.h. */
#include "control/loop_priority.h"

#include <string.h>

#include "base/log.h"
#include "control/loop_cluster.h"
#include "control/loop_event.h"
#include "sched/preempt.h"

#define CONDITION "Synchronized" /* upstream's */

static int refuse(struct loop_write *w, struct tree *obj);
static int accept_again(struct loop_write *w, struct tree *obj);
static void after_refuse(struct loop_write *w, const struct tree *obj);

int64_t
loop_priority_of(struct loops *l, const struct vmi *v)
{
    return cluster_priority_of_vmi(loop_cluster_get(l), v);
}

bool
loop_priority_known(struct loops *l, const struct vmi *v)
{
    const char *name = v->spec.priority_class;
    const struct condition *c = loop_core_condition(&v->status.conditions, CONDITION);
    bool refused = c && c->reason && strcmp(c->reason, "FailedCreate") == 0;
    struct loop_write *w;

    if (!name || !*name || cluster_has_priority_class(loop_cluster_get(l), name)) {
        if (refused)
            loop_write_mutate(loop_write_new(l, KIND_VMI, &v->meta, 0), accept_again, NULL);
        return true;
    }
    if (!refused) {
        w = loop_write_new(l, KIND_VMI, &v->meta, 0);
        w->args = arena_printf(w->arena,
                               "failed to create virtual machine pod: pods \"virt-launcher-%s-\" "
                               "is forbidden: no PriorityClass with name %s was found",
                               v->meta.name, name);
        loop_write_mutate(w, refuse, after_refuse);
    }
    return false;
}

static int
refuse(struct loop_write *w, struct tree *obj)
{
    return object_set_condition(obj, CONDITION, "False", "FailedCreate", w->args,
                                loop_wall_us(w->l->loop));
}

static void
after_refuse(struct loop_write *w, const struct tree *obj)
{
    (void)obj;
    log_warn("vmi.no_class", LS("namespace", w->ns), LS("vmi", w->name),
             LS("why", (const char *)w->args));
    loop_event(w->l, KIND_VMI, &(struct meta){.namespace_ = w->ns, .name = w->name, .uid = w->uid},
               EVENT_WARNING, "FailedCreate", "%s", (const char *)w->args);
}

static int
accept_again(struct loop_write *w, struct tree *obj)
{
    struct tree *list = tree_find(obj, "status", "conditions", NULL);

    (void)w;
    for (size_t i = 0; i < tree_len(list); i++) {
        if (strcmp(tree_find_string(tree_at(list, i), "", "type", NULL), CONDITION) != 0)
            continue;
        tree_list_remove(list, i);
        return 1;
    }
    return 0;
}
