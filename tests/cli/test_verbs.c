/* The verbs against recorded answers: what they ask, print and return. More is wrong input than
 * right: nothing may be sent for it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/client.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define NS1 "/apis/kubevirt.io/v1/namespaces/default/"
#define SUB "/apis/subresources.kubevirt.io/v1/namespaces/default/"
#define CREATED                                                                                    \
    "\"metadata\":{\"name\":\"vm1\",\"namespace\":\"default\",\"uid\":\"u1\",\"resourceVersion\":" \
    "\"7\""

#define VM1                                                                   \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachine\"," CREATED \
    ",\"labels\":{\"a\":\"1\"}},\"spec\":{\"running\":true}}"
#define NODE1                                                                          \
    "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\","          \
    "\"resourceVersion\":\"5\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"value\":\"v\"," \
    "\"effect\":\"NoSchedule\"}]}}"
#define COLUMNS                                                                      \
    "\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/"                               \
    "v1\",\"metadata\":{\"resourceVersion\":\"9\"},"                                 \
    "\"columnDefinitions\":[{\"name\":\"Name\",\"type\":\"string\",\"priority\":0}," \
    "{\"name\":\"Age\",\"type\":\"string\",\"priority\":0},"                         \
    "{\"name\":\"Node\",\"type\":\"string\",\"priority\":1}]"
#define TABLE_ROW(name, age)                                                                  \
    "{\"cells\":[\"" name "\",\"" age "\",\"n1\"],\"object\":{\"metadata\":{\"name\":\"" name \
    "\",\"namespace\":\"default\",\"labels\":{\"a\":\"1\"}}}}"
#define TABLE \
    "{" COLUMNS ",\"rows\":[" TABLE_ROW("vm1", "5m") "," TABLE_ROW("longer-name", "9s") "]}"
#define EMPTY_TABLE "{" COLUMNS ",\"rows\":[]}"
#define LIST(items)                                                                      \
    "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"9\"}," \
    "\"items\":[" items "]}"
#define STATUS(code, reason, message)                                                    \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\"," \
    "\"message\":\"" message "\",\"reason\":\"" reason "\",\"code\":" #code "}"
#define OK_STATUS                                                                             \
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\",\"details\":{\"uid\":" \
    "\"u1\"}}"
#define VMIM(phase)                                                                               \
    "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\","            \
    "\"metadata\":{\"name\":\"kubevirt-migrate-vm-x\",\"namespace\":\"default\",\"uid\":\"m1\"}," \
    "\"spec\":{\"vmiName\":\"vm1\"},\"status\":{\"phase\":\"" phase "\",\"migrationState\":"      \
    "{\"sourceNode\":\"n1\",\"targetNode\":\"n2\",\"failureReason\":\"the network broke\"}}}"

/* Answers: always, n times, with a warning. */
#define A(method, path, status, body)       \
    {                                       \
        method, path, status, body, NULL, 0 \
    }
#define AN(method, path, status, body, n)   \
    {                                       \
        method, path, status, body, NULL, n \
    }
#define AW(method, path, status, body, w) \
    {                                     \
        method, path, status, body, w, 0  \
    }

struct row {
    const char *name;
    int (*verb)(int argc, char **argv);
    const char *args[12];
    struct fake_answer answers[8];
    int want_exit;
    const char *want_out; /* exactly; NULL: anything */
    const char *want_err; /* a part; NULL: nothing at all */
    const char *want_log; /* a part of what was asked; "": nothing was */
};

