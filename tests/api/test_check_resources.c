/* Resources in manifests: what VMs and Pods ask for and what nodes offer, where it is refused and in which
 * words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/api/rows.h"

#define DOMAIN                                                                               \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, spec: " \
    "{domain: {%s}}}"
#define MEM "memory: {guest: 2Gi}, "
#define DEDICATED(cpu, resources) \
    "cpu: {dedicatedCpuPlacement: true, " cpu "}, resources: {" resources "}"

static const struct object_row domain_rows[] = {
    {.name = "dedicated CPUs",
     .text = MEM DEDICATED("cores: 2, threads: 2, isolateEmulatorThread: true",
                           "requests: {cpu: 4, memory: 2Gi}, limits: {cpu: 4, memory: 2Gi}")},
    {.name = "dedicated CPUs, by topology alone", .text = MEM DEDICATED("cores: 2", "")},
    {.name = "dedicated CPUs, by requests alone", .text = MEM DEDICATED("", "requests: {cpu: 3}")},
    {.name = "isolated emulator without dedicated CPUs",
     .text = MEM "cpu: {isolateEmulatorThread: true}",
     .error =
         "spec.domain.cpu.isolateEmulatorThread: Invalid value: true: can be set only together "
         "with dedicatedCpuPlacement"},
    {.name = "a part of a dedicated CPU",
     .text = MEM DEDICATED("", "requests: {cpu: 1500m}"),
     .error =
         "spec.domain.resources.requests.cpu: Invalid value: \"1500m\": must be an integer when "
         "dedicatedCpuPlacement is true"},
    {.name = "a part of a dedicated CPU as the limit",
     .text = MEM DEDICATED("", "limits: {cpu: 2.5}"),
     .error = "spec.domain.resources.limits.cpu: Invalid value: \"2.5\": must be an integer when"},
    {.name = "dedicated CPUs, fewer asked for than allowed",
     .text = MEM DEDICATED("", "requests: {cpu: 2}, limits: {cpu: 4}"),
     .error = "spec.domain.cpu.dedicatedCpuPlacement: Invalid value: true: resources.requests.cpu "
              "and resources.limits.cpu must be equal"},
    {.name = "dedicated CPUs that the topology contradicts",
     .text = MEM DEDICATED("cores: 2, sockets: 2", "requests: {cpu: 2}"),
     .error = "spec.domain.cpu.dedicatedCpuPlacement: Invalid value: true: resources.requests.cpu "
              "or resources.limits.cpu must not be another number"},
    {.name = "dedicated CPUs and memory that may grow",
     .text = MEM DEDICATED("cores: 2", "requests: {memory: 2Gi}, limits: {memory: 3Gi}"),
     .error = "spec.domain.resources.requests.memory: Invalid value: \"2Gi\": must be equal to "
              "memory limit when dedicatedCpuPlacement is true"},
    {.name = "dedicated CPUs with three threads",
     .text = MEM DEDICATED("cores: 2, threads: 3", ""),
     .error = "spec.domain.cpu.threads: Invalid value: 3: not more than two threads"},
    {.name = "three threads elsewhere", .text = MEM "cpu: {cores: 2, threads: 3}"},
    {.name = "a guest's NUMA nodes",
     .text = "cpu: {cores: 2, dedicatedCpuPlacement: true, numa: {guestMappingPassthrough: {}}}, "
             "memory: {guest: 2Gi, hugepages: {pageSize: 2Mi}}"},
    {.name = "NUMA passthrough without dedicated CPUs",
     .text = MEM "cpu: {numa: {guestMappingPassthrough: {}}}",
     .error = "spec.domain.cpu.numa: Invalid value"},
    {.name = "NUMA passthrough without huge pages",
     .text =
         MEM "cpu: {cores: 2, dedicatedCpuPlacement: true, numa: {guestMappingPassthrough: {}}}",
     .error = "spec.domain.cpu.numa: Invalid value: {\"guestMappingPassthrough\":{}}: "
              "guestMappingPassthrough can be set only together with memory.hugepages"},

    {.name = "a device", .text = MEM "resources: {requests: {example.com/gpu: 2}}"},
    {.name = "half a device",
     .text = MEM "resources: {requests: {example.com/gpu: 500m}}",
     .error =
         "spec.domain.resources.requests[example.com/gpu]: Invalid value: \"500m\": must be an "
         "integer"},
    {.name = "less than none of a device",
     .text = MEM "resources: {limits: {example.com/gpu: -1}}",
     .error = "limits[example.com/gpu]: Invalid value: \"-1\": must be greater than or equal to 0"},
    {.name = "a device with another limit",
     .text = MEM "resources: {requests: {example.com/gpu: 1}, limits: {example.com/gpu: 2}}",
     .error =
         "spec.domain.resources.requests[example.com/gpu]: Invalid value: \"1\": must be equal "
         "to example.com/gpu limit"},
    {.name = "a resource nobody knows",
     .text = MEM "resources: {requests: {memroy: 1Gi}}",
     .error = "spec.domain.resources.requests: Invalid value: \"memroy\": must be cpu, memory, "
              "ephemeral-storage, hugepages-SIZE or a device's name such as example.com/gpu"},
    {.name = "a resource of a bad name",
     .text = MEM "resources: {requests: {\"example.com/a b\": 1}}",
     .error = "spec.domain.resources.requests: Invalid value: \"example.com/a b\": name part must"},
    {.name = "too much memory for 64 bits",
     .text = MEM "resources: {requests: {memory: 16Ei}}",
     .error = "spec.domain.resources.requests.memory: Invalid value: \"16Ei\": it is out of range"},
    {.name = "an exponent beyond all bounds",
     .text = MEM "resources: {requests: {cpu: 1e999999999}}",
     .error = "spec.domain.resources.requests.cpu: Invalid value: \"1e999999999\": it is out of "
              "range"},
    {.name = "more CPU than can be counted in thousandths",
     .text = MEM "resources: {requests: {cpu: 9223372036854775807}}"},
};

static void
test_domain(void **state)
{
    object_row_check(*state, DOMAIN);
}

#define POD "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {%s}}"
#define ASKS(requests, limits) \
    "containers: [{resources: {requests: {" requests "}, limits: {" limits "}}}]"

static const struct object_row pod_rows[] = {
    {.name = "requests and limits", .text = ASKS("cpu: 100m, memory: 1Gi", "cpu: 1, memory: 1Gi")},
    {.name = "a request above its limit",
     .text = ASKS("cpu: 2", "cpu: 1"),
     .error =
         "spec.containers[0].resources.requests.cpu: Invalid value: \"2\": must be less than or "
         "equal to cpu limit"},
    {.name = "a device without a limit", .text = ASKS("example.com/gpu: 1", "")},
    {.name = "a device with another limit",
     .text = ASKS("example.com/gpu: 1", "example.com/gpu: 2"),
     .error = "requests[example.com/gpu]: Invalid value: \"1\": must be equal to example.com/gpu "
              "limit"},
    {.name = "huge pages", .text = ASKS("hugepages-2Mi: 4Mi, memory: 1Gi", "")},
    {.name = "huge pages that do not divide",
     .text = ASKS("hugepages-2Mi: 3Mi", ""),
     .error =
         "spec.containers[0].resources.requests.hugepages-2Mi: Invalid value: \"3Mi\": must be "
         "a multiple of the page size 2Mi"},
    {.name = "huge pages of no size",
     .text = ASKS("hugepages-big: 3Mi", ""),
     .error = "Invalid value: \"hugepages-big\": want hugepages- and a page size such as 2Mi"},
    {.name = "an init container's limit",
     .text = "containers: [{}], initContainers: [{resources: {limits: {memory: -1}}}]",
     .error =
         "spec.initContainers[0].resources.limits.memory: Invalid value: \"-1\": must be greater "
         "than or equal to 0"},
    {.name = "overhead of nothing known",
     .text = "containers: [{}], overhead: {cpus: 1}",
     .error = "spec.overhead: Invalid value: \"cpus\": must be cpu, memory"},
    {.name = "a bad node's name",
     .text = "containers: [{}], nodeName: Node_1",
     .error = "spec.nodeName: Invalid value: \"Node_1\": a lowercase RFC 1123 subdomain"},
    {.name = "a bad class' name",
     .text = "containers: [{}], priorityClassName: High Prio",
     .error = "spec.priorityClassName: Invalid value: \"High Prio\""},
    {.name = "a priority beyond 32 bits",
     .text = "containers: [{}], priority: 2147483648",
     .error = "spec.priority: Invalid value: 2147483648: is too large"},
    {.name = "a priority as a text",
     .text = "containers: [{}], priority: high",
     .error = "spec.priority: Invalid value: \"high\": want an integer, not a string"},
    {.name = "gates", .text = "containers: [{}], schedulingGates: [{name: example.com/wait}]"},
    {.name = "a gate of a bad name",
     .text = "containers: [{}], schedulingGates: [{name: a}, {name: \"a b\"}]",
     .error = "spec.schedulingGates[1].name: Invalid value: \"a b\": name part must"},
    {.name = "a gate twice",
     .text = "containers: [{}], schedulingGates: [{name: a}, {name: a}]",
     .error = "spec.schedulingGates[1].name: Duplicate value: \"a\""},
    {.name = "placed, and gated",
     .text = "containers: [{}], nodeName: n, schedulingGates: [{name: a}]",
     .error =
         "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"},
};

static void
test_pod(void **state)
{
    object_row_check(*state, POD);
}

#define NODE "{apiVersion: v1, kind: Node, metadata: {name: n}, status: {%s}}"

static const struct object_row node_rows[] = {
    {.name = "what a kubelet writes",
     .text = "capacity: {attachable-volumes-csi-x: 5, cpu: 8, hugepages-1Gi: 0, pods: 110}, "
             "allocatable: {cpu: 7900m, example.com/gpu: 2}"},
    {.name = "a resource of a bad name",
     .text = "allocatable: {\"a/b/c\": 1}",
     .error = "status.allocatable: Invalid value: \"a/b/c\": a qualified name must"},
    {.name = "less than nothing",
     .text = "capacity: {memory: -1Gi}",
     .error =
         "status.capacity.memory: Invalid value: \"-1Gi\": must be greater than or equal to 0"},
    {.name = "more than 64 bits",
     .text = "capacity: {memory: 8Ei}",
     .error = "status.capacity.memory: Invalid value: \"8Ei\": it is out of range"},
};

static void
test_node(void **state)
{
    object_row_check(*state, NODE);
}

int
main(void)
{
    return ROWS_RUN("domain", domain_rows, test_domain) + ROWS_RUN("Pod", pod_rows, test_pod) +
           ROWS_RUN("Node", node_rows, test_node);
}
