/* The labeller, rule by rule: what libvirt says of a host goes in, all labels come out, in short: feat:
 * model: migr: host: hostf: vendor: timer: hyperv: machine: stand for the prefixes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api/object.h"
#include "base/sb.h"
#include "sched/cpu_base.h"
#include "sched/labeller.h"

#define DOM_OF(arch, cpu, features)                                                   \
    "<domainCapabilities><domain>kvm</domain><arch>" arch "</arch><cpu>" cpu "</cpu>" \
    "<features>" features "</features></domainCapabilities>"
#define DOM(cpu) DOM_OF("x86_64", cpu, "")
#define HOST(model, features)                                                 \
    "<mode name='host-model' supported='yes'><model fallback='forbid'>" model \
    "</model><vendor>Intel</vendor>" features "</mode>"
#define CUSTOM(models)        "<mode name='custom' supported='yes'>" models "</mode>"
#define USABLE(u, model)      "<model usable='" u "' vendor='Intel'>" model "</model>"
#define FEATURE(policy, name) "<feature policy='" policy "' name='" name "'/>"
#define CAPS(cpu, guests)     "<capabilities><host><cpu>" cpu "</cpu></host>" guests "</capabilities>"
#define GUEST(arch, machines) \
    "<guest><os_type>hvm</os_type><arch name='" arch "'>" machines "</arch></guest>"
#define MODEL(name, inside) "<model name='" name "'>" inside "</model>"
#define F(name)             "<feature name='" name "'/>"
#define NODE(labels, annotations)                                        \
    "{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {" labels \
    "}, annotations: {" annotations "}}}"
/* A host as most rows have it. */
#define PLAIN DOM(HOST("Haswell", "") CUSTOM(USABLE("yes", "Haswell")))
#define PLAIN_LABELS \
    "model:Haswell migr:Haswell vendor:Intel host:Haswell kubevirt.io/vm-arch-amd64"
#define MAP                                                                          \
    MODEL("Base", F("fpu") F("mmx"))                                                 \
    MODEL("Mid", "<model name='Base'/>" F("one"))                                    \
    MODEL("Top", "<model name='Mid'/>" F("two") "<feature name='late' added='yes'/>" \
                                                "<feature name='gone' removed='yes'/>")

struct row {
    const char *name, *dom, *caps, *features, *map, *hco, *node;
    const char *hyperv; /* one */
    bool realtime;
    const char *labels;  /* all of them, in any order */
    const char *removed; /* NULL: none */
    const char *note;    /* part of the first one; NULL: there is none */
    const char *error;   /* in place of all that */
    bool skipped;
};

