/* What is read out of objects that other processes are writing: migrations and descriptions, whole,
 * half-written and malformed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/client_migration.h"
#include "cli/print_describe.h"

static struct tree *
json(const char *text)
{
    struct tree *t = NULL;
    struct err err = {0};

    if (tree_from_json(text, strlen(text), &t, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return t;
}

#define META(annotations)                                                \
    "\"metadata\":{\"name\":\"a\",\"namespace\":\"shop\",\"uid\":\"u\"," \
    "\"creationTimestamp\":\"2026-01-01T00:00:00Z\",\"annotations\":{" annotations "}}"
#define VMIM(annotations, status)                                                            \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\"," META( \
        annotations) ",\"spec\":{\"vmiName\":\"web\"},\"status\":" status "}"
#define VMI(annotations, status)                                                                   \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\"," META(                \
        annotations) ",\"spec\":{\"domain\":{\"devices\":{\"disks\":[{\"name\":\"root\",\"disk\":" \
                     "{"                                                                           \
                     "\"bus\":\"virtio\"}},{\"name\":\"cd\",\"bootOrder\":1,\"cdrom\":{\"bus\":"   \
                     "\"sata\"}},{\"name\":"                                                       \
                     "\"blank\"}],\"interfaces\":[{\"name\":\"a\",\"masquerade\":{}},{\"name\":"   \
                     "\"b\",\"model\":"                                                            \
                     "\"e1000\",\"macAddress\":\"02:00:00:00:be:af\",\"bridge\":{}}]}},"           \
                     "\"networks\":[{\"name\":"                                                    \
                     "\"a\",\"pod\":{}},{\"name\":\"b\",\"multus\":{\"networkName\":\"shop/"       \
                     "b\"}}],\"volumes\":["                                                        \
                     "{\"name\":\"root\",\"persistentVolumeClaim\":{\"claimName\":\"c1\"}},{"      \
                     "\"name\":\"cd\","                                                            \
                     "\"containerDisk\":{\"image\":\"an/image\"}}]},\"status\":" status "}"
#define FEATURE(n) "\"cpu-feature.node.kubevirt.io/a-feature-with-a-long-name-" n "\":\"true\","
#define LABELLED                                                                                   \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\",\"labels\":{"           \
    "\"zone\":\"a\",\"cpu-vendor.node.kubevirt.io/Intel\":\"true\","                               \
    "\"cpu-model.node.kubevirt.io/Haswell\":\"true\","                                             \
    "\"cpu-model.node.kubevirt.io/Odd\":\"false\",\"cpu-model.node.kubevirt.io/Penryn\":\"true\"," \
    "\"host-model-cpu.node.kubevirt.io/Haswell\":\"true\"," FEATURE("1") FEATURE("2")              \
        FEATURE("3") "\"kubevirt.io/sev\":\"true\"}}}"
#define NOW_US 1767225720000000 /* two minutes after the creation */

/* --- migrations --- */

struct migration_row {
    const char *name, *object;
    const char *want; /* phase|final|failed|waiting|failure|permille|sent|downtime */
};

