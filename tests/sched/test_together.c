/* Two moves decided together never break a rule that each alone kept: what is reserved for the first counts for the
 * second, room and neighbours alike. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "tests/sched/world.h"

#define HOST(name, zone) NODE(name, "host: " name ", zone: " zone, "")
#define ANTI                                                                        \
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: " \
    "[{labelSelector: {matchLabels: {app: db}}, topologyKey: host}]}}"
#define SPREAD                                                                        \
    "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: " \
    "DoNotSchedule, labelSelector: {matchLabels: {app: db}}}]"
#define LEAVES(name, labels, spec) VMI(name, labels, spec, "", "nodeName: src, phase: Running")

struct row {
    const char *name;
    const char *cluster, *first, *second;
    const char *alone;    /* where the second goes when it is asked alone */
    const char *together; /* where it goes after the first; NULL: nowhere */
};

static const struct row rows[] = {
    {"anti-affinity between the two", HOST("src", "a") HOST("n1", "a"),
     LEAVES("one", "app: db", ANTI), LEAVES("two", "app: db", ANTI), "n1", NULL},
    {"anti-affinity that only the first has", HOST("src", "a") HOST("n1", "a"),
     LEAVES("one", "app: x", ANTI), LEAVES("two", "app: db", ""), "n1", NULL},
    {"anti-affinity that only the second has, with another node left",
     HOST("src", "a") HOST("n1", "a") HOST("n2", "a"), LEAVES("one", "app: db", ""),
     LEAVES("two", "app: x", ANTI), "n1", "n2"},
    {"spread over zones", /* the first takes zone b to 1, as much as zone c: a second would make 2 */
     HOST("src", "a") HOST("n1", "b") NODE("n2", "host: n2, zone: c", "unschedulable: true"),
     LEAVES("one", "app: db", SPREAD), LEAVES("two", "app: db", SPREAD), "n1", NULL},
    {"room", HOST("src", "a") NODE_WITH("n1", "host: n1", "", "cpu: '4', memory: 2Gi, pods: '9'"),
     LEAVES("one", "", ""), LEAVES("two", "", ""), "n1", NULL},
    {"a device",
     HOST("src", "a") NODE_WITH("n1", "host: n1", "",
                                "cpu: '4', memory: 9Gi, pods: '9', devices.kubevirt.io/kvm: '1'"),
     LEAVES("one", "", ""), LEAVES("two", "", ""), "n1", NULL},
    {"a bridge's places",
     HOST("src",
          "a") "---\n{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, "
               "metadata: {name: br, namespace: default, annotations: "
               "{k8s.v1.cni.cncf.io/resourceName: bridge/br1}}, spec: {config: '{}'}}\n" NODE_WITH(
                   "n1", "host: n1", "", "cpu: '4', memory: 9Gi, pods: '9', bridge/br1: '1'"),
     LEAVES("one", "", "networks: [{name: a, multus: {networkName: br}}]"),
     LEAVES("two", "", "networks: [{name: a, multus: {networkName: br}}]"), "n1", NULL},
    {"a rule of the whole cluster",
     HCO("workloads: {nodePlacement: {" ANTI "}}") HOST("src", "a") HOST("n1", "a"),
     LEAVES("one", "app: db", ""), LEAVES("two", "app: db", ""), "n1", NULL},
    {"nothing in common", HOST("src", "a") HOST("n1", "a"), LEAVES("one", "app: db", ANTI),
     LEAVES("two", "app: web", ""), "n1", "n1"},
};

static void
check_goes(struct cluster *c, const struct vmi *v, const char *want, const char *row)
{
    struct place_request rq = {.vmi = v, .purpose = PLACE_MIGRATE};
    struct place_result *r = place(c, &rq);

    if (strcmp(r->node ? r->node : "-", want ? want : "-") != 0)
        fail_msg("%s: %s goes to %s (%s), not to %s", row, v->meta.name, r->node ? r->node : "-",
                 r->message, want ? want : "-");
    place_result_free(r);
}

static void
test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *row = &rows[i];
        AUTO_FREE char *yaml = xasprintf("%s%s%s", row->cluster, row->second, row->first);
        AUTO_FREE char *other = xasprintf("%s%s%s", row->cluster, row->first, row->second);
        struct world *w = world_new(yaml), *x = world_new(other);
        struct place_request rq = {.vmi = w->vmi, .purpose = PLACE_MIGRATE};
        struct place_result *first = place(w->cluster, &rq);

        check_goes(w->cluster, x->vmi, row->alone, row->name);
        assert_string_equal(first->node, "n1");
        cluster_reserve(w->cluster, w->vmi, first->node);
        check_goes(w->cluster, x->vmi, row->together, row->name);
        /* and when the first is taken back, the second may go again */
        cluster_unreserve(w->cluster, "default", "one", first->node);
        check_goes(w->cluster, x->vmi, row->alone, row->name);
        place_result_free(first);
        world_free(w);
        world_free(x);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests_name("together", tests, NULL, NULL);
}
