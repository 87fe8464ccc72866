/* Options of migrations in annotations: each text and what it means, at admission and as JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "api/migration_options.h"
#include "api/names.h"
#include "tests/api/rows.h"

#define ON(kind, api) \
    "{apiVersion: " api ", kind: " kind ", metadata: {name: p, annotations: {%s}}, spec: {}}"
#define ON_HCO      ON("HyperConverged", "hco.kubevirt.io/v1beta1")
#define ON_KUBEVIRT ON("KubeVirt", "kubevirt.io/v1")
#define ON_POLICY                                                                               \
    "{apiVersion: migrations.kubevirt.io/v1alpha1, kind: MigrationPolicy, metadata: {name: p, " \
    "annotations: {%s}}, spec: {selectors: {}}}"

#define NAD(trust)                                                                             \
    "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: n, " \
    "namespace: d, annotations: {drover.io/trusted-network: " trust                            \
    "}}, spec: {config: '{\"type\": "                                                          \
    "\"macvlan\", \"cniVersion\": \"0.3.1\", \"name\": \"n\", \"master\": \"eth1\"}'}}"

static const struct object_row rows[] = {
    {.name = "all",
     .text = "drover.io/encoding: lz4, drover.io/verify: full, drover.io/channels: \"8\", "
             "drover.io/weight: \"3\", drover.io/network-fallback: management, "
             "drover.io/post-copy: immediate, drover.io/transport: rdma"},
    {.name = "smallest and largest numbers",
     .text = "drover.io/channels: \"0\", drover.io/weight: \"1000\""},
    {.name = "encoding that nobody asks for",
     .text = "drover.io/encoding: zero",
     .error =
         "metadata.annotations[drover.io/encoding]: Invalid value: \"zero\": want one of auto, "
         "raw, delta, lz4, zstd"},
    {.name = "encoding in another case",
     .text = "drover.io/encoding: LZ4",
     .error = "want one of auto"},
    {.name = "empty verify",
     .text = "drover.io/verify: \"\"",
     .error =
         "metadata.annotations[drover.io/verify]: Invalid value: \"\": want one of none, full"},
    {.name = "weight 0",
     .text = "drover.io/weight: \"0\"",
     .error = "metadata.annotations[drover.io/weight]: Invalid value: \"0\": want a number from 1 "
              "to 1000"},
    {.name = "weight beyond",
     .text = "drover.io/weight: \"1001\"",
     .error = "want a number from 1 to 1000"},
    {.name = "channels beyond",
     .text = "drover.io/channels: \"65\"",
     .error = "want a number from 0 to 64"},
    {.name = "channels with a sign",
     .text = "drover.io/channels: \"+2\"",
     .error = "want a number from 0 to 64"},
    {.name = "channels with a blank",
     .text = "drover.io/channels: \"2 \"",
     .error = "want a number from 0 to 64"},
    {.name = "fallback",
     .text = "drover.io/network-fallback: any",
     .error = "want one of none, management"},
    {.name = "post-copy",
     .text = "drover.io/post-copy: \"true\"",
     .error = "want one of when-needed, immediate"},
    {.name = "transport", .text = "drover.io/transport: tcp"},
    {.name = "transport that does not exist",
     .text = "drover.io/transport: tls",
     .error =
         "metadata.annotations[drover.io/transport]: Invalid value: \"tls\": want one of auto, "
         "rdma, tcp"},
    {.name = "transport in another case",
     .text = "drover.io/transport: RDMA",
     .error = "want one of auto, rdma, tcp"},
    {.name = "a network's trust is not a policy's to give",
     .text = "drover.io/trusted-network: \"true\"",
     .warning = "metadata.annotations[drover.io/trusted-network] counts on a "
                "NetworkAttachmentDefinition only"},
};

static void
test_policy(void **state)
{
    object_row_check(*state, ON_POLICY);
}

static void
test_hco(void **state)
{
    object_row_check(*state, ON_HCO);
}

static void
test_kubevirt(void **state)
{
    object_row_check(*state, ON_KUBEVIRT);
}

static const struct object_row elsewhere[] = {
    {.name = "on a migration it would change nothing",
     .text = "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: "
             "m, namespace: d, annotations: {drover.io/encoding: raw}}, spec: {vmiName: v}}",
     .warning = "metadata.annotations[drover.io/encoding] counts on a MigrationPolicy, "
                "HyperConverged or KubeVirt only"},
    {.name = "bandwidth of one migration",
     .text = "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: "
             "m, namespace: d, annotations: {drover.io/bandwidth-override: 64Mi}}, spec: {vmiName: "
             "v}}"},
    {.name = "bandwidth that is none",
     .text = "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: "
             "m, namespace: d, annotations: {drover.io/bandwidth-override: fast}}, spec: {vmiName: "
             "v}}",
     .error = "metadata.annotations[drover.io/bandwidth-override]: Invalid value: \"fast\""},
    {.name = "transport of one VM",
     .text = "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: "
             "m, namespace: d, annotations: {drover.io/transport: tcp}}, spec: {vmiName: v}}",
     .warning = "metadata.annotations[drover.io/transport] counts on a MigrationPolicy, "
                "HyperConverged or KubeVirt only"},
    {.name = "a network that is trusted", .text = NAD("\"true\"")},
    {.name = "a network that is not", .text = NAD("\"false\"")},
    {.name = "half trust",
     .text = NAD("\"yes\""),
     .error = "metadata.annotations[drover.io/trusted-network]: Invalid value: \"yes\": want "
              "\"true\" or \"false\""},
    {.name = "trust that was left open",
     .text = NAD("\"\""),
     .error = "want \"true\" or \"false\""},
};

static void
test_elsewhere(void **state)
{
    object_row_check(*state, NULL);
}

static void
test_json_round_trip(void **state)
{
    struct migration_options m, back;
    AUTO_TREE struct tree *t = NULL;
    AUTO_SB struct sb json = SB_INIT;

    (void)state;
    migration_options_init(&m);
    t = migration_options_tree(&m);
    tree_to_json(t, 0, &json);
    assert_string_equal(
        sb_str(&json),
        "{\"encoding\":\"auto\",\"verify\":\"none\",\"channels\":0,\"weight\":1,"
        "\"networkFallback\":\"none\",\"postCopy\":\"when-needed\",\"transport\":\"auto\"}");
    m = (struct migration_options){.encoding = MIGRATION_ENCODING_ZSTD,
                                   .verify_full = true,
                                   .channels = 7,
                                   .weight = 12,
                                   .fallback_management = true,
                                   .post_copy_immediate = true,
                                   .transport = MIGRATION_TRANSPORT_TCP};
    sb_reset(&json);
    tree_free(t);
    t = migration_options_tree(&m);
    tree_to_json(t, 0, &json);
    migration_options_read(sb_str(&json), &back);
    assert_int_equal(back.encoding, MIGRATION_ENCODING_ZSTD);
    assert_true(back.verify_full && back.fallback_management && back.post_copy_immediate);
    assert_int_equal(back.transport, MIGRATION_TRANSPORT_TCP);
    assert_int_equal(back.channels, 7);
    assert_int_equal(back.weight, 12);
}

/* What an older or newer controller wrote, or nobody: defaults, never a guess. */
static void
test_json_unreadable(void **state)
{
    static const char *const texts[] = {
        NULL,
        "",
        "{",
        "[]",
        "3",
        "{\"weight\":0,\"channels\":65,\"encoding\":\"zero\"}",
        "{\"weight\":\"x\",\"verify\":true,\"postCopy\":1,\"transport\":\"udp\",\"more\":{}}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct migration_options m;

        memset(&m, 0xff, sizeof m);
        migration_options_read(texts[i], &m);
        assert_int_equal(m.encoding, MIGRATION_ENCODING_AUTO);
        assert_int_equal(m.transport, MIGRATION_TRANSPORT_AUTO);
        assert_int_equal(m.weight, 1);
        assert_int_equal(m.channels, 0);
        assert_false(m.verify_full || m.fallback_management || m.post_copy_immediate);
    }
}

int
main(void)
{
    const struct CMUnitTest json[] = {
        cmocka_unit_test(test_json_round_trip),
        cmocka_unit_test(test_json_unreadable),
    };

    return ROWS_RUN("on a MigrationPolicy", rows, test_policy) +
           ROWS_RUN("on a HyperConverged", rows, test_hco) +
           ROWS_RUN("on a KubeVirt", rows, test_kubevirt) +
           ROWS_RUN("elsewhere", elsewhere, test_elsewhere) +
           cmocka_run_group_tests_name("JSON", json, NULL, NULL);
}
