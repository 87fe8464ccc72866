/* Who labels and who places agree: a VM that requires what its host has is placed there, whatever
 * the minimum model, and whether or not the feature has a label; and it can move between two like hosts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "sched/labeller.h"
#include "tests/sched/world.h"

#define DOM(model)                                                                           \
    "<domainCapabilities><arch>x86_64</arch><cpu><mode name='host-model' supported='yes'>"   \
    "<model>" model "</model><vendor>AMD</vendor><feature policy='require' name='apic'/>"    \
    "<feature policy='require' name='aes'/><feature policy='require' name='avx2'/>"          \
    "<feature policy='require' name='svm'/><feature policy='require' name='own'/></mode>"    \
    "<mode name='custom' supported='yes'><model usable='yes'>" model "</model></mode></cpu>" \
    "</domainCapabilities>"
#define FEATURES "apic", "aes", "avx2", "svm", "own"

static char *node_yaml(const char *name, const char *dom, const struct hco *hco);
static const char *placed(const char *yaml, enum place_purpose purpose, struct sb *message);

/* A Node with the labels that the labeller makes. */
static char *
node_yaml(const char *name, const char *dom, const struct hco *hco)
{
    struct labeller_input in = {.domcapabilities = {"dom", dom}, .hco = hco};
    struct arena *a = arena_new();
    struct labeller_output out;
    AUTO_SB struct sb text = SB_INIT;
    struct err err = {0};

    if (labeller_run(&in, &out, a, &err) != 0)
        fail_msg("%s", err_msg(&err));
    sb_printf(&text, "---\n{apiVersion: v1, kind: Node, metadata: {name: %s, labels: {", name);
    for (size_t i = 0; i < out.labels.len; i++)
        sb_printf(&text, "'%s': '%s', ", out.labels.items[i].key, out.labels.items[i].value);
    sb_puts(&text, "kubevirt.io/schedulable: 'true'}}, status: {allocatable: {cpu: '64', memory: "
                   "256Gi, pods: '110'}}}\n");
    arena_free(a);
    return sb_steal(&text);
}

/* The node of the last VMI, or NULL and why. */
static const char *
placed(const char *yaml, enum place_purpose purpose, struct sb *message)
{
    static char node[64];
    struct world *w = world_new(yaml);
    struct place_request rq = {.vmi = w->vmi, .purpose = purpose};
    struct place_result *r = place(w->cluster, &rq);

    snprintf(node, sizeof node, "%s", r->node ? r->node : "");
    sb_reset(message);
    sb_puts(message, r->message);
    place_result_free(r);
    world_free(w);
    return *node ? node : NULL;
}

static void
test_features(void **state)
{
    static const char *const minimums[] = {"",        "Penryn", "Westmere",   "Haswell",
                                           "Unknown", "EPYC",   "EPYC-Milan", "Opteron_G3"};
    static const char *const features[] = {FEATURES};
    AUTO_SB struct sb why = SB_INIT;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(minimums); i++) {
        const struct hco hco = {.min_cpu_model = minimums[i]};
        AUTO_FREE char *node = node_yaml("n1", DOM("Own"), &hco);

        for (size_t k = 0; k <= ARRAY_LEN(features); k++) {
            const char *feature = k < ARRAY_LEN(features) ? features[k] : "another";
            AUTO_FREE char *yaml =
                xasprintf(HCO("obsoleteCPUs: {minCPUModel: '%s'}") "%s" VMI(
                              "vm", "", "", "cpu: {features: [{name: '%s'}]}", ""),
                          minimums[i], node, feature);
            const char *got = placed(yaml, PLACE_START, &why);

            if ((got != NULL) != (k < ARRAY_LEN(features)))
                fail_msg("minimum \"%s\", feature %s: %s", minimums[i], feature, sb_str(&why));
        }
    }
}

/* An obsolete host model: VMs that run with it can move to its like, and to nothing else. */
static void
test_obsolete_host_model(void **state)
{
    static const char *models[] = {"Own"};
    const struct hco hco = {.obsolete_cpu_models = {models, 1}};
    AUTO_FREE char *n1 = node_yaml("n1", DOM("Own"), &hco);
    AUTO_FREE char *n2 = node_yaml("n2", DOM("Own"), &hco);
    AUTO_FREE char *n3 = node_yaml("n3", DOM("Other"), &hco);
    AUTO_FREE char *alike = xasprintf(
        "%s%s%s" VMI("vm", "", "", "cpu: {model: host-model}", "nodeName: n1"), n1, n2, n3);
    AUTO_FREE char *unlike =
        xasprintf("%s%s" VMI("vm", "", "", "cpu: {model: host-model}", "nodeName: n1"), n1, n3);
    AUTO_FREE char *named = xasprintf("%s" VMI("vm", "", "", "cpu: {model: Own}", ""), n1);
    AUTO_SB struct sb why = SB_INIT;
    const char *got = placed(alike, PLACE_MIGRATE, &why);

    (void)state;
    if (!got)
        fail_msg("%s", sb_str(&why));
    assert_string_equal(got, "n2");
    assert_null(placed(unlike, PLACE_MIGRATE, &why));
    assert_non_null(strstr(sb_str(&why), "didn't have host CPU model Own"));
    assert_null(placed(named, PLACE_START, &why));
    assert_non_null(strstr(sb_str(&why), "didn't have CPU model Own"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_obsolete_host_model),
    };

    return cmocka_run_group_tests_name("labels and placement", tests, NULL, NULL);
}