static const struct row rows[] = {
    {.name = "a host with one model", .dom = PLAIN, .labels = PLAIN_LABELS},
    /* models */
    {.name = "usable: yes and unknown; known: no, too",
     .dom = DOM(CUSTOM(USABLE("yes", "A") USABLE("unknown", "B") USABLE("no", "C"))),
     .labels = "model:A migr:A model:B migr:B migr:C kubevirt.io/vm-arch-amd64"},
    {.name = "a model without the attribute is none",
     .dom = DOM(CUSTOM("<model vendor='Intel'>A</model>")),
     .labels = "kubevirt.io/vm-arch-amd64"},
    {.name = "a mode that is not supported says nothing",
     .dom = DOM("<mode name='custom' supported='no'>" USABLE(
         "yes", "A") "</mode>"
                     "<mode name='host-model' supported='no'><model>H</model></mode>"),
     .labels = "kubevirt.io/vm-arch-amd64"},
    {.name = "a model between blanks",
     .dom = DOM(CUSTOM("<model usable='yes'>\n  A\n</model>")),
     .labels = "model:A migr:A kubevirt.io/vm-arch-amd64"},
    /* obsolete */
    {.name = "built-in obsolete models, in any version",
     .dom = DOM(CUSTOM(USABLE("yes", "486") USABLE("yes", "Conroe") USABLE("yes", "qemu64-v1")
                           USABLE("yes", "Opteron_G2") USABLE("yes", "qemu64-v13"))),
     .labels = "kubevirt.io/vm-arch-amd64"},
    {.name = "names that only look like theirs",
     .dom = DOM(CUSTOM(USABLE("yes", "conroe") USABLE("yes", "qemu64-v") USABLE("yes", "kvm64-v1x")
                           USABLE("yes", "pentium4") USABLE("yes", "athlon-noX"))),
     .labels =
         "model:conroe migr:conroe model:qemu64-v migr:qemu64-v model:kvm64-v1x migr:kvm64-v1x "
         "model:pentium4 migr:pentium4 model:athlon-noX migr:athlon-noX "
         "kubevirt.io/vm-arch-amd64"},
    {.name = "the cluster's list adds to the built-in one",
     .hco = "obsoleteCPUs: {cpuModels: [A, '999']}",
     .dom = DOM(CUSTOM(USABLE("yes", "A") USABLE("yes", "Conroe") USABLE("yes", "B"))),
     .labels = "model:B migr:B kubevirt.io/vm-arch-amd64"},
    {.name = "an empty list takes nothing back",
     .hco = "obsoleteCPUs: {cpuModels: []}",
     .dom = DOM(CUSTOM(USABLE("yes", "Conroe"))),
     .labels = "kubevirt.io/vm-arch-amd64"},
    {.name = "an obsolete host model keeps its label and its way to migrate",
     .hco = "obsoleteCPUs: {cpuModels: [Haswell]}",
     .dom = PLAIN,
     .labels = "host:Haswell migr:Haswell vendor:Intel "
               "node-labeller.kubevirt.io/obsolete-host-model kubevirt.io/vm-arch-amd64"},
    {.name = "so does one of the built-in list",
     .dom = DOM(HOST("kvm64", "")),
     .labels = "host:kvm64 migr:kvm64 vendor:Intel node-labeller.kubevirt.io/obsolete-host-model "
               "kubevirt.io/vm-arch-amd64"},
    /* host model */
    {.name = "a host model that is not on the list can be found by a migration",
     .dom = DOM(HOST("Own", "")),
     .labels = "host:Own migr:Own vendor:Intel kubevirt.io/vm-arch-amd64"},
    {.name = "required features of the host model; not those it lacks",
     .dom = DOM(
         HOST("Own", FEATURE("require", "aes") FEATURE("disable", "rtm") FEATURE("optional", "x"))),
     .labels = "host:Own migr:Own hostf:aes feat:aes vendor:Intel kubevirt.io/vm-arch-amd64"},
    {.name = "two host models: the first counts",
     .dom = DOM("<mode name='host-model' supported='yes'><model>A</model><model>B</model></mode>"),
     .labels = "host:A migr:A kubevirt.io/vm-arch-amd64",
     .note = "the first one, A, counts"},
    {.name = "a host model without a name",
     .dom = DOM("<mode name='host-model' supported='yes'><vendor>AMD</vendor></mode>"),
     .labels = "vendor:AMD kubevirt.io/vm-arch-amd64",
     .note = "the host model has no name"},
    {.name = "no vendor, no label",
     .dom = DOM("<mode name='host-model' supported='yes'><model>A</model><vendor/></mode>"),
     .labels = "host:A migr:A kubevirt.io/vm-arch-amd64"},
    /* features */
    {.name = "features of the minimum model have no label",
     .dom = DOM(HOST("Own", FEATURE("require", "apic") FEATURE("require", "aes"))),
     .labels = "host:Own migr:Own hostf:aes hostf:apic feat:aes vendor:Intel "
               "kubevirt.io/vm-arch-amd64"},
    {.name = "minCPUModel of the built-in table",
     .hco = "obsoleteCPUs: {minCPUModel: Westmere}",
     .dom = DOM(HOST("Own", FEATURE("require", "aes") FEATURE("require", "avx"))),
     .labels =
         "host:Own migr:Own hostf:aes hostf:avx feat:avx vendor:Intel kubevirt.io/vm-arch-amd64"},
    {.name = "the CPU map: models that build on models, less the minimum",
     .hco = "obsoleteCPUs: {minCPUModel: Base}",
     .map = MAP,
     .dom = DOM(CUSTOM(USABLE("yes", "Top"))),
     .labels = "model:Top migr:Top feat:one feat:two kubevirt.io/vm-arch-amd64",
     .note = "minCPUModel Base is not a model that placement knows"},
    {.name = "the map's host model, less what this host lacks",
     .map = MAP,
     .dom = DOM(HOST("Top", FEATURE("disable", "one"))),
     .labels = "host:Top migr:Top feat:two vendor:Intel kubevirt.io/vm-arch-amd64"},
    {.name = "no features of models that are unusable or obsolete",
     .hco = "obsoleteCPUs: {cpuModels: [Mid]}",
     .map = MAP,
     .dom = DOM(CUSTOM(USABLE("no", "Top") USABLE("yes", "Mid"))),
     .labels = "migr:Top kubevirt.io/vm-arch-amd64"},
    {.name = "the expanded host model is the last word",
     .map = MAP,
     .features = "<cpu mode='custom' match='exact'><model fallback='forbid'>Top</model>" FEATURE(
         "require", "three") FEATURE("disable", "two") F("four") "</cpu>",
     .dom = DOM(HOST("Top", FEATURE("require", "five"))),
     .labels = "host:Top migr:Top hostf:five feat:three vendor:Intel kubevirt.io/vm-arch-amd64"},
    {.name = "a minimum that nobody knows: Penryn",
     .hco = "obsoleteCPUs: {minCPUModel: Nope}",
     .dom = DOM(HOST("Own", FEATURE("require", "apic") FEATURE("require", "aes"))),
     .labels = "host:Own migr:Own hostf:aes hostf:apic feat:aes vendor:Intel "
               "kubevirt.io/vm-arch-amd64",
     .note = "minCPUModel Nope is not in the CPU map: Penryn counts"},
    {.name = "a map with a gap",
     .map = MODEL("A", "<model name='B'/>" F("one")),
     .dom = DOM(CUSTOM(USABLE("yes", "A"))),
     .labels = "model:A migr:A feat:one kubevirt.io/vm-arch-amd64",
     .note = "no usable model B, which A builds on"},
    {.name = "a map that goes round and round",
     .map = MODEL("A", "<model name='B'/>" F("one")) MODEL("B", "<model name='A'/>" F("two")),
     .dom = DOM(CUSTOM(USABLE("yes", "A"))),
     .labels = "model:A migr:A feat:one feat:two kubevirt.io/vm-arch-amd64",
     .note = "builds on"},
    {.name = "a map of one file, other architectures aside",
     .map = "<arch name='x86'>" MODEL("A", F("one")) "</arch><arch name='ppc64'>" MODEL(
         "A", F("two")) MODEL("P", F("three")) "</arch>",
     .dom = DOM(CUSTOM(USABLE("yes", "A") USABLE("yes", "P"))),
     .labels = "model:A migr:A model:P migr:P feat:one kubevirt.io/vm-arch-amd64"},
    /* TSC, machines */
    {.name = "the TSC's frequency and scaling",
     .dom = DOM(""),
     .caps = CAPS("<counter name='tsc' frequency='2693671000' scaling='yes'/>", ""),
     .labels = "timer:tsc-frequency=2693671000 timer:tsc-scalable kubevirt.io/vm-arch-amd64"},
    {.name = "a TSC that does not scale, after another counter",
     .dom = DOM(""),
     .caps = CAPS("<counter name='x' frequency='1'/>"
                  "<counter name='tsc' frequency='1' scaling='no'/>",
                  ""),
     .labels = "timer:tsc-frequency=1 timer:tsc-scalable=false kubevirt.io/vm-arch-amd64"},
    {.name = "a frequency that is none",
     .dom = DOM(""),
     .caps = CAPS("<counter name='tsc' frequency='-5' scaling='yes'/>", ""),
     .labels = "kubevirt.io/vm-arch-amd64",
     .note = "want a number of Hz"},
    {.name = "machine types of the host's architecture",
     .dom = DOM(""),
     .caps = CAPS("", GUEST("i686", "<machine>isapc</machine>") GUEST(
                          "x86_64", "<machine canonical='pc-q35-7.2'>q35</machine>"
                                    "<domain type='kvm'><machine>microvm</machine></domain>")),
     .labels = "machine:q35 machine:pc-q35-7.2 machine:microvm kubevirt.io/vm-arch-amd64"},
    {.name = "an architecture that only the capabilities say",
     .dom = "<domainCapabilities/>",
     .caps = CAPS("<arch>x86_64</arch>", GUEST("x86_64", "<machine>q35</machine>")),
     .labels = "machine:q35"},
    /* the kernel's and KVM's */
    {.name = "Hyper-V and realtime",
     .dom = DOM(""),
     .hyperv = "vpindex",
     .realtime = true,
     .labels = "hyperv:vpindex kubevirt.io/realtime kubevirt.io/vm-arch-amd64"},
    {.name = "without libvirt, only they",
     .hyperv = "base",
     .node = NODE("cpu-model.node.kubevirt.io/A: 'true', kubevirt.io/sev: 'true', "
                  "kubevirt.io/realtime: '', hyperv.node.kubevirt.io/time: 'true'",
                  ""),
     .labels = "hyperv:base",
     .removed = "hyperv.node.kubevirt.io/time kubevirt.io/realtime"},
    /* encrypted guests */
    {.name = "SEV alone",
     .dom = DOM_OF("x86_64", "", "<sev supported='yes'><maxESGuests>0</maxESGuests></sev>"),
     .labels = "kubevirt.io/sev kubevirt.io/vm-arch-amd64"},
    {.name = "SEV-ES", /* and no SNP, as launchSecurity does not name it */
     .dom =
         DOM_OF("x86_64", "",
                "<sev supported='yes'><maxESGuests>9</maxESGuests></sev><launchSecurity "
                "supported='yes'><enum name='sectype'><value>sev</value></enum></launchSecurity>"),
     .labels = "kubevirt.io/sev kubevirt.io/sev-es kubevirt.io/vm-arch-amd64"},
    {.name = "SEV-SNP",
     .dom = DOM_OF("x86_64", "",
                   "<sev supported='yes'><maxESGuests>9</maxESGuests></sev><launchSecurity "
                   "supported='yes'><enum name='sectype'><value>sev</value><value>sev-snp</value>"
                   "</enum></launchSecurity>"),
     .labels = "kubevirt.io/sev kubevirt.io/sev-es kubevirt.io/sev-snp kubevirt.io/vm-arch-amd64"},
    {.name = "SNP without ES is none",
     .dom = DOM_OF("x86_64", "",
                   "<sev supported='yes'/><launchSecurity supported='yes'><enum name='sectype'>"
                   "<value>sev-snp</value></enum></launchSecurity>"),
     .labels = "kubevirt.io/sev kubevirt.io/vm-arch-amd64"},
    {.name = "ES of a SEV that is not supported",
     .dom = DOM_OF("x86_64", "", "<sev supported='no'><maxESGuests>9</maxESGuests></sev>"),
     .labels = "kubevirt.io/vm-arch-amd64"},
    {.name = "TDX", /* and a Secure Execution that is off */
     .dom = DOM_OF("x86_64", "", "<tdx supported='yes'/><s390-pv supported='no'/>"),
     .labels = "kubevirt.io/tdx kubevirt.io/vm-arch-amd64"},
    /* other architectures */
    {.name = "arm64: no models, features or host model",
     .dom = DOM_OF("aarch64",
                   HOST("A", FEATURE("require", "x")) CUSTOM(USABLE("yes", "cortex-a57")), ""),
     .caps = CAPS("", GUEST("aarch64", "<machine>virt</machine>")),
     .features = "<cpu>" FEATURE("require", "sve") "</cpu>",
     .labels = "machine:virt kubevirt.io/vm-arch-arm64"},
    {.name = "s390x: IBM, features without a policy, Secure Execution, no minimum",
     .dom = DOM_OF("s390x",
                   "<mode name='host-model' supported='yes'><model>z14</model>" F("aen")
                       FEATURE("require", "apic") "</mode>",
                   "<s390-pv supported='yes'/>"),
     .labels = "host:z14 migr:z14 hostf:aen hostf:apic feat:aen feat:apic vendor:IBM "
               "kubevirt.io/s390-pv kubevirt.io/vm-arch-s390x"},
    {.name = "no policy on x86 is no feature",
     .dom = DOM(HOST("A", F("aes"))),
     .labels = "host:A migr:A vendor:Intel kubevirt.io/vm-arch-amd64"},
    /* the node */
    {.name = "what is no longer true goes, what is not the labeller's stays",
     .dom = PLAIN,
     .node = NODE("cpu-model.node.kubevirt.io/Haswell: 'false', cpu-model.node.kubevirt.io/Old: "
                  "'true', cpu-feature.node.kubevirt.io/aes: 'true', zone: a, "
                  "kubevirt.io/schedulable: 'true', kubernetes.io/hostname: n1, "
                  "scheduling.node.kubevirt.io/tsc-frequency-1: 'true', cpumanager: 'true', "
                  "cpu-model.example.com/X: 'true', kubevirt.io/seven: 'true'",
                  ""),
     .labels = PLAIN_LABELS,
     .removed = "cpu-feature.node.kubevirt.io/aes cpu-model.node.kubevirt.io/Old"},
    {.name = "labels that KubeVirt forgets to take away",
     .dom = PLAIN,
     .node =
         NODE("cpu-vendor.node.kubevirt.io/AMD: 'true', kubevirt.io/s390-pv: 'true', "
              "kubevirt.io/tdx: 'true', kubevirt.io/sev-snp: '', "
              "machine-type.node.kubevirt.io/q35: 'true', "
              "cpu-timer.node.kubevirt.io/tsc-frequency: '5', kubevirt.io/vm-arch-arm64: 'true', "
              "host-model-cpu.node.kubevirt.io/Old: 'true', "
              "node-labeller.kubevirt.io/obsolete-host-model: 'true', "
              "feature.node.kubernetes.io/cpu-model-Old: 'true'",
              ""),
     .labels = PLAIN_LABELS,
     .removed = "cpu-timer.node.kubevirt.io/tsc-frequency cpu-vendor.node.kubevirt.io/AMD "
                "feature.node.kubernetes.io/cpu-model-Old host-model-cpu.node.kubevirt.io/Old "
                "kubevirt.io/s390-pv kubevirt.io/sev-snp kubevirt.io/tdx "
                "kubevirt.io/vm-arch-arm64 machine-type.node.kubevirt.io/q35 "
                "node-labeller.kubevirt.io/obsolete-host-model"},
    {.name = "skip-node",
     .dom = PLAIN,
     .hco = "obsoleteCPUs: {cpuModels: [Haswell]}",
     .node = NODE("cpu-model.node.kubevirt.io/Old: 'true'",
                  "node-labeller.kubevirt.io/skip-node: 'true'"),
     .labels = "",
     .skipped = true},
    {.name = "skip-node without a value",
     .dom = PLAIN,
     .node = NODE("", "node-labeller.kubevirt.io/skip-node: ''"),
     .labels = "",
     .skipped = true},
    {.name = "skip-node: false",
     .dom = PLAIN,
     .node = NODE("cpu-model.node.kubevirt.io/Old: 'true'",
                  "node-labeller.kubevirt.io/skip-node: 'false'"),
     .labels = PLAIN_LABELS,
     .removed = "cpu-model.node.kubevirt.io/Old"},
    /* names that no label can have */
    {.name = "a model that cannot be a label",
     .dom = DOM(CUSTOM(USABLE("yes", "a b") USABLE("yes", "") USABLE("yes", "B"))),
     .labels = "model:B migr:B kubevirt.io/vm-arch-amd64",
     .note = "\"a b\" cannot be part of a label"},
    {.name = "XML's own entities and blank lines before it",
     .dom = "\n \n<?xml version='1.0'?><domainCapabilities><arch>x86&#95;64</arch>"
            "</domainCapabilities>",
     .labels = "kubevirt.io/vm-arch-amd64"},
    /* refused */
    {.name = "nothing", .dom = " \n", .error = "dom:1:1: no XML: want <domainCapabilities>"},
    {.name = "no XML",
     .dom = "\n\nvirsh # ",
     .error = "dom:3:1: syntax error: want <domainCapabilities>"},
    {.name = "the other file",
     .dom = CAPS("", ""),
     .error = "dom:1:1: <capabilities>: want <domainCapabilities>"},
    {.name = "the other file, the other way round",
     .dom = PLAIN,
     .caps = PLAIN,
     .error = "caps:1:1: <domainCapabilities>: want <capabilities>"},
    {.name = "features of something else",
     .dom = PLAIN,
     .features = "<features/>",
     .error = "features:1:1: <features>: want <cpu>"},
    {.name = "a map that is none",
     .map = "</cpus><!--",
     .dom = PLAIN,
     .error = "map:1:14: unclosed token"},
    {.name = "cut in the middle",
     .dom = "<domainCapabilities>\n<cpu>",
     .error = "dom:2:6: no element found"},
    {.name = "tags that cross",
     .dom = "<domainCapabilities><cpu></arch></cpu></domainCapabilities>",
     .error = "dom:1:28: mismatched tag"},
    {.name = "a document type, and with it entities",
     .dom = "<!DOCTYPE d [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]>\n<domainCapabilities>&b;"
            "</domainCapabilities>",
     .error = "dom:1:13: a document type is not allowed"},
    {.name = "an external entity",
     .dom = "<?xml version='1.0'?>\n<!DOCTYPE d SYSTEM 'file:///etc/passwd'><domainCapabilities/>",
     .error = "dom:2:40: a document type is not allowed"},
    {.name = "an entity that is not XML's",
     .dom = "<domainCapabilities>&x;</domainCapabilities>",
     .error = "dom:1:21: undefined entity"},
    {.name = "something behind it", .dom = PLAIN "<more/>", .error = "junk after document element"},
};

