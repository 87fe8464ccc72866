/* What a VM asks of its node: the documents' overhead formula, CPU under the allocation ratio, CPU
 * model by precedence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/sb.h"
#include "sched/need.h"
#include "tests/sched/world.h"

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)

static const struct {
    const char *name, *domain;
    int64_t memory_bytes, guest_bytes, cpu_milli, ratio;
} rows[] = {
    /* 1 GiB, 2 vCPUs, no graphics: 1026.048 + 218 + 16 = 1260.048 MiB, up to a byte */
    {"the documents' terms",
     "memory: {guest: 1Gi}, cpu: {cores: 2}, devices: {"
     "autoattachGraphicsDevice: false}",
     1075889308 + 234 * MIB, GIB, 200, 10},
    {"graphics is there by default", "memory: {guest: 1Gi}, cpu: {cores: 2}, devices: {}",
     1075889308 + 250 * MIB, GIB, 200, 10},
    {"a GPU",
     "memory: {guest: 1Gi}, cpu: {cores: 2}, devices: {autoattachGraphicsDevice: false, "
     "gpus: [{name: a, deviceName: b}]}",
     1075889308 + 1258 * MIB, GIB, 200, 10},
    {"an SR-IOV interface for each network",
     "memory: {guest: 1Gi}, cpu: {cores: 2}, devices: {"
     "autoattachGraphicsDevice: false, interfaces: [{name: a, sriov: {}}, {name: b, sriov: {}}, "
     "{name: c, masquerade: {}}]}",
     1075889308 + 2282 * MIB, GIB, 200, 10},
    {"SEV",
     "memory: {guest: 1Gi}, cpu: {cores: 2}, launchSecurity: {sev: {}}, devices: {"
     "autoattachGraphicsDevice: false}",
     1075889308 + 490 * MIB, GIB, 200, 10},
    {"TPM",
     "memory: {guest: 1Gi}, cpu: {cores: 2}, devices: {autoattachGraphicsDevice: false, "
     "tpm: {}}",
     1075889308 + 287 * MIB, GIB, 200, 10},
    {"a request below the guest's memory is what is requested",
     "memory: {guest: 4Gi}, "
     "resources: {requests: {memory: 1Gi}}, devices: {autoattachGraphicsDevice: false}",
     1075889308 + 226 * MIB, 4 * GIB, 100, 10},
    {"a request alone is the guest's memory",
     "resources: {requests: {memory: 1Gi}}, devices: {"
     "autoattachGraphicsDevice: false}",
     1075889308 + 226 * MIB, GIB, 100, 10},
    {"a limit alone",
     "resources: {limits: {memory: 1Gi}}, devices: {"
     "autoattachGraphicsDevice: false}",
     1075889308 + 226 * MIB, GIB, 100, 10},
    {"nothing said", "devices: {autoattachGraphicsDevice: false}", 226 * MIB, 0, 100, 10},
    {"500 bytes make one more",
     "memory: {guest: '500'}, devices: {autoattachGraphicsDevice: false}", 501 + 226 * MIB, 500,
     100, 10},
    {"501 bytes make two more",
     "memory: {guest: '501'}, devices: {autoattachGraphicsDevice: false}", 503 + 226 * MIB, 501,
     100, 10},
    {"sockets * cores * threads",
     "memory: {guest: '0'}, cpu: {sockets: 2, cores: 3, threads: 4}, "
     "devices: {autoattachGraphicsDevice: false}",
     (218 + 24 * 8) * MIB, 0, 2400, 10},
    {"8 vCPUs at ratio 1",
     "memory: {guest: '0'}, cpu: {cores: 8}, devices: {"
     "autoattachGraphicsDevice: false}",
     (218 + 64) * MIB, 0, 8000, 1},
    {"ratio 3 rounds up",
     "memory: {guest: '0'}, cpu: {cores: 1}, devices: {"
     "autoattachGraphicsDevice: false}",
     226 * MIB, 0, 334, 3},
    {"no ratio is 10",
     "memory: {guest: '0'}, cpu: {cores: 8}, devices: {"
     "autoattachGraphicsDevice: false}",
     (218 + 64) * MIB, 0, 800, 0},
    {"a negative ratio is none",
     "memory: {guest: '0'}, cpu: {cores: 8}, devices: {"
     "autoattachGraphicsDevice: false}",
     (218 + 64) * MIB, 0, 800, -4},
    {"dedicated CPUs are whole, whatever the ratio",
     "memory: {guest: '0'}, cpu: {cores: 8, "
     "dedicatedCpuPlacement: true}, devices: {autoattachGraphicsDevice: false}",
     (218 + 64) * MIB, 0, 8000, 10},
    {"an isolated emulator thread is one more",
     "memory: {guest: '0'}, cpu: {sockets: 1, cores: 5, "
     "threads: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true}, devices: {"
     "autoattachGraphicsDevice: false}",
     (218 + 80) * MIB, 0, 11000, 10},
    {"a CPU request is taken as it is",
     "memory: {guest: '0'}, cpu: {cores: 4}, resources: {"
     "requests: {cpu: 250m}}, devices: {autoattachGraphicsDevice: false}",
     (218 + 32) * MIB, 0, 250, 10},
    {"without a topology the request makes the vCPUs",
     "memory: {guest: '0'}, resources: {"
     "requests: {cpu: 2500m}}, devices: {autoattachGraphicsDevice: false}",
     (218 + 24) * MIB, 0, 2500, 10},
    {"sums that do not fit into 64 bits", "memory: {guest: 9223372036854775807}, devices: {}",
     INT64_MAX, INT64_MAX, 100, 10},
    {"more vCPUs than the API takes count as the most that it takes",
     "memory: {guest: '0'}, cpu: {sockets: 2147483647, "
     "cores: 2147483647, threads: 2147483647}, devices: {autoattachGraphicsDevice: false}",
     (218 + (INT64_C(8) << 36)) * MIB, 0, INT64_C(100) << 36, 10},
};

