/* Clusters for tests; see world.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "api/quantity.h"
#include "base/sb.h"
#include "sched/profile.h"
#include "sched/preempt.h"
#include "tests/sched/world.h"

struct world *
world_new(const char *yaml)
{
    struct world *w = xcalloc(1, sizeof(*w));

    w->arena = arena_new();
    w->cluster = cluster_new();
    world_add(w, yaml);
    return w;
}

void
world_add(struct world *w, const char *yaml)
{
    AUTO_TREE struct tree *docs = NULL;
    struct err err = {0};

    if (tree_from_yaml("test", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < tree_len(docs); i++) {
            const struct tree *t = tree_at(docs, i);
            const struct kind_info *ki = object_kind(t);

            assert_non_null(ki);
            if (pass == 0 && ki->kind == KIND_HCO) {
                w->hco = hco_decode(t, w->arena);
                cluster_set_hco(w->cluster, w->hco);
            }
            if (pass == 0)
                continue;
            switch (ki->kind) {
            case KIND_NODE:
                cluster_add_node(w->cluster, node_decode(t, w->arena));
                break;
            case KIND_NAMESPACE:
                cluster_add_namespace(w->cluster, namespace_decode(t, w->arena));
                break;
            case KIND_VMI:
                w->vmi = vmi_decode(t, w->arena);
                w->pod = NULL;
                cluster_add_vmi(w->cluster, w->vmi);
                break;
            case KIND_POD:
                w->pod = pod_decode(t, w->arena);
                cluster_add_pod(w->cluster, w->pod);
                break;
            case KIND_PRIORITY:
                cluster_add_priority_class(w->cluster, priority_class_decode(t, w->arena));
                break;
            case KIND_PDB:
                cluster_add_pdb(w->cluster, pdb_decode(t, w->arena));
                break;
            case KIND_PVC:
                cluster_add_pvc(w->cluster, pvc_decode(t, w->arena));
                break;
            case KIND_PV:
                cluster_add_pv(w->cluster, pv_decode(t, w->arena));
                break;
            case KIND_STORAGE_CLASS:
                cluster_add_storage_class(w->cluster, storage_class_decode(t, w->arena));
                break;
            case KIND_NAD:
                cluster_add_nad(w->cluster, nad_decode(t, w->arena));
                break;
            case KIND_SCHED_CONFIG:
                cluster_set_profile(w->cluster,
                                    profile_compile(sched_config_decode(t, w->arena), w->arena));
                break;
            case KIND_HCO:
                break;
            default:
                fail_msg("%s: no such kind in these tests", ki->name);
            }
        }
    }
}

void
world_free(struct world *w)
{
    cluster_free(w->cluster);
    arena_free(w->arena);
    free(w);
}

char *
world_reasons(const struct place_result *r)
{
    AUTO_SB struct sb text = SB_INIT;

    for (size_t i = 0; i < r->nodes_len; i++) {
        if (r->nodes[i].fits)
            continue;
        sb_printf(&text, "%s%s: ", text.len > 0 ? "; " : "", r->nodes[i].name);
        for (size_t j = 0; j < r->nodes[i].reasons.len; j++)
            sb_printf(&text, "%s%s", j > 0 ? " | " : "", r->nodes[i].reasons.items[j]);
    }
    return sb_steal(&text);
}

static void
run_row(void **state)
{
    const struct world_row *row = *state;
    AUTO_FREE char *yaml = xasprintf("%s%s", row->cluster, row->asks);
    struct world *w = world_new(yaml);
    struct place_request rq = {.target = row->target};
    struct kv_list added = {0};
    struct place_result *r;
    int64_t now_us;

    assert_int_equal(time_parse("2026-01-01T00:10:00Z", &now_us, NULL), 0);
    cluster_set_heartbeat(w->cluster, now_us, row->heartbeat_timeout_s);
    if (row->from_files)
        cluster_set_from_files(w->cluster);
    if (row->added) {
        char *key = arena_strdup(w->arena, row->added), *eq = strchr(key, '=');

        *eq = '\0';
        added.items = arena_alloc(w->arena, sizeof(struct kv));
        added.items[0] = (struct kv){key, eq + 1};
        added.len = 1;
        rq.added_node_selector = &added;
    }
    if (w->pod)
        rq.pod = w->pod;
    else
        rq.vmi = w->vmi;
    rq.purpose = row->migrate ? PLACE_MIGRATE : PLACE_START;
    rq.needs_network = row->network;
    r = place(w->cluster, &rq);
    if (row->reasons) {
        AUTO_FREE char *got = world_reasons(r);

        assert_string_equal(got, row->reasons);
    }
    if (row->node) {
        if (!r->node)
            fail_msg("no node: %s", r->message);
        assert_string_equal(r->node, row->node);
        assert_string_equal(r->message, "");
    } else {
        if (r->node)
            fail_msg("placed on %s", r->node);
        assert_non_null(row->message);
        assert_string_equal(r->message, row->message);
    }
    place_result_free(r);
    world_free(w);
}

int
world_run(const char *group, const struct world_row *rows, size_t len)
{
    struct CMUnitTest *tests = xcalloc(len, sizeof(*tests));
    int rc;

    for (size_t i = 0; i < len; i++) {
        union { /* cmocka takes a pointer to data that it does not change */
            const struct world_row *in;
            void *out;
        } row = {.in = &rows[i]};

        tests[i] = (struct CMUnitTest){
            .name = rows[i].name, .test_func = run_row, .initial_state = row.out};
    }
    rc = _cmocka_run_group_tests(group, tests, len, NULL, NULL);
    free(tests);
    return rc;
}

void
world_check_scores(const struct world_score *rows, size_t len)
{
    AUTO_SB struct sb wrong = SB_INIT;

    for (size_t i = 0; i < len; i++) {
        AUTO_FREE char *yaml = xasprintf("%s%s", rows[i].cluster, rows[i].asks);
        struct world *w = world_new(yaml);
        struct place_request rq = {.vmi = w->pod ? NULL : w->vmi, .pod = w->pod};
        AUTO_SB struct sb got = SB_INIT;
        struct place_result *r;

        if (rq.vmi && rq.vmi->status.node_name)
            rq.purpose = PLACE_MIGRATE;
        r = place(w->cluster, &rq);
        for (size_t n = 0; n < r->nodes_len; n++) {
            const struct place_node *pn = &r->nodes[n];

            if (!pn->fits)
                continue;
            sb_printf(&got, "%s%s=", got.len > 0 ? " " : "", pn->name);
            if (!rows[i].plugin)
                sb_printf(&got, "%lld/%lld", (long long)pn->total, (long long)pn->score);
            for (size_t p = 0; rows[i].plugin && p < pn->scores_len; p++)
                if (strcmp(pn->scores[p].plugin, rows[i].plugin) == 0)
                    sb_printf(&got, "%lld", (long long)pn->scores[p].score);
        }
        if (strcmp(sb_str(&got), rows[i].want) != 0)
            sb_printf(&wrong, "%s: %s; want %s\n", rows[i].name, sb_str(&got), rows[i].want);
        place_result_free(r);
        world_free(w);
    }
    assert_string_equal(sb_str(&wrong), "");
}