static void check_row(void **state);
static int run_row(const struct row *row, struct labeller_output *out, struct arena *a,
                   struct err *err);
static const struct tree *parse_one(const char *yaml, struct arena *a);
static void assert_same_words(const char *what, const char *have, const char *want);
static int by_word(const void *a, const void *b);
static char *long_key(const char *word);

static void
check_row(void **state)
{
    const struct row *row = *state;
    struct arena *a = arena_new();
    struct labeller_output out;
    struct err err = {0};
    AUTO_SB struct sb have = SB_INIT, want = SB_INIT, removed = SB_INIT;
    int rc = run_row(row, &out, a, &err);

    if (row->error) {
        assert_int_equal(rc, -22);
        if (!strstr(err.msg, row->error))
            fail_msg("have error: %s", err.msg);
        assert_null(strchr(err.msg, '\n'));
        arena_free(a);
        return;
    }
    assert_string_equal(rc ? err.msg : "", "");
    for (size_t i = 0; i < out.labels.len; i++) {
        sb_printf(&have, "%s%s=%s", i ? " " : "", out.labels.items[i].key,
                  out.labels.items[i].value);
        assert_true(labeller_owns(out.labels.items[i].key));
        assert_true(i == 0 || strcmp(out.labels.items[i - 1].key, out.labels.items[i].key) < 0);
    }
    for (char *copy = strdup(row->labels), *rest = NULL, *w = strtok_r(copy, " ", &rest);;
         w = strtok_r(NULL, " ", &rest)) {
        AUTO_FREE char *key = w ? long_key(w) : NULL;

        if (!w) {
            free(copy);
            break;
        }
        sb_printf(&want, "%s%s%s", want.len ? " " : "", key, strchr(w, '=') ? "" : "=true");
    }
    assert_same_words("labels", sb_str(&have), sb_str(&want));
    for (size_t i = 0; i < out.removed.len; i++)
        sb_printf(&removed, "%s%s", i ? " " : "", out.removed.items[i]);
    assert_string_equal(sb_str(&removed), row->removed ? row->removed : "");
    assert_int_equal(out.skipped, row->skipped);
    if (!row->note && out.notes.len > 0)
        fail_msg("a note: %s", out.notes.items[0]);
    if (row->note && (out.notes.len == 0 || !strstr(out.notes.items[0], row->note)))
        fail_msg("have note: %s", out.notes.len > 0 ? out.notes.items[0] : "none");
    arena_free(a);
}

