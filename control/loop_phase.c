/* Phases of VMIs and maintenances in their trees; see control/loop_phase.h. */
#include "control/loop_phase.h"

#include <errno.h>
#include <string.h>

#include "api/quantity.h"
#include "base/cleanup.h"

struct phase_info {
    const char *name;
    unsigned next;
    const char *text;
};

static const struct phase_info vmi_phases[VMI_PHASE_COUNT] = {
#define X(id, name, next, text) [VMI_##id] = {name, next, text},
    VMI_PHASES(X)
#undef X
};

static const struct phase_info drain_phases[DRAIN_PHASE_COUNT] = {
#define X(id, name, next, text) [DRAIN_##id] = {name, next, text},
    DRAIN_PHASES(X)
#undef X
};

static int set(struct tree *obj, const struct phase_info *table, unsigned count, unsigned to,
               const char *what, struct err *err);

const char *
vmi_phase_name(enum vmi_phase p)
{
    return p < VMI_PHASE_COUNT ? vmi_phases[p].name : "?";
}

const char *
vmi_phase_text(enum vmi_phase p)
{
    return p < VMI_PHASE_COUNT ? vmi_phases[p].text : "";
}

unsigned
vmi_phase_next(enum vmi_phase p)
{
    return p < VMI_PHASE_COUNT ? vmi_phases[p].next : 0;
}

enum vmi_phase
vmi_phase_parse(const char *name)
{
    unsigned p = 0;

    while (p < VMI_PHASE_COUNT && strcmp(vmi_phases[p].name, name ? name : "") != 0)
        p++;
    return (enum vmi_phase)p;
}

bool
vmi_phase_final(enum vmi_phase p)
{
    return p == VMI_SUCCEEDED || p == VMI_FAILED;
}

int
vmi_phase_set(struct tree *vmi, enum vmi_phase to, int64_t now_us, struct err *err)
{
    int rc = set(vmi, vmi_phases, VMI_PHASE_COUNT, to, "VirtualMachineInstance", err);

    if (rc == 0)
        phase_stamp(vmi, vmi_phases[to].name, now_us, false);
    return rc;
}

const char *
drain_phase_name(enum drain_phase p)
{
    return p < DRAIN_PHASE_COUNT ? drain_phases[p].name : "?";
}

const char *
drain_phase_text(enum drain_phase p)
{
    return p < DRAIN_PHASE_COUNT ? drain_phases[p].text : "";
}

unsigned
drain_phase_next(enum drain_phase p)
{
    return p < DRAIN_PHASE_COUNT ? drain_phases[p].next : 0;
}

int
drain_phase_set(struct tree *maintenance, enum drain_phase to, struct err *err)
{
    return set(maintenance, drain_phases, DRAIN_PHASE_COUNT, to, "NodeMaintenance", err);
}

void
phase_stamp(struct tree *obj, const char *phase, int64_t now_us, bool micro)
{
    struct tree *status = tree_ensure_map(obj, "status");
    struct tree *list = tree_get(status, "phaseTransitionTimestamps"), *one;
    char when[32];

    if (phase_stamp_us(obj, phase))
        return;
    if (tree_type(list) != TREE_LIST) {
        list = tree_list();
        tree_set(status, "phaseTransitionTimestamps", list);
    }
    time_format(now_us, micro, when, sizeof(when));
    one = tree_map();
    tree_set(one, "phase", tree_string(phase));
    tree_set(one, "phaseTransitionTimestamp", tree_string(when));
    tree_append(list, one);
}

int64_t
phase_stamp_us(const struct tree *obj, const char *phase)
{
    const struct tree *list = tree_find(obj, "status", "phaseTransitionTimestamps", NULL);

    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *one = tree_at(list, i);
        int64_t us;

        if (strcmp(tree_get_string(tree_get(one, "phase"), ""), phase) == 0 &&
            time_parse(tree_get_string(tree_get(one, "phaseTransitionTimestamp"), ""), &us, NULL) ==
                0)
            return us;
    }
    return 0;
}

static int
set(struct tree *obj, const struct phase_info *table, unsigned count, unsigned to, const char *what,
    struct err *err)
{
    const char *now = tree_find_string(obj, "", "status", "phase", NULL);
    unsigned from = 0;

    while (from < count && strcmp(table[from].name, now) != 0)
        from++;
    if (from == count)
        return err_set(err, -EINVAL, "%s: status.phase '%s' is none of its phases", what, now);
    if (to >= count || !(table[from].next & 1u << to))
        return err_set(err, -EINVAL, "%s: cannot go from phase '%s' to '%s'", what, now,
                       to < count ? table[to].name : "?");
    tree_set(tree_ensure_map(obj, "status"), "phase", tree_string(table[to].name));
    return 0;
}