static const struct migration_row migrations[] = {
    {"new", VMIM("", "{}"), "|0|0|||0|0|-1"},
    {"no status at all",
     "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\"," META(
         "") ",\"spec\":{\"vmiName\":\"web\"}}",
     "|0|0|||0|0|-1"},
    {"waiting",
     VMIM("", "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"Waiting\",\"status\":\"True\","
              "\"message\":\"2 of 2 run\"}]}"),
     "Pending|0|0|2 of 2 run||0|0|-1"},
    {"no longer waiting",
     VMIM("", "{\"phase\":\"Scheduled\",\"conditions\":[{\"type\":\"Waiting\",\"status\":\"False\","
              "\"message\":\"2 of 2 run\"}]}"),
     "Scheduled|0|0|||0|0|-1"},
    {"another condition is no reason to wait",
     VMIM("", "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"TargetRunning\",\"status\":"
              "\"True\",\"message\":\"x\"}]}"),
     "Pending|0|0|||0|0|-1"},
    {"moving",
     VMIM("\"drover.io/migration-progress\":\"{\\\"round\\\":2,\\\"totalBytes\\\":1000,"
          "\\\"remainingBytes\\\":250}\"",
          "{\"phase\":\"Running\",\"migrationState\":{\"startTimestamp\":\"2026-01-01T00:00:01Z\"}"
          "}"),
     "Running|0|0|||750|0|-1"},
    {"remaining more than there is",
     VMIM("\"drover.io/migration-progress\":\"{\\\"totalBytes\\\":10,\\\"remainingBytes\\\":250}\"",
          "{\"phase\":\"Running\"}"),
     "Running|0|0|||0|0|-1"},
    {"negative numbers",
     VMIM("\"drover.io/migration-progress\":\"{\\\"totalBytes\\\":-10,\\\"remainingBytes\\\":-5}\"",
          "{\"phase\":\"Running\"}"),
     "Running|0|0|||0|0|-1"},
    {"progress that is no JSON",
     VMIM("\"drover.io/migration-progress\":\"{\\\"round\"", "{\"phase\":\"Running\"}"),
     "Running|0|0|||0|0|-1"},
    {"progress that is a list",
     VMIM("\"drover.io/migration-progress\":\"[1,2]\"", "{\"phase\":\"Running\"}"),
     "Running|0|0|||0|0|-1"},
    {"progress of the wrong types",
     VMIM("\"drover.io/migration-progress\":\"{\\\"totalBytes\\\":\\\"many\\\"}\"",
          "{\"phase\":\"Running\"}"),
     "Running|0|0|||0|0|-1"},
    {"succeeded",
     VMIM("\"drover.io/migration-result\":\"{\\\"sentBytes\\\":77}\","
          "\"drover.io/guest-result\":\"{\\\"downtimeMs\\\":12}\"",
          "{\"phase\":\"Succeeded\"}"),
     "Succeeded|1|0|||1000|77|12"},
    {"a result without the guest's word",
     VMIM("\"drover.io/migration-result\":\"{\\\"sentBytes\\\":77}\"", "{\"phase\":\"Succeeded\"}"),
     "Succeeded|1|0|||1000|77|-1"},
    {"failed",
     VMIM("",
          "{\"phase\":\"Failed\",\"migrationState\":{\"failed\":true,\"failureReason\":\"why\"}}"),
     "Failed|1|1||why|0|0|-1"},
    {"status of the wrong type", VMIM("", "\"x\""), "|0|0|||0|0|-1"},
    {"phase of the wrong type", VMIM("", "{\"phase\":{}}"), "|0|0|||0|0|-1"},
};

static void
migration_is(void **state)
{
    const struct migration_row *r = *state;
    AUTO_TREE struct tree *obj = json(r->object);
    AUTO_SB struct sb got = SB_INIT;
    struct arena *a = arena_new();
    struct migration m;

    migration_read(obj, a, &m);
    assert_string_equal(m.vm, "web");
    sb_printf(&got, "%s|%d|%d|%s|%s|%d|%lld|%lld", m.phase, m.final, m.failed, m.waiting, m.failure,
              migration_permille(&m), (long long)m.result_sent_bytes,
              (long long)m.guest_downtime_ms);
    arena_free(a);
    assert_string_equal(sb_str(&got), r->want);
}

static void
migrations_are_shown_by_age_then_vm(void **state)
{
    struct migration m[] = {
        {.vm = "b", .created_us = 2}, {.vm = "a", .created_us = 2}, {.vm = "z", .created_us = 1}};

    (void)state;
    migration_sort(m, 3);
    assert_string_equal(m[0].vm, "z");
    assert_string_equal(m[1].vm, "a");
    assert_string_equal(m[2].vm, "b");
}

/* --- descriptions --- */

struct describe_row {
    const char *name, *object;
    void (*describe)(struct describe *d, const struct tree *obj);
    const char *want[5]; /* lines, or parts of them */
    const char *not_want;
};

static void
placement(struct describe *d, const struct tree *obj)
{
    describe_placement(d, "Placement", obj);
}

#define SCHEDULED(body) "{" META("\"drover.io/schedule-result\":\"" body "\"") "}"