static void
test_formulas(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_FREE char *yaml =
            xasprintf("{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: "
                      "vm, namespace: default}, spec: {domain: {%s}}}\n",
                      rows[i].domain);
        struct world *w = world_new(yaml);
        const struct vmi_spec *s = &w->vmi->spec;

        if (vmi_memory_request_bytes(s) != rows[i].memory_bytes ||
            vmi_cpu_request_milli(s, rows[i].ratio) != rows[i].cpu_milli ||
            (rows[i].memory_bytes != INT64_MAX && vmi_guest_memory_bytes(s) != rows[i].guest_bytes))
            fail_msg("%s: %lld bytes (want %lld), guest %lld (want %lld), %lld milli (want %lld)",
                     rows[i].name, (long long)vmi_memory_request_bytes(s),
                     (long long)rows[i].memory_bytes, (long long)vmi_guest_memory_bytes(s),
                     (long long)rows[i].guest_bytes,
                     (long long)vmi_cpu_request_milli(s, rows[i].ratio),
                     (long long)rows[i].cpu_milli);
        world_free(w);
    }
}

static void
test_cpu_model(void **state)
{
    static const struct {
        const char *vm, *cluster, *want;
    } cases[] = {
        {NULL, NULL, "host-model"},   {NULL, "EPYC", "EPYC"}, {"Haswell", "EPYC", "Haswell"},
        {"Haswell", NULL, "Haswell"}, {NULL, "epyc", "epyc"}, {"host-model", "EPYC", "host-model"},
        {"", "", "host-model"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct vmi_spec s = {.domain.cpu.model = cases[i].vm};
        struct hco hco = {.default_cpu_model = cases[i].cluster};

        assert_string_equal(vmi_cpu_model(&s, &hco), cases[i].want);
    }
    assert_string_equal(vmi_cpu_model(&(struct vmi_spec){0}, NULL), "host-model");
}

/* Containers and sidecars add up, init containers run one by one before them, overhead comes on top; absent
 * requests count 100m and 200Mi where nodes are scored, and nothing where they are filtered. */
static void
test_pod(void **state)
{
    static const struct {
        const char *spec;
        int64_t cpu, memory, score_cpu, score_memory, gpus;
    } cases[] = {
        {"containers: [{name: a}]", 0, 0, 100, 200 * MIB, 0},
        {"containers: [{name: a, resources: {requests: {cpu: '0', memory: '0'}}}]", 0, 0, 0, 0, 0},
        {"containers: [{name: a, resources: {requests: {cpu: 1}}}, {name: b, resources: {requests: "
         "{memory: 1Gi, x/gpu: 2}}}]",
         1000, GIB, 1100, GIB + 200 * MIB, 2},
        {"containers: [{name: a, resources: {requests: {cpu: 1, x/gpu: 1}}}], initContainers: [{"
         "name: i, resources: {requests: {cpu: 3}}}, {name: j, resources: {requests: {memory: 2Gi, "
         "x/gpu: 4}}}]",
         3000, 2 * GIB, 3000, 2 * GIB, 4},
        {"containers: [{name: a, resources: {requests: {cpu: 1, memory: 1Gi}}}], overhead: {cpu: "
         "250m, memory: 64Mi}",
         1250, GIB + 64 * MIB, 1250, GIB + 64 * MIB, 0},
        {"containers: [{name: a, resources: {limits: {cpu: 2, memory: 1Gi}}}]", 2000, GIB, 2000,
         GIB, 0},
        /* together 1.8; while i starts, 0.5 + 2 */
        {"containers: [{name: a, resources: {requests: {cpu: 1}}}], initContainers: [{name: s, "
         "restartPolicy: Always, resources: {requests: {cpu: 500m}}}, {name: i, resources: "
         "{requests: "
         "{cpu: 2}}}, {name: t, restartPolicy: Always, resources: {requests: {cpu: 300m}}}, {name: "
         "j, resources: {requests: {cpu: 1}}}]",
         2500, 0, 2500, 600 * MIB, 0},
        {"containers: [{name: a, resources: {requests: {cpu: 2}}}], initContainers: [{name: s, "
         "restartPolicy: Always, resources: {requests: {cpu: 1, x/gpu: 1}}}, {name: i, resources: "
         "{requests: {cpu: 1, x/gpu: 3}}}]",
         3000, 0, 3000, 400 * MIB, 4},
        {"containers: [{name: a, resources: {requests: {cpu: 1}}}], initContainers: [{name: i, "
         "resources: {requests: {cpu: 2, memory: '0'}}}, {name: s, restartPolicy: Always, "
         "resources: {requests: {cpu: 500m, memory: '0'}}}], overhead: {cpu: 1, memory: 1Mi, "
         "x/gpu: "
         "1}",
         3000, MIB, 3000, 201 * MIB, 1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        AUTO_FREE char *yaml =
            xasprintf("{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: "
                      "default}, spec: {%s}}\n",
                      cases[i].spec);
        struct world *w = world_new(yaml);
        struct need n = need_of_pod(w->pod, w->arena);
        const struct need_extra *gpu = need_find_extra(&n, "x/gpu");

        assert_int_equal(n.cpu_milli, cases[i].cpu);
        assert_int_equal(n.memory_bytes, cases[i].memory);
        assert_int_equal(n.score_cpu_milli, cases[i].score_cpu);
        assert_int_equal(n.score_memory_bytes, cases[i].score_memory);
        assert_int_equal(gpu ? gpu->value : 0, cases[i].gpus);
        world_free(w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formulas),
        cmocka_unit_test(test_cpu_model),
        cmocka_unit_test(test_pod),
    };

    return cmocka_run_group_tests_name("need", tests, NULL, NULL);
}