static int
run_row(const struct row *row, struct labeller_output *out, struct arena *a, struct err *err)
{
    struct labeller_input in = {
        .domcapabilities = {"dom", row->dom},
        .capabilities = {"caps", row->caps},
        .supported_features = {"features", row->features},
        .hyperv = {(const char *[]){row->hyperv}, row->hyperv != NULL},
        .realtime = row->realtime,
    };
    int rc;

    if (row->hco)
        in.hco = hco_decode(
            parse_one(arena_printf(a,
                                   "{apiVersion: hco.kubevirt.io/v1beta1, kind: HyperConverged, "
                                   "metadata: {name: h, namespace: n}, spec: {%s}}",
                                   row->hco),
                      a),
            a);
    if (row->node)
        in.node = node_decode(parse_one(row->node, a), a);
    if (row->map) {
        struct labeller_text text = {"map", arena_printf(a, "<cpus>%s</cpus>", row->map)};

        rc = labeller_read_map(&text, &in.models, a, err);
        if (rc != 0)
            return rc;
    }
    return labeller_run(&in, out, a, err);
}

/* The tree is leaked into a list that lives as long as the program. */
static const struct tree *
parse_one(const char *yaml, struct arena *a)
{
    static struct tree *kept;
    struct tree *docs = NULL;
    struct err err;

    (void)a;
    if (!kept)
        kept = tree_list();
    if (tree_from_yaml("row", yaml, strlen(yaml), &docs, &err) != 0)
        fail_msg("%s", err_msg(&err));
    tree_append(kept, docs);
    return tree_at(docs, 0);
}