/* Of an engine's migration: what its source says of how the bytes travelled. */
#define RESULT(encrypted, tls, transport, more)                                                   \
    VMIM("\"drover.io/migration-result\":\"{\\\"encrypted\\\":" encrypted ",\\\"tls\\\":\\\"" tls \
         "\\\",\\\"transport\\\":\\\"" transport "\\\"" more "}\"",                               \
         "{\"phase\":\"Succeeded\"}")

static const struct describe_row descriptions[] = {
    {"the head names and dates",
     VMIM("\"note\":\"x\"", "{}"),
     describe_head,
     {"Name:               a\n", "Namespace:          shop\n", "Annotations:        note=x\n",
      "Created:            2026-01-01T00:00:00Z (2m ago)\n"},
     NULL},
    {"bulky annotations have sections of their own",
     VMIM("\"drover.io/migration-result\":\"{}\"", "{}"),
     describe_head,
     {"Annotations:        <none>\n"},
     "migration-result"},
    {"a text cannot drive the terminal",
     VMIM("\"note\":\"a\\u001b[2Jb\\nc\"", "{}"),
     describe_head,
     {"note=a [2Jb c\n"},
     "\033"},
    {"placement says why and why not",
     SCHEDULED("{\\\"node\\\":\\\"n1\\\",\\\"nodes\\\":[{\\\"name\\\":\\\"n1\\\",\\\"fits\\\":true,"
               "\\\"score\\\":61,\\\"scores\\\":{\\\"NodeAffinity\\\":100},\\\"reasons\\\":[]},"
               "{\\\"name\\\":\\\"n2\\\",\\\"fits\\\":false,\\\"reasons\\\":[\\\"Insufficient "
               "memory\\\"]}]}"),
     placement,
     {"  Chosen: n1\n", "  n1     yes    61      NodeAffinity 100\n",
      "  n2     no     -       Insufficient memory\n"},
     NULL},
    {"placement: the best node first, then by name; no plugin that gives nothing",
     SCHEDULED("{\\\"node\\\":\\\"n2\\\",\\\"nodes\\\":["
               "{\\\"name\\\":\\\"n9\\\",\\\"fits\\\":false,\\\"reasons\\\":[\\\"x\\\"]},"
               "{\\\"name\\\":\\\"n1\\\",\\\"fits\\\":true,\\\"score\\\":3,\\\"total\\\":6,"
               "\\\"scores\\\":{\\\"A\\\":0,\\\"B\\\":6}},"
               "{\\\"name\\\":\\\"n4\\\",\\\"fits\\\":false,\\\"reasons\\\":[\\\"x\\\"]},"
               "{\\\"name\\\":\\\"n2\\\",\\\"fits\\\":true,\\\"score\\\":3,\\\"total\\\":7,"
               "\\\"scores\\\":{\\\"A\\\":7,\\\"B\\\":0}}]}"),
     placement,
     {"  n2     yes    3       A 7\n  n1     yes    3       B 6\n"
      "  n4     no     -       x\n  n9     no     -       x\n"},
     NULL},
    {"a priority class",
     "{\"apiVersion\":\"scheduling.k8s.io/"
     "v1\",\"kind\":\"PriorityClass\",\"metadata\":{\"name\":\"c\"},"
     "\"value\":-7,\"preemptionPolicy\":\"Never\",\"description\":\"batch\"}",
     describe_priority,
     {"Value:              -7\nGlobal default:     no\nPreemption policy:  Never\n"
      "Description:        batch\n"},
     NULL},
    {"placement nowhere",
     SCHEDULED("{\\\"node\\\":null,\\\"message\\\":\\\"0/1 nodes are available: "
               "x.\\\",\\\"nodes\\\":[]}"),
     placement,
     {"No node fits:\n", "  0/1 nodes are available: x.\n", "  <none>\n"},
     "Chosen"},
    {"placement nowhere: what each rule wants, and the nearest miss",
     SCHEDULED(
         "{\\\"node\\\":null,\\\"message\\\":\\\"0/1 nodes are available: "
         "x.\\\",\\\"nearest\\\":{\\\"node\\\":\\\"n1\\\",\\\"change\\\":\\\"n1 would do: uncordon "
         "n1\\\"},\\\"nodes\\\":[{\\\"name\\\":\\\"n1\\\",\\\"fits\\\":false,\\\"reasons\\\":["
         "\\\"x\\\"],\\\"why\\\":[{\\\"rule\\\":\\\"CPU\\\",\\\"wanted\\\":\\\"CPU model "
         "EPYC\\\",\\\"has\\\":\\\"Penryn\\\"},{\\\"rule\\\":\\\"Handler\\\",\\\"wanted\\\":"
         "\\\"a\\\",\\\"has\\\":\\\"b\\\"}]}]}"),
     placement,
     {"  Nearest: n1 would do: uncordon n1\n",
      "CPU: wants CPU model EPYC, has Penryn; Handler: wants a, has b\n"},
     "Chosen"},
    {"placement that is not there", VMIM("", "{}"), placement, {""}, "Placement"},
    {"placement that is no JSON", SCHEDULED("{"), placement, {""}, "Placement"},
    {"placement of the wrong types",
     SCHEDULED("{\\\"node\\\":5,\\\"nodes\\\":{\\\"x\\\":[]}}"),
     placement,
     {"Placement:\n"},
     "Chosen"},
    {"a guest that runs",
     VMI("\"drover.io/runs-on-hypervisor\":\"libvirt\"",
         "{\"phase\":\"Running\",\"migrationMethod\":\"LiveMigration\",\"conditions\":["
         "{\"type\":\"LiveMigratable\",\"status\":\"True\"},"
         "{\"type\":\"AgentConnected\",\"status\":\"True\"}]}"),
     describe_vmi,
     {"  Hypervisor:       libvirt\n  State:            running\n  Agent:            connected\n"
      "  Migratable:       yes, LiveMigration\n  Disks:\n",
      "    NAME    DEVICE   BUS      VOLUME\n    root    disk     virtio   persistentVolumeClaim "
      "c1\n"
      "    cd      cdrom    sata     containerDisk an/image\n"
      "    blank   disk     -        <none of that name>\n",
      "    NAME   BINDING      MODEL    MAC                 NETWORK\n"
      "    a      masquerade   virtio   02:",
      "    b      bridge       e1000    02:00:00:00:be:af   multus shop/b\n",
      "  Console:          drover console a -n shop\n"},
     "not made"},
    {"a guest that is paused, and cannot move",
     VMI("", "{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Paused\",\"status\":\"True\","
             "\"reason\":\"PausedIOError\",\"message\":\"a disk\"},{\"type\":\"LiveMigratable\","
             "\"status\":\"False\",\"reason\":\"DisksNotLiveMigratable\",\"message\":\"c1\"}]}"),
     describe_vmi,
     {"  Hypervisor:       as the node that starts it has it\n",
      "  State:            paused: PausedIOError: a disk\n",
      "  Migratable:       no: DisksNotLiveMigratable: c1\n"},
     "Agent:"},
    {"a guest that could not be made",
     VMI("\"drover.io/hypervisor\":\"native\"",
         "{\"phase\":\"Scheduled\",\"conditions\":[{\"type\":\"Synchronized\",\"status\":"
         "\"False\",\"reason\":\"UnsupportedField\",\"message\":\"gpus: none\"}]}"),
     describe_vmi,
     {"  Hypervisor:       native\n  State:            not made: UnsupportedField: gpus: none\n",
      "  Console:          none: native guests have none\n"},
     "Migratable:"},
    {"a guest of the wrong types",
     "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\"," META(
         "") ",\"spec\":{\"volumes\":5,\"domain\":{\"devices\":{\"disks\":[5,{\"disk\":7}],"
             "\"interfaces\":{\"x\":1}}}},\"status\":{\"phase\":7,\"conditions\":{}}}",
     describe_vmi,
     {"  State:            <unknown>\n"},
     NULL},
    {"a waiting migration says what for",
     VMIM("", "{\"phase\":\"Pending\",\"conditions\":[{\"type\":\"Waiting\",\"status\":\"True\","
              "\"reason\":\"Queue\",\"message\":\"2 of 2 run\"}]}"),
     describe_vmim,
     {"VM:                 web\n", "Waits:              2 of 2 run\n"},
     "Failed"},
    {"a failed migration says why, and under which rules",
     VMIM("", "{\"phase\":\"Failed\",\"migrationState\":{\"migrationUid\":\"u\",\"failed\":true,"
              "\"failureReason\":\"cut\",\"sourceNode\":\"n1\",\"targetNode\":\"n2\","
              "\"migrationPolicyName\":\"p\"}}"),
     describe_vmim,
     {"Failed:             cut\n", "  Route:            n1 to n2\n", "  Policy:           p\n",
      "  Outcome:          failed\n"},
     NULL},
    {"a migration's decisions, and what it took",
     VMIM(
         "\"drover.io/migration-decisions\":\"[{\\\"at\\\":\\\"2026-01-01T00:00:01Z\\\","
         "\\\"round\\\":2,\\\"text\\\":\\\"switch over\\\"},{\\\"text\\\":5},7]\","
         "\"drover.io/target-result\":\"{\\\"cpuMs\\\":7,\\\"downtime\\\":{\\\"loadMs\\\":0.5}}\","
         "\"drover.io/migration-result\":\"{\\\"cpuMs\\\":9,\\\"downtime\\\":{\\\"stopMs\\\":0.25},"
         "\\\"encodings\\\":{\\\"zero\\\":{\\\"pages\\\":25},\\\"lz4\\\":{\\\"pages\\\":75}}}\"",
         "{\"phase\":\"Succeeded\"}"),
     describe_vmim,
     {"  of which:         stop 0.25 ms, target's load 0.50 ms\n",
      "CPU:                source 9 ms, target 7 ms\n", "plaintext, lz4 75%, zero 25%\n",
      "Decisions:\n  2026-01-01T00:00:01Z  round 2   switch over\n"},
     "Switchover"},
    {"encrypted, over TCP, and why not over RDMA",
     RESULT("true", "TLS 1.3, X", "tcp", ",\\\"transportReason\\\":\\\"it is not trusted\\\""),
     describe_vmim,
     {"Encrypted:          yes (TLS 1.3, X)\n", "Mode:               PreCopy, encrypted\n",
      "Transport:          tcp: it is not trusted\n"},
     "clear"},
    {"over RDMA: what is in the clear and what is not",
     RESULT("false", "TLS 1.3, X", "rdma",
            ",\\\"rdmaDevice\\\":\\\"rxe0\\\",\\\"placedPages\\\":12,\\\"registeredPeakBytes\\\":"
            "1073741824"),
     describe_vmim,
     {"Encrypted:          no: its memory went over RDMA in the clear; the control connection was "
      "encrypted (TLS 1.3, X)\n",
      "Mode:               PreCopy, RDMA in the clear\n",
      "Transport:          rdma through rxe0, 12 pages placed by it, at most 1 GiB registered\n"},
     "yes"},
    {"over RDMA, and the control connection in the clear, too",
     RESULT("false", "", "rdma", ""),
     describe_vmim,
     {"Encrypted:          no (--insecure-plaintext)\n",
      "Mode:               PreCopy, RDMA in the clear\n", "Transport:          rdma\n"},
     "TLS"},
    {"over RDMA until that failed",
     RESULT("false", "TLS 1.3, X", "tcp", ",\\\"transportReason\\\":\\\"it broke\\\""),
     describe_vmim,
     {"Encrypted:          in part: some of its memory went over RDMA in the clear, the rest and "
      "the control connection were encrypted (TLS 1.3, X)\n",
      "Mode:               PreCopy, partly in the clear\n", "Transport:          tcp: it broke\n"},
     "yes"},
    {"faults that RDMA READs answered",
     VMIM("\"drover.io/target-result\":\"{\\\"faults\\\":9,\\\"readFaults\\\":7}\"",
          "{\"phase\":\"Succeeded\"}"),
     describe_vmim,
     {"  of which:         7 answered by an RDMA READ\n"},
     "Transport"},
    {"decisions that are none",
     VMIM("\"drover.io/migration-decisions\":\"{\\\"at\\\":1}\"", "{}"),
     describe_vmim,
     {"VM:                 web\n"},
     "Decisions"},
    {"a node with a taint",
     "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"spec\":{"
     "\"unschedulable\":true,\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}]},\"status\":{"
     "\"allocatable\":{\"cpu\":\"8\"},\"capacity\":{\"cpu\":\"9\"}}}",
     describe_node,
     {"Heartbeat:          <unknown>\n", "Schedulable:        no (cordoned)\n",
      "Taint:              k:NoSchedule\n", "  cpu        9          8\n"},
     NULL},
    {"a node that a labeller has labelled",
     LABELLED,
     describe_node,
     {"CPU vendor:         Intel\n", "Host CPU model:     Haswell\n",
      "CPU models:         Haswell Penryn\n",
      "CPU features:       a-feature-with-a-long-name-1 a-feature-with-a-long-name-2\n"
      "                    a-feature-with-a-long-name-3\n"},
     "Odd"},
    {"its labels: only what is not said so",
     LABELLED,
     describe_head,
     {"Labels:             zone=a\n"
      "                    cpu-model.node.kubevirt.io/Odd=false\n"
      "                    kubevirt.io/sev=true\n"},
     "Haswell"},
    {"a node of nothing",
     "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"}}",
     describe_node,
     {"Schedulable:        yes\n"},
     NULL},
    {"a policy without selectors",
     "{\"apiVersion\":\"migrations.kubevirt.io/v1alpha1\",\"kind\":\"MigrationPolicy\","
     "\"metadata\":{\"name\":\"p\"},\"spec\":{\"bandwidthPerMigration\":\"0\"}}",
     describe_policy,
     {"Matches:            nothing", "  Bandwidth:        unlimited\n"},
     NULL},
    {"a maintenance that is blocked",
     "{\"apiVersion\":\"nodemaintenance.medik8s.io/v1beta1\",\"kind\":\"NodeMaintenance\","
     "\"metadata\":{\"name\":\"m\"},\"spec\":{\"nodeName\":\"n1\"},"
     "\"status\":{\"phase\":\"Running\",\"lastError\":\"shop/db blocks\"}}",
     describe_maintenance,
     {"Node:               n1\n", "Phase:              Running\n",
      "Blocked:            shop/db blocks\n"},
     NULL},
};