static const struct row rows[] = {
    /* --- checkup --- */
    {"checkup of what",
     verb_checkup,
     {"checkup", "bandwidth", "--source", "n1", "--target", "n2"},
     {{0}},
     1,
     "",
     "bandwidth: want \"checkup latency\"",
     ""},
    {"checkup from a node to itself",
     verb_checkup,
     {"checkup", "latency", "--source", "n1", "--target", "n1"},
     {{0}},
     1,
     "",
     "spec.param.targetNode: \"n1\" is the source, too",
     ""},
    {"checkup from a node to none",
     verb_checkup,
     {"checkup", "latency", "--source", "n1"},
     {{0}},
     1,
     "",
     "spec.param.targetNode: want the name of a node",
     ""},
    {"checkup with half a millisecond",
     verb_checkup,
     {"checkup", "latency", "--source", "n1", "--target", "n2", "--max-latency", "500us"},
     {{0}},
     1,
     "",
     "--max-latency 500us: want whole milliseconds",
     ""},
    {"checkup from a node that is not there",
     verb_checkup,
     {"checkup", "latency", "--source", "n1", "--target", "n2"},
     {A("GET", "/api/v1/nodes/n1", 404, STATUS(404, "NotFound", "nodes \\\"n1\\\" not found"))},
     1,
     "",
     "nodes \"n1\" not found",
     "/api/v1/nodes/n1"},
    {"checkup never replaces what is none",
     verb_checkup,
     {"checkup", "latency", "--source", "n1", "--target", "n1x", "--keep-name", "mine"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1), A("GET", "/api/v1/nodes/n1x", 200, NODE1),
      A("GET", "/api/v1/namespaces/default/configmaps/mine", 200,
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"mine\"}}")},
     1,
     "",
     "configmap default/mine is no checkup",
     NULL},
    /* --- get --- */
    {"get prints the server's table",
     verb_get,
     {"get", "vm"},
     {A("GET", NS1 "virtualmachines", 200, TABLE)},
     0,
     "NAME          AGE\nvm1           5m\nlonger-name   9s\n",
     NULL,
     NULL},
    {"get -o wide shows more columns",
     verb_get,
     {"get", "vms", "-o", "wide"},
     {A("GET", NS1 "virtualmachines", 200, TABLE)},
     0,
     "NAME          AGE   NODE\nvm1           5m    n1\nlonger-name   9s    n1\n",
     NULL,
     NULL},
    {"get -A asks all namespaces and names them",
     verb_get,
     {"get", "vm", "-A", "--no-headers"},
     {A("GET", "/apis/kubevirt.io/v1/virtualmachines", 200, TABLE)},
     0,
     "default   vm1           5m\ndefault   longer-name   9s\n",
     NULL,
     NULL},
    {"get -l encodes the selector",
     verb_get,
     {"get", "vm", "-l", "a in (1,2)"},
     {A("GET", NS1 "virtualmachines?labelSelector=a%20in%20%281%2C2%29", 200, TABLE)},
     0,
     NULL,
     NULL,
     NULL},
    {"get --show-labels",
     verb_get,
     {"get", "vm", "--show-labels", "--no-headers"},
     {A("GET", NS1 "virtualmachines", 200, TABLE)},
     0,
     "vm1           5m   a=1\nlonger-name   9s   a=1\n",
     NULL,
     NULL},
    {"get of two kinds names both",
     verb_get,
     {"get", "vm,node"},
     {A("GET", NS1 "virtualmachines", 200, TABLE), A("GET", "/api/v1/nodes", 200, TABLE)},
     0,
     "NAME                                     AGE\n"
     "virtualmachine.kubevirt.io/vm1           5m\n"
     "virtualmachine.kubevirt.io/longer-name   9s\n\n"
     "NAME               AGE\nnode/vm1           5m\nnode/longer-name   9s\n",
     NULL,
     NULL},
    {"get of nothing says so",
     verb_get,
     {"get", "vm", "-n", "shop"},
     {A("GET", "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines", 200, EMPTY_TABLE)},
     0,
     "",
     "No resources found in shop namespace.\n",
     NULL},
    {"get of a missing name fails, the others are shown",
     verb_get,
     {"get", "vm", "vm1", "vm2", "-o", "name"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1),
      A("GET", NS1 "virtualmachines/vm2", 404,
        STATUS(404, "NotFound", "virtualmachines.kubevirt.io \\\"vm2\\\" not found"))},
     1,
     "virtualmachine.kubevirt.io/vm1\n",
     "drover get: virtualmachines.kubevirt.io \"vm2\" not found\n",
     NULL},
    {"get --ignore-not-found",
     verb_get,
     {"get", "vm", "vm2", "--ignore-not-found"},
     {A("GET", NS1 "virtualmachines/vm2", 404, STATUS(404, "NotFound", "not found"))},
     0,
     "",
     NULL,
     NULL},
    {"get of one object is the object",
     verb_get,
     {"get", "vm/vm1", "-o", "jsonpath={.metadata.name}{\"\\n\"}"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "vm1\n",
     NULL,
     NULL},
    {"get of several is a List",
     verb_get,
     {"get", "vm", "-o", "jsonpath={.kind} {.items[*].metadata.name}"},
     {A("GET", NS1 "virtualmachines", 200, LIST(VM1))},
     0,
     "List vm1",
     NULL,
     NULL},
    {"get -w goes on with changes",
     verb_get,
     {"get", "vm", "-w"},
     {A("GET", NS1 "virtualmachines", 200, TABLE),
      A("GET", NS1 "virtualmachines?watch=true&resourceVersion=9", 200,
        "{\"type\":\"MODIFIED\",\"object\":{" COLUMNS
        ",\"rows\":[" TABLE_ROW("vm1", "6m") "]}}\n"
                                             "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\","
                                             "\"message\":\"enough\",\"code\":500}}\n")},
     1,
     "NAME          AGE\nvm1           5m\nlonger-name   9s\nvm1           6m\n",
     "drover get: watch: enough\n",
     NULL},
    {"get: unknown kind", verb_get, {"get", "pods"}, {{0}}, 1, "", "unknown kind \"pods\"", ""},
    {"get: nothing", verb_get, {"get"}, {{0}}, 1, "", "want TYPE NAME", ""},
    {"get: unknown format", verb_get, {"get", "vm", "-o", "xml"}, {{0}}, 1, "", "-o xml: want", ""},
    {"get: bad template",
     verb_get,
     {"get", "vm", "-o", "jsonpath={.a"},
     {{0}},
     1,
     "",
     "column",
     ""},
    {"get: unknown option", verb_get, {"get", "vm", "--frob"}, {{0}}, 1, "", "frob", ""},
    {"get: a name and -l", verb_get, {"get", "vm", "x", "-l", "a=b"}, {{0}}, 1, "", "neither", ""},
    {"get: a name and -A", verb_get, {"get", "vm", "x", "-A"}, {{0}}, 1, "", "neither", ""},
    {"get: two kinds watched",
     verb_get,
     {"get", "vm,node", "-w"},
     {{0}},
     1,
     "",
     "-w watches one",
     ""},
    {"get: TYPE/NAME mixed", verb_get, {"get", "vm/a", "b"}, {{0}}, 1, "", "want TYPE/NAME", ""},
    {"get: NAME with a slash", verb_get, {"get", "vm", "vm/a"}, {{0}}, 1, "", "want a name", ""},
    {"get: empty name", verb_get, {"get", "vm/"}, {{0}}, 1, "", "no empty name", ""},
    {"get: the server is no JSON",
     verb_get,
     {"get", "vm", "a", "-o", "yaml"},
     {A("GET", NS1 "virtualmachines/a", 200, "<html>")},
     1,
     "",
     "answer of unix:",
     NULL},
    {"get: no Table",
     verb_get,
     {"get", "vm"},
     {A("GET", NS1 "virtualmachines", 200, VM1)},
     1,
     "",
     "no Table",
     NULL},

    /* --- label, annotate, taint --- */
    {"label sets",
     verb_label,
     {"label", "vm", "vm1", "b=2"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1),
      A("PATCH", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io/vm1 labeled\n",
     NULL,
     "PATCH " NS1 "virtualmachines/vm1 {\"metadata\":{\"labels\":{\"b\":\"2\"}}}\n"},
    {"label removes",
     verb_label,
     {"label", "vm/vm1", "a-"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1),
      A("PATCH", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io/vm1 unlabeled\n",
     NULL,
     "{\"metadata\":{\"labels\":{\"a\":null}}}"},
    {"label that is there is no change",
     verb_label,
     {"label", "vm", "vm1", "a=1"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io/vm1 not labeled\n",
     NULL,
     NULL},
    {"label does not overwrite by itself",
     verb_label,
     {"label", "vm", "vm1", "a=2"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1)},
     1,
     "",
     "\"a\" is \"1\" already: want --overwrite",
     NULL},
    {"label --overwrite",
     verb_label,
     {"label", "vm", "vm1", "a=2", "--overwrite"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1),
      A("PATCH", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io/vm1 labeled\n",
     NULL,
     NULL},
    {"annotate takes any value",
     verb_annotate,
     {"annotate", "vm", "vm1", "x.io/y=a b=c-"},
     {A("GET", NS1 "virtualmachines/vm1", 200, VM1),
      A("PATCH", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io/vm1 annotated\n",
     NULL,
     "{\"metadata\":{\"annotations\":{\"x.io/y\":\"a b=c-\"}}}"},
    {"label: no change given",
     verb_label,
     {"label", "vm", "vm1"},
     {{0}},
     1,
     "",
     "what to change",
     ""},
    {"label: bad key", verb_label, {"label", "vm", "vm1", "a b=1"}, {{0}}, 1, "", "\"a b=1\"", ""},
    {"label: bad value",
     verb_label,
     {"label", "vm", "vm1", "a=b c"},
     {{0}},
     1,
     "",
     "\"a=b c\"",
     ""},
    {"label: no name", verb_label, {"label", "vm", "a=1"}, {{0}}, 1, "", "want a name, -l", ""},
    {"label: name and --all",
     verb_label,
     {"label", "vm", "x", "a=1", "--all"},
     {{0}},
     1,
     "",
     "neither",
     ""},
    {"taint adds to what is there",
     verb_taint,
     {"taint", "node", "n1", "gpu=yes:NoExecute"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1), A("PATCH", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "node/n1 tainted\n",
     NULL,
     "{\"spec\":{\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"},"
     "{\"key\":\"gpu\",\"value\":\"yes\",\"effect\":\"NoExecute\"}]},"
     "\"metadata\":{\"resourceVersion\":\"5\"}}"},
    {"taint is removed by key",
     verb_taint,
     {"taint", "node", "n1", "k-"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1), A("PATCH", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "node/n1 untainted\n",
     NULL,
     "{\"spec\":{\"taints\":[]}"},
    {"taint that meets another change looks again",
     verb_taint,
     {"taint", "node", "n1", "k:NoSchedule-"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1),
      AN("PATCH", "/api/v1/nodes/n1", 409, STATUS(409, "Conflict", "modified"), 1),
      A("PATCH", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "node/n1 untainted\n",
     NULL,
     NULL},
    {"taint does not overwrite by itself",
     verb_taint,
     {"taint", "node", "n1", "k=w:NoSchedule"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1)},
     1,
     "",
     "want --overwrite",
     NULL},
    {"taint: not there",
     verb_taint,
     {"taint", "node", "n1", "x-"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1)},
     1,
     "",
     "taint \"x\" not found",
     NULL},
    {"taint: bad effect",
     verb_taint,
     {"taint", "node", "n1", "k=v:Never"},
     {{0}},
     1,
     "",
     "the effect is NoSchedule",
     ""},
    {"taint: no effect", verb_taint, {"taint", "node", "n1", "k=v"}, {{0}}, 1, "", "EFFECT", ""},
    {"taint: a VM",
     verb_taint,
     {"taint", "vm", "x", "k=v:NoSchedule"},
     {{0}},
     1,
     "",
     "only nodes have taints",
     ""},

    /* --- cordon, uncordon --- */
    {"cordon",
     verb_cordon,
     {"cordon", "n1"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1), A("PATCH", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "node/n1 cordoned\n",
     NULL,
     "PATCH /api/v1/nodes/n1 {\"spec\":{\"unschedulable\":true}}"},
    {"uncordon that changes nothing",
     verb_uncordon,
     {"uncordon", "n1"},
     {A("GET", "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances", 200, LIST("")),
      A("GET", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "node/n1 already uncordoned\n",
     NULL,
     NULL},
    {"uncordon ends what drain began",
     verb_uncordon,
     {"uncordon", "n1"},
     {A("GET", "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances", 200,
        LIST("{\"apiVersion\":\"nodemaintenance.medik8s.io/v1beta1\",\"kind\":\"NodeMaintenance\","
             "\"metadata\":{\"name\":\"drain-n1\"},\"spec\":{\"nodeName\":\"n1\"}}")),
      A("DELETE", "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances/drain-n1", 200,
        OK_STATUS),
      A("GET", "/api/v1/nodes/n1", 200, NODE1)},
     0,
     "nodemaintenance.nodemaintenance.medik8s.io/drain-n1 deleted\nnode/n1 uncordoned\n",
     NULL,
     "DELETE /apis/nodemaintenance"},
    {"uncordon leaves another's maintenance alone",
     verb_uncordon,
     {"uncordon", "n1"},
     {A("GET", "/apis/nodemaintenance.medik8s.io/v1beta1/nodemaintenances", 200,
        LIST("{\"apiVersion\":\"nodemaintenance.medik8s.io/v1beta1\",\"kind\":\"NodeMaintenance\","
             "\"metadata\":{\"name\":\"firmware\"},\"spec\":{\"nodeName\":\"n1\"}}"))},
     1,
     "",
     "nodemaintenance/firmware",
     NULL},
    {"cordon: no such node",
     verb_cordon,
     {"cordon", "nx"},
     {A("GET", "/api/v1/nodes/nx", 404, STATUS(404, "NotFound", "nodes \\\"nx\\\" not found"))},
     1,
     "",
     "nodes \"nx\" not found",
     NULL},
    {"cordon: no node", verb_cordon, {"cordon"}, {{0}}, 1, "", "drover cordon:", ""},
    {"drain: no such node",
     verb_drain,
     {"drain", "nx"},
     {A("GET", "/api/v1/nodes/nx", 404, STATUS(404, "NotFound", "nodes \\\"nx\\\" not found"))},
     1,
     "",
     "nodes \"nx\" not found",
     NULL},
    {"drain: bad timeout",
     verb_drain,
     {"drain", "n1", "--timeout", "soon"},
     {{0}},
     1,
     "",
     "--timeout",
     ""},

    /* --- VMs --- */
    {"start",
     verb_start,
     {"start", "vm1"},
     {A("PUT", SUB "virtualmachines/vm1/start", 202, "{}")},
     0,
     "VM default/vm1 was asked to start\n",
     NULL,
     "PUT " SUB "virtualmachines/vm1/start"},
    {"pause acts on the instance",
     verb_pause,
     {"pause", "default/vm1"},
     {A("PUT", SUB "virtualmachineinstances/vm1/pause", 202, "{}")},
     0,
     "VM default/vm1 was asked to pause\n",
     NULL,
     NULL},
    {"stop that is refused says why",
     verb_stop,
     {"stop", "vm1"},
     {A("PUT", SUB "virtualmachines/vm1/stop", 409, STATUS(409, "Conflict", "VM is not running"))},
     1,
     "",
     "drover stop: VM is not running\n",
     NULL},
    {"start: not a name", verb_start, {"start", "a/b/c"}, {{0}}, 1, "", "want NAME or NS/NAME", ""},
    {"start: no namespace", verb_start, {"start", "/a"}, {{0}}, 1, "", "want NAME or NS/NAME", ""},
    {"migrate",
     verb_migrate,
     {"migrate", "vm1"},
     {A("POST", NS1 "virtualmachineinstancemigrations", 201, VMIM("Pending"))},
     0,
     "virtualmachineinstancemigration.kubevirt.io/kubevirt-migrate-vm-x created\n",
     NULL,
     "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstanceMigration\",\"metadata\":"
     "{\"generateName\":\"kubevirt-migrate-vm-\",\"namespace\":\"default\"},\"spec\":"
     "{\"vmiName\":\"vm1\"}}"},
    {"migrate --to",
     verb_migrate,
     {"migrate", "vm1", "--to", "n1", "-o", "name"},
     {A("GET", "/api/v1/nodes/n1", 200, NODE1),
      A("POST", NS1 "virtualmachineinstancemigrations", 201, VMIM("Pending"))},
     0,
     "virtualmachineinstancemigration.kubevirt.io/kubevirt-migrate-vm-x\n",
     NULL,
     "\"annotations\":{\"drover.io/target-node\":\"n1\"}"},
    {"migrate --wait ends well",
     verb_migrate,
     {"migrate", "vm1", "--wait"},
     {A("POST", NS1 "virtualmachineinstancemigrations", 201, VMIM("Pending")),
      AN("GET", NS1 "virtualmachineinstancemigrations/*", 200, VMIM("Running"), 1),
      A("GET", NS1 "virtualmachineinstancemigrations/*", 200, VMIM("Succeeded"))},
     0,
     "virtualmachineinstancemigration.kubevirt.io/kubevirt-migrate-vm-x created\n"
     "vm1: n1 -> n2: Running\nvm1: n1 -> n2: moved\n",
     NULL,
     NULL},
    {"migrate --wait that fails says why",
     verb_migrate,
     {"migrate", "vm1", "--wait"},
     {A("POST", NS1 "virtualmachineinstancemigrations", 201, VMIM("Pending")),
      A("GET", NS1 "virtualmachineinstancemigrations/*", 200, VMIM("Failed"))},
     1,
     NULL,
     "default/vm1: the network broke",
     NULL},
    {"migrate --wait that takes too long is a no",
     verb_migrate,
     {"migrate", "vm1", "--wait", "--timeout", "1ms"},
     {A("POST", NS1 "virtualmachineinstancemigrations", 201, VMIM("Pending")),
      A("GET", NS1 "virtualmachineinstancemigrations/*", 200, VMIM("Running"))},
     2,
     NULL,
     "still has phase Running",
     NULL},
    {"migrate: no such node",
     verb_migrate,
     {"migrate", "vm1", "--to", "nx"},
     {A("GET", "/api/v1/nodes/nx", 404, STATUS(404, "NotFound", "nodes \\\"nx\\\" not found"))},
     1,
     "",
     "nodes \"nx\" not found",
     NULL},
    {"migrate: refused",
     verb_migrate,
     {"migrate", "vm1"},
     {A("POST", NS1 "virtualmachineinstancemigrations", 400,
        STATUS(400, "BadRequest", "Cannot migrate VMI, Reason: DisksNotLiveMigratable"))},
     1,
     "",
     "DisksNotLiveMigratable",
     NULL},
    {"migrate --set-bandwidth changes the one that runs",
     verb_migrate,
     {"migrate", "vm1", "--set-bandwidth", "64Mi"},
     {A("GET", NS1 "virtualmachineinstancemigrations", 200, LIST(VMIM("Running"))),
      A("PATCH", NS1 "virtualmachineinstancemigrations/kubevirt-migrate-vm-x", 200,
        VMIM("Running"))},
     0,
     "VM default/vm1: migration kubevirt-migrate-vm-x: bandwidth 64Mi/s\n",
     NULL,
     NULL},
    {"migrate --set-bandwidth 0 lifts it",
     verb_migrate,
     {"migrate", "vm1", "--set-bandwidth=0"},
     {A("GET", NS1 "virtualmachineinstancemigrations", 200, LIST(VMIM("Running"))),
      A("PATCH", NS1 "virtualmachineinstancemigrations/kubevirt-migrate-vm-x", 200,
        VMIM("Running"))},
     0,
     "VM default/vm1: migration kubevirt-migrate-vm-x: bandwidth unlimited\n",
     NULL,
     NULL},
    {"migrate --set-bandwidth without a migration",
     verb_migrate,
     {"migrate", "vm1", "--set-bandwidth", "64Mi"},
     {A("GET", NS1 "virtualmachineinstancemigrations", 200, LIST(VMIM("Succeeded")))},
     1,
     "",
     "VM default/vm1 has no migration that is not over",
     NULL},
    {"migrate --set-bandwidth: no quantity",
     verb_migrate,
     {"migrate", "vm1", "--set-bandwidth", "fast"},
     {{0}},
     1,
     "",
     "--set-bandwidth fast: ",
     NULL},
    {"migrate --set-bandwidth starts none",
     verb_migrate,
     {"migrate", "vm1", "--set-bandwidth", "1Mi", "--to", "n2"},
     {{0}},
     1,
     "",
     "--set-bandwidth starts no migration",
     NULL},
    {"migrate: two VMs", verb_migrate, {"migrate", "a", "b"}, {{0}}, 1, "", "drover migrate:", ""},
    {"migrate: bad -o", verb_migrate, {"migrate", "a", "-o", "wide"}, {{0}}, 1, "", "wide", ""},
    {"migrate-cancel deletes what is not over",
     verb_migrate_cancel,
     {"migrate-cancel", "vm1"},
     {A("GET", NS1 "virtualmachineinstancemigrations", 200, LIST(VMIM("Running"))),
      A("DELETE", NS1 "virtualmachineinstancemigrations/kubevirt-migrate-vm-x", 200,
        VMIM("Running"))},
     0,
     "VM default/vm1: migration kubevirt-migrate-vm-x was asked to cancel\n",
     NULL,
     NULL},
    {"migrate-cancel without a migration",
     verb_migrate_cancel,
     {"migrate-cancel", "vm1"},
     {A("GET", NS1 "virtualmachineinstancemigrations", 200, LIST(VMIM("Succeeded")))},
     1,
     "",
     "no migration that is not over",
     NULL},
    {"verify: no such VM",
     verb_verify,
     {"verify", "vmx"},
     {A("PATCH", NS1 "virtualmachineinstances/vmx", 404, STATUS(404, "NotFound", "not found"))},
     1,
     "",
     "not found",
     NULL},
    {"verify: nobody answers",
     verb_verify,
     {"verify", "vm1", "--timeout=1ms"},
     {A("PATCH", NS1 "virtualmachineinstances/vm1", 200, "{}"),
      A("GET", NS1 "virtualmachineinstances/vm1", 200, "{}")},
     2,
     "",
     "has not answered in time",
     "drover.io/verify-request"},

    /* --- delete --- */
    {"delete and wait",
     verb_delete,
     {"delete", "vm", "vm1"},
     {A("DELETE", NS1 "virtualmachines/vm1", 200, OK_STATUS),
      AN("GET", NS1 "virtualmachines/vm1", 200, VM1, 1)},
     0,
     "virtualmachine.kubevirt.io \"vm1\" deleted\n",
     NULL,
     "GET " NS1 "virtualmachines/vm1\nGET " NS1 "virtualmachines/vm1\n"},
    {"delete --wait=false",
     verb_delete,
     {"delete", "vm/vm1", "--wait=false"},
     {A("DELETE", NS1 "virtualmachines/vm1", 200, VM1)},
     0,
     "virtualmachine.kubevirt.io \"vm1\" deleted\n",
     NULL,
     "DELETE " NS1 "virtualmachines/vm1\n"},
    {"delete of what something holds is a no",
     verb_delete,
     {"delete", "vm", "vm1", "--timeout=1ms"},
     {A("DELETE", NS1 "virtualmachines/vm1", 200, OK_STATUS),
      A("GET", NS1 "virtualmachines/vm1", 200, VM1)},
     2,
     NULL,
     "is still there",
     NULL},
    {"delete -l",
     verb_delete,
     {"delete", "vm", "-l", "a=1", "--wait=false"},
     {A("GET", NS1 "virtualmachines?labelSelector=a%3D1", 200, LIST(VM1)),
      A("DELETE", NS1 "virtualmachines/vm1", 200, OK_STATUS)},
     0,
     "virtualmachine.kubevirt.io \"vm1\" deleted\n",
     NULL,
     NULL},
    {"delete: missing",
     verb_delete,
     {"delete", "vm", "x"},
     {A("DELETE", NS1 "virtualmachines/x", 404, STATUS(404, "NotFound", "not found"))},
     1,
     "",
     "not found",
     NULL},
    {"delete: missing is fine",
     verb_delete,
     {"delete", "vm", "x", "--ignore-not-found"},
     {A("DELETE", NS1 "virtualmachines/x", 404, STATUS(404, "NotFound", "not found"))},
     0,
     "",
     NULL,
     NULL},
    {"delete: all without --all",
     verb_delete,
     {"delete", "vm"},
     {{0}},
     1,
     "",
     "want a name, -l",
     ""},
    {"delete: -f and a name",
     verb_delete,
     {"delete", "vm", "x", "-f", "y"},
     {{0}},
     1,
     "",
     "-f goes",
     ""},
    {"delete: no such file",
     verb_delete,
     {"delete", "-f", "/nonexistent.yaml"},
     {{0}},
     1,
     "",
     "/nonexistent.yaml",
     ""},

    /* --- others --- */
    {"kubeconfig over a socket needs a TCP address",
     verb_kubeconfig,
     {"kubeconfig"},
     {A("GET", "/api", 200, "{\"kind\":\"APIVersions\"}")},
     1,
     "",
     "kubectl cannot use unix:",
     NULL},
    {"kubeconfig takes the address that the server names",
     verb_kubeconfig,
     {"kubeconfig", "-n", "shop"},
     {A("GET", "/api", 200,
        "{\"kind\":\"APIVersions\",\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
        "\"serverAddress\":\"198.18.0.1:8001\"}]}")},
     0,
     "apiVersion: v1\nkind: Config\nclusters:\n- name: drover\n  cluster:\n"
     "    server: http://198.18.0.1:8001\ncontexts:\n- name: drover\n  context:\n"
     "    cluster: drover\n    namespace: shop\ncurrent-context: drover\n",
     NULL,
     NULL},
    {"events of nothing",
     verb_events,
     {"events", "--for", "vm/vm1"},
     {A("GET",
        "/api/v1/namespaces/default/events?fieldSelector=involvedObject.kind%3DVirtualMachine%2C"
        "involvedObject.name%3Dvm1",
        200, LIST(""))},
     0,
     "",
     "No events found in namespace default",
     NULL},
    {"events: --for without a name",
     verb_events,
     {"events", "--for", "vm"},
     {{0}},
     1,
     "",
     "want TYPE/NAME",
     ""},
    {"events: an argument", verb_events, {"events", "x"}, {{0}}, 1, "", "drover events:", ""},
    {"top: unknown", verb_top, {"top", "pods"}, {{0}}, 1, "", "want nodes or migrations", ""},
    {"describe: unknown kind",
     verb_describe,
     {"describe", "x", "y"},
     {{0}},
     1,
     "",
     "unknown kind",
     ""},
    {"describe: missing",
     verb_describe,
     {"describe", "vm", "x"},
     {A("GET", NS1 "virtualmachines/x", 404, STATUS(404, "NotFound", "not found"))},
     1,
     "",
     "not found",
     NULL},
    {"apply: no file", verb_apply, {"apply"}, {{0}}, 1, "", "filename", ""},
    {"apply: no such file",
     verb_apply,
     {"apply", "-f", "/nonexistent"},
     {{0}},
     1,
     "",
     "/nonexistent",
     ""},
    {"the server's warnings are shown",
     verb_start,
     {"start", "vm1"},
     {AW("PUT", SUB "virtualmachines/vm1/start", 202, "{}", "mind the gap")},
     0,
     NULL,
     "Warning: mind the gap\n",
     NULL},
};

static void
runs(void **state)
{
    const struct row *r = *state;
    struct fake_server *s = fake_server_new(r->answers);
    struct ran ran;

    atomic_store(&client_stop, false);
    setenv("DROVER_SERVER", fake_server_url(s), 1);
    ran = run_verb(r->verb, r->args);
    if (ran.exit_code != r->want_exit)
        fail_msg("exit %d, out \"%s\", err \"%s\"", ran.exit_code, ran.out, ran.err);
    if (r->want_out)
        assert_string_equal(ran.out, r->want_out);
    if (!r->want_err)
        assert_string_equal(ran.err, "");
    else if (!strstr(ran.err, r->want_err))
        fail_msg("\"%s\" does not say \"%s\"", ran.err, r->want_err);
    if (r->want_exit)
        assert_true(strchr(ran.err, '\n') == ran.err + strlen(ran.err) - 1); /* one line */
    if (r->want_log && !r->want_log[0])
        assert_string_equal(fake_server_log(s), "");
    else if (r->want_log && !strstr(fake_server_log(s), r->want_log))
        fail_msg("\"%s\" was not asked in:\n%s", r->want_log, fake_server_log(s));
    ran_done(&ran);
    fake_server_free(s);
}

struct address_row {
    const char *name, *server, *env, *want_err;
};

static const struct address_row addresses[] = {
    {"--server is no URL", "example", NULL, "--server \"example\": want http://"},
    {"--server is https", "https://x:1", NULL, "want http://"},
    {"--server without a host", "http://", NULL, "want http://"},
    {"--server with a relative socket", "unix:api.sock", NULL, "unix:/PATH"},
    {"$DROVER_SERVER is no URL", NULL, "nonsense", "$DROVER_SERVER \"nonsense\""},
    {"nobody listens there", "unix:/nonexistent/api.sock", NULL,
     "no controller answers at unix:/nonexistent/api.sock (--server)"},
    {"nobody listens there by $DROVER_SERVER", NULL, "unix:/nonexistent/api.sock",
     "no controller answers at unix:/nonexistent/api.sock ($DROVER_SERVER)"},
};

static void
address_is_refused(void **state)
{
    const struct address_row *r = *state;
    const char *args[] = {"get", "vm", r->server ? "--server" : NULL, r->server, NULL};
    struct ran ran;

    unsetenv("DROVER_SERVER");
    if (r->env)
        setenv("DROVER_SERVER", r->env, 1);
    ran = run_verb(verb_get, args);
    assert_int_equal(ran.exit_code, 1);
    if (!strstr(ran.err, r->want_err))
        fail_msg("\"%s\" does not say \"%s\"", ran.err, r->want_err);
    ran_done(&ran);
}

#define ROW(fn, r) ((struct CMUnitTest){(r)->name, fn, NULL, NULL, (void *)(uintptr_t)(r)})

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + ARRAY_LEN(addresses)];
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[n++] = ROW(runs, &rows[i]);
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++)
        tests[n++] = ROW(address_is_refused, &addresses[i]);
    return _cmocka_run_group_tests("verbs", tests, n, NULL, NULL);
}