static void
assert_same_words(const char *what, const char *have, const char *want)
{
    const char *texts[] = {have, want};
    struct sb sorted[2] = {SB_INIT, SB_INIT};

    for (int i = 0; i < 2; i++) {
        AUTO_FREE char *copy = strdup(texts[i]);
        char *words[1000], *rest;
        size_t len = 0;

        for (char *w = strtok_r(copy, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
            words[len++] = w;
        qsort(words, len, sizeof(words[0]), by_word);
        for (size_t j = 0; j < len; j++)
            sb_printf(&sorted[i], "%s\n", words[j]);
    }
    if (strcmp(sb_str(&sorted[0]), sb_str(&sorted[1])) != 0)
        fail_msg("%s: have\n%swant\n%s", what, sb_str(&sorted[0]), sb_str(&sorted[1]));
    sb_done(&sorted[0]);
    sb_done(&sorted[1]);
}

static int
by_word(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *
long_key(const char *word)
{
    static const char *const shorts[][2] = {
        {"feat:", "cpu-feature.node.kubevirt.io/"},
        {"model:", "cpu-model.node.kubevirt.io/"},
        {"migr:", "cpu-model-migration.node.kubevirt.io/"},
        {"host:", "host-model-cpu.node.kubevirt.io/"},
        {"hostf:", "host-model-required-features.node.kubevirt.io/"},
        {"vendor:", "cpu-vendor.node.kubevirt.io/"},
        {"timer:", "cpu-timer.node.kubevirt.io/"},
        {"hyperv:", "hyperv.node.kubevirt.io/"},
        {"machine:", "machine-type.node.kubevirt.io/"},
    };

    for (size_t i = 0; i < ARRAY_LEN(shorts); i++)
        if (strncmp(word, shorts[i][0], strlen(shorts[i][0])) == 0)
            return xasprintf("%s%s", shorts[i][1], word + strlen(shorts[i][0]));
    return strdup(word);
}

/* The documents' own example: Haswell's features less Penryn's, 21 of them. Their printed list has 20,
 * and lacks smep, which their list of Haswell's features has. */
static void
test_documents_example(void **state)
{
    static const char *const penryn[] = {
        "apic", "clflush", "cmov", "cx16", "cx8",  "de",     "fpu",   "fxsr",    "lahf_lm", "lm",
        "mca",  "mce",     "mmx",  "msr",  "mtrr", "nx",     "pae",   "pat",     "pge",     "pni",
        "pse",  "pse36",   "sep",  "sse",  "sse2", "sse4.1", "ssse3", "syscall", "tsc"};
    static const char *const added[] = {
        "aes",      "avx", "avx2",    "bmi1",   "bmi2",         "erms",     "fma",
        "fsgsbase", "hle", "invpcid", "movbe",  "pcid",         "pclmuldq", "popcnt",
        "rdtscp",   "rtm", "smep",    "sse4.2", "tsc-deadline", "x2apic",   "xsave"};
    AUTO_SB struct sb base = SB_INIT, more = SB_INIT, map = SB_INIT, want = SB_INIT;
    struct row row = {.dom = DOM(CUSTOM(USABLE("yes", "Haswell") USABLE("yes", "Penryn"))),
                      .name = "example"};
    void *row_state = &row;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(penryn); i++) {
        sb_printf(&base, F("%s"), penryn[i]);
        assert_true(cpu_base_has(NULL, penryn[i]));
        assert_true(cpu_base_has("Haswell", penryn[i]));
    }
    sb_puts(&want, "model:Haswell migr:Haswell model:Penryn migr:Penryn kubevirt.io/vm-arch-amd64");
    for (size_t i = 0; i < ARRAY_LEN(added); i++) {
        sb_printf(&more, F("%s"), added[i]);
        sb_printf(&want, " feat:%s", added[i]);
        assert_false(cpu_base_has("Penryn", added[i]));
        assert_true(cpu_base_has("Haswell", added[i]));
    }
    sb_printf(&map, MODEL("Penryn", "%s") MODEL("Haswell", "%s%s"), sb_str(&base), sb_str(&base),
              sb_str(&more));
    row.map = sb_str(&map);
    row.labels = sb_str(&want);
    check_row(&row_state);
}

static void
test_base_table(void **state)
{
    (void)state;
    assert_true(cpu_base_known("EPYC-Milan"));
    assert_true(cpu_base_known("Skylake-Server-IBRS"));
    assert_false(cpu_base_known("penryn"));
    assert_false(cpu_base_known("-IBRS"));
    assert_false(cpu_base_known(NULL));
    assert_true(cpu_base_has("Haswell-IBRS", "spec-ctrl"));
    assert_false(cpu_base_has("Haswell", "spec-ctrl"));
    assert_false(cpu_base_has("Haswell-noTSX", "rtm"));
    assert_true(cpu_base_has("EPYC-Milan", "svm"));
    assert_false(cpu_base_has("EPYC", "sse"
                                      "4"));
    assert_false(cpu_base_has(NULL, ""));
    assert_false(cpu_base_has(NULL, " apic"));
    assert_true(cpu_base_has("no such model", "apic"));
}

/* More than the limits: said, not read. */
static void
test_limits(void **state)
{
    AUTO_SB struct sb deep = SB_INIT, many = SB_INIT, big = SB_INIT, map = SB_INIT;
    struct {
        const char *xml, *map, *error;
    } cases[4] = {{0}};

    (void)state;
    for (int i = 0; i <= LABELLER_MAX_DEPTH; i++)
        sb_puts(&deep, "<domainCapabilities>");
    sb_puts(&many, "<domainCapabilities>");
    for (int i = 0; i < LABELLER_MAX_ELEMENTS; i++)
        sb_puts(&many, "<a/>");
    sb_puts(&many, "</domainCapabilities>");
    sb_puts(&big, "<domainCapabilities>");
    while (big.len <= LABELLER_MAX_BYTES)
        sb_puts(&big, "                                                                ");
    sb_puts(&big, "</domainCapabilities>");
    cases[0].xml = sb_str(&deep);
    cases[0].error = "dom:1:641: too many elements within elements";
    cases[1].xml = sb_str(&many);
    cases[1].error = ": too many elements";
    cases[2].xml = sb_str(&big);
    cases[2].error = "dom:1:1: more than 4 MiB";
    for (int i = 0; i <= LABELLER_MAX_MODELS; i++)
        sb_printf(&map, "<model name='m%d'/>", i);
    cases[3].xml = PLAIN;
    cases[3].map = sb_str(&map);
    cases[3].error = "map:1:1: more than 2000 models";
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct row row = {.dom = cases[i].xml, .map = cases[i].map, .error = cases[i].error};
        void *row_state = &row;

        check_row(&row_state);
    }
}

/* What libvirt is asked to expand. */
static void
test_host_cpu(void **state)
{
    static const struct {
        const char *dom, *cpu;
    } cases[] = {
        {DOM(CUSTOM(USABLE("yes", "A"))
                 HOST("B", FEATURE("require", "aes") FEATURE("disable", "rtm"))),
         "<cpu mode='custom' match='exact'><model fallback='forbid'>B</model><vendor>Intel</vendor>"
         "<feature policy='require' name='aes'/><feature policy='disable' name='rtm'/></cpu>"},
        {DOM("<mode name='host-model'><model>z14.2-base</model></mode>"),
         "<cpu mode='custom' match='exact'><model fallback='forbid'>z14.2-base</model></cpu>"},
        {DOM(HOST("a&amp;b", "")), NULL}, /* nothing that would have to be escaped */
        {DOM("<mode name='host-model' supported='no'/>"), NULL},
        {DOM(CUSTOM(USABLE("yes", "A"))), NULL},
        {"<capabilities/>", NULL},
        {"", NULL},
    };
    struct arena *a = arena_new();

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct labeller_text text = {"dom", cases[i].dom};
        const char *cpu = labeller_host_cpu(&text, a);

        if (cases[i].cpu)
            assert_string_equal(cpu, cases[i].cpu);
        else
            assert_null(cpu);
    }
    arena_free(a);
}

static void
test_owns(void **state)
{
    (void)state;
    assert_true(labeller_owns("cpu-model.node.kubevirt.io/X"));
    assert_true(labeller_owns("kubevirt.io/s390-pv"));
    assert_false(labeller_owns("kubevirt.io/schedulable"));
    assert_false(labeller_owns("kubevirt.io/sev-other"));
    assert_false(labeller_owns("feature.node.kubernetes.io/cpu-model.vendor_id"));
    assert_false(labeller_owns("cpu-model"));
}

int
main(void)
{
    struct CMUnitTest tests[ARRAY_LEN(rows) + 5];
    size_t n = 0;

    for (; n < ARRAY_LEN(rows); n++)
        tests[n] = (struct CMUnitTest){.name = rows[n].name,
                                       .test_func = check_row,
                                       .initial_state = (void *)(uintptr_t)&rows[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_documents_example);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_base_table);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_limits);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_host_cpu);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_owns);
    return _cmocka_run_group_tests("labeller", tests, n, NULL, NULL);
}