static void
describes(void **state)
{
    const struct describe_row *r = *state;
    AUTO_TREE struct tree *obj = json(r->object);
    CLEANUP(describe_done) struct describe d;

    describe_init(&d, NOW_US);
    r->describe(&d, obj);
    for (size_t i = 0; i < ARRAY_LEN(r->want) && r->want[i]; i++) {
        if (!strstr(sb_str(&d.out), r->want[i]))
            fail_msg("\"%s\" is not in:\n%s", r->want[i], sb_str(&d.out));
    }
    if (r->not_want && strstr(sb_str(&d.out), r->not_want))
        fail_msg("\"%s\" is in:\n%s", r->not_want, sb_str(&d.out));
}

struct ms_row {
    const char *name;
    int64_t ms;
    const char *want;
};

static const struct ms_row durations[] = {
    {"nothing", 0, "0 ms"},       {"below a second", 999, "999 ms"}, {"a second", 1000, "1.0 s"},
    {"seconds", 12345, "12.3 s"}, {"minutes", 125000, "2m5s"},       {"unknown", -1, "-"},
};

static void
duration_reads(void **state)
{
    const struct ms_row *r = *state;
    AUTO_SB struct sb got = SB_INIT;

    human_ms(&got, r->ms);
    assert_string_equal(sb_str(&got), r->want);
}

#define ROW(fn, r) ((struct CMUnitTest){(r)->name, fn, NULL, NULL, (void *)(uintptr_t)(r)})

int
main(void)
{
    struct CMUnitTest
        tests[1 + ARRAY_LEN(migrations) + ARRAY_LEN(descriptions) + ARRAY_LEN(durations)] = {
            cmocka_unit_test(migrations_are_shown_by_age_then_vm),
        };
    size_t n = 1;

    for (size_t i = 0; i < ARRAY_LEN(migrations); i++)
        tests[n++] = ROW(migration_is, &migrations[i]);
    for (size_t i = 0; i < ARRAY_LEN(descriptions); i++)
        tests[n++] = ROW(describes, &descriptions[i]);
    for (size_t i = 0; i < ARRAY_LEN(durations); i++)
        tests[n++] = ROW(duration_reads, &durations[i]);
    return _cmocka_run_group_tests("describe", tests, n, NULL, NULL);
}
