/* docs/states.md says what the tables say; STATES_WRITE=1 in the environment writes it anew (run
 * from the root of the tree). Also: edges of VMIs and maintenances, legal and not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/tree.h"
#include "base/fs.h"
#include "control/loop_phase.h"
#include "migrate/coord.h"

#define PATH "docs/states.md"

struct machine {
    const char *title, *intro;
    unsigned count;
    const char *(*name)(unsigned p);
    const char *(*text)(unsigned p);
    unsigned (*next)(unsigned p);
    int64_t (*deadline_s)(unsigned p); /* NULL: the machine has none */
};

#define WRAP(type, fn_name, fn)                   \
    static const char *fn_name##_name(unsigned p) \
    {                                             \
        return fn##_name((type)p);                \
    }                                             \
    static const char *fn_name##_text(unsigned p) \
    {                                             \
        return fn##_text((type)p);                \
    }                                             \
    static unsigned fn_name##_next(unsigned p)    \
    {                                             \
        return fn##_next((type)p);                \
    }

WRAP(enum coord_phase, m, coord_phase)
WRAP(enum vmi_phase, v, vmi_phase)
WRAP(enum drain_phase, d, drain_phase)

static int64_t
m_deadline(unsigned p)
{
    return coord_phase_deadline_s((enum coord_phase)p);
}

static const struct machine machines[] = {
    {"A migration (VirtualMachineInstanceMigration)",
     "`migrate/coord.h`, `COORD_PHASES`. Changed by the controller alone, one edge a write, each "
     "stamped in\n`status.phaseTransitionTimestamps`. Whatever waits says why in condition "
     "`Waiting`. A phase that is overdue\nends in Failed with a reason of its own. Deleting the "
     "object cancels from every phase; once the source has\nclaimed the start (Running) the source "
     "decides whether that comes too late.\n",
     COORD_PHASE_COUNT, m_name, m_text, m_next, m_deadline},
    {"A VM's instance (VirtualMachineInstance)",
     "`control/loop_phase.h`, `VMI_PHASES`. Pending to Scheduled are the controller's, the rest is "
     "said by the\nhandler that `status.nodeName` names; the controller says Failed "
     "(`NodeDeleted`) "
     "for a node whose object was\ndeleted, and not before its heartbeat is too old, too.\n",
     VMI_PHASE_COUNT, v_name, v_text, v_next, NULL},
    {"A drain (NodeMaintenance)",
     "`control/loop_phase.h`, `DRAIN_PHASES`. Level-triggered: it follows what is on the node. "
     "Deleting the object\ntakes away what it added to the node, and the evacuations that have not "
     "been handed to the handlers.\n",
     DRAIN_PHASE_COUNT, d_name, d_text, d_next, NULL},
};

static const char *
shown(const char *name)
{
    return *name ? name : "(none)";
}

static void
print_machine(const struct machine *m, struct sb *out)
{
    sb_printf(out, "\n## %s\n%s\n", m->title, m->intro);
    sb_printf(out, "| phase | next |%s meaning |\n|---|---|%s---|\n",
              m->deadline_s ? " at most |" : "", m->deadline_s ? "---|" : "");
    for (unsigned p = 0; p < m->count; p++) {
        const char *sep = "";

        sb_printf(out, "| %s | ", shown(m->name(p)));
        for (unsigned q = 0; q < m->count; q++) {
            if (m->next(p) & 1u << q) {
                sb_printf(out, "%s%s", sep, m->name(q));
                sep = ", ";
            }
        }
        sb_puts(out, *sep ? " | " : "- | ");
        if (m->deadline_s && m->deadline_s(p))
            sb_printf(out, "%d s | ", (int)m->deadline_s(p));
        else if (m->deadline_s)
            sb_puts(out, "- | ");
        sb_printf(out, "%s |\n", m->text(p));
    }
    sb_puts(out, "\n```mermaid\nstateDiagram-v2\n");
    for (unsigned p = 0; p < m->count; p++)
        for (unsigned q = 0; q < m->count; q++)
            if (m->next(p) & 1u << q)
                sb_printf(out, "    %s --> %s\n", *m->name(p) ? m->name(p) : "[*]", m->name(q));
    sb_puts(out, "```\n");
}

static void
test_document(void **state)
{
    AUTO_SB struct sb want = SB_INIT;
    AUTO_FREE char *have = NULL;
    size_t len;

    (void)state;
    sb_puts(&want, "# States\n\nPrinted from the tables in the code by "
                   "`tests/control/test_loop_states.c`, which fails when this page says anything\n"
                   "else; `STATES_WRITE=1 build/asan/tests/control/test_loop_states` writes it.\n");
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        print_machine(&machines[i], &want);
    if (getenv("STATES_WRITE"))
        assert_int_equal(fs_replace(PATH, want.buf, want.len, 0644, NULL), 0);
    assert_int_equal(fs_read_all(PATH, 1 << 20, &have, &len, NULL), 0);
    if (strcmp(have, sb_str(&want)) != 0)
        fail_msg(PATH " is not what the tables say: run with STATES_WRITE=1");
}

struct edge_row {
    const char *from, *to;
    bool legal;
};

static const struct edge_row vmi_rows[] = {
    {"", "Pending", true},
    {"Pending", "Scheduled", true},
    {"Scheduling", "Scheduled", true},
    {"Scheduled", "Running", true},
    {"Running", "Failed", true},
    {"", "Running", false},
    {"", "Scheduled", false},
    {"Running", "Scheduled", false},
    {"Running", "Running", false},
    {"Succeeded", "Running", false},
    {"Failed", "Pending", false},
    {"Scheduled", "Pending", false},
    {"Pending", "Running", false},
    {"Migrating", "Failed", false},
};

static void
test_vmi_edges(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vmi_rows); i++) {
        const struct edge_row *r = &vmi_rows[i];
        AUTO_TREE struct tree *t = tree_map();
        struct err err = {0};
        int rc;

        if (*r->from)
            tree_set_path(t, tree_string(r->from), "status", "phase", NULL);
        rc = vmi_phase_set(t, vmi_phase_parse(r->to), 1767225600000000, &err);
        if ((rc == 0) != r->legal)
            fail_msg("'%s' to '%s': %d", r->from, r->to, rc);
        assert_string_equal(tree_find_string(t, "", "status", "phase", NULL),
                            r->legal ? r->to : r->from);
        assert_int_equal(phase_stamp_us(t, r->to), r->legal ? 1767225600000000 : 0);
        if (!r->legal)
            assert_non_null(strstr(err.msg, r->from));
    }
}

static void
test_drain_edges(void **state)
{
    static const struct edge_row rows[] = {
        {"", "Running", true},          {"Running", "Succeeded", true},
        {"Succeeded", "Running", true}, {"Failed", "Running", true},
        {"", "Succeeded", false},       {"Failed", "Succeeded", false},
        {"Running", "Running", false},  {"Draining", "Running", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_TREE struct tree *t = tree_map();
        unsigned to = 0;

        tree_set_path(t, tree_string(rows[i].from), "status", "phase", NULL);
        while (strcmp(drain_phase_name((enum drain_phase)to), rows[i].to) != 0)
            to++;
        if ((drain_phase_set(t, (enum drain_phase)to, NULL) == 0) != rows[i].legal)
            fail_msg("'%s' to '%s'", rows[i].from, rows[i].to);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_vmi_edges),
        cmocka_unit_test(test_drain_edges),
    };

    return cmocka_run_group_tests_name("loop_states", tests, NULL, NULL);
}
