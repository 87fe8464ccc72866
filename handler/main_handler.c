/* drover-handler: the node daemon. One on each host; runs guests, keeps the Node object alive and moves memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/ifname.h"
#include "api/names.h"
#include "api/selector.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/options.h"
#include "handler/handler.h"
#include "handler/limits.h"
#include "handler/net_apply.h"

#define DEFAULT_PODS 110

static const struct options_def defs[] = {
    {.name = "node-name",
     .type = OPTIONS_STRING,
     .arg = "NAME",
     .help = "name of this host's Node object"},
    {.name = "controller",
     .type = OPTIONS_STRING,
     .arg = "URL",
     .help = "the controller's API: http://IP:PORT or unix:PATH"},
    {.name = "state-dir",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .dflt = "/var/lib/drover",
     .help = "journals and guests are kept here"},
    {.name = "address",
     .type = OPTIONS_STRING,
     .arg = "IP",
     .help =
         "this host's management address; migrations use it only when no migration network is set"},
    {.name = "label",
     .type = OPTIONS_STRING,
     .arg = "KEY=VALUE",
     .repeat = true,
     .help = "a label of the Node"},
    {.name = "hypervisor",
     .type = OPTIONS_STRING,
     .arg = "auto|native|libvirt",
     .dflt = "auto",
     .help = "what VMs that do not say it themselves are made with; auto = libvirt where it "
             "answers, else native; native = libvirt is not used at all"},
    {.name = "libvirt-uri",
     .type = OPTIONS_STRING,
     .arg = "URI|none",
     .dflt = "qemu:///system",
     .help = "the libvirt that runs VMs, and is asked what this host's CPUs can do"},
    {.name = "images",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "images that VMs name as containerDisk and kernelBoot; without: images in the "
             "state directory"},
    {.name = "vm-bridge",
     .type = OPTIONS_STRING,
     .arg = "NAME",
     .help = "bridge of this host for interfaces of pod networks with binding bridge; without: "
             "they are refused"},
    {.name = "domcapabilities",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "what `virsh domcapabilities` printed, for the labels, instead of asking libvirt"},
    {.name = "capabilities",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "likewise, with --domcapabilities: what `virsh capabilities` printed"},
    {.name = "supported-features",
     .type = OPTIONS_STRING,
     .arg = "FILE",
     .help = "likewise, with --domcapabilities: what `virsh hypervisor-cpu-baseline --features` "
             "printed"},
    {.name = "cpu-map",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "libvirt's CPU map, when it is not in " LABELLER_CPU_MAP},
    {.name = "capacity-cpu",
     .type = OPTIONS_STRING,
     .arg = "QUANTITY",
     .dflt = "4",
     .help = "CPU that guests may request, such as 4 or 1500m"},
    {.name = "capacity-memory",
     .type = OPTIONS_SIZE,
     .dflt = "8Gi",
     .min = 4096,
     .help = "memory that guests may request"},
    {.name = "heartbeat-interval",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "10s",
     .help = "time between two heartbeats on the Node, 100ms to 10m"},
    {.name = "channels",
     .type = OPTIONS_INT,
     .dflt = "0",
     .min = 0,
     .max = 64,
     .help = "data channels of an outgoing migration, 0 = automatic"},
    {.name = "migration-bandwidth",
     .type = OPTIONS_SIZE,
     .arg = "BYTES",
     .dflt = "0",
     .min = 0,
     .help =
         "bytes a second that all outgoing migrations share by weight, such as 500Mi; 0 = no cap"},
    {.name = "migration-link-speed",
     .type = OPTIONS_STRING,
     .arg = "BYTES|auto",
     .dflt = "auto",
     .help =
         "bytes a second of the migration network's link, a cap like the other; 0 = no cap, auto "
         "= what real hardware says of itself"},
    {.name = "rdma-window",
     .type = OPTIONS_SIZE,
     .arg = "BYTES",
     .dflt = "1Gi",
     .min = HANDLER_MIN_RDMA_WINDOW,
     .help = "guest memory that each migration over RDMA registers at once, locked so long; less "
             "where the limit of locked memory is lower"},
    {.name = "no-rdma",
     .type = OPTIONS_BOOL,
     .help = "migrations from and to this node go over TCP, whatever their policy says"},
    {.name = "tls-dir",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help =
         "ca.crt, tls.crt and tls.key of this node, for migrations; read again when they change"},
    {.name = "insecure-plaintext",
     .type = OPTIONS_BOOL,
     .help = "migrations from and to this node are not encrypted and nobody proves who they are"},
    {.name = "network-probe-timeout",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .dflt = "30s",
     .help = "after a network policy was applied, the controller must answer within this, or all "
             "goes back to how it was; 1s to 10m"},
    {.name = "leave",
     .type = OPTIONS_BOOL,
     .help = "with --state-dir only: put the host's networks back to how they were before drover, "
             "and exit"},
    {.name = "metrics-listen",
     .type = OPTIONS_STRING,
     .arg = "ADDRESS:PORT",
     .help = "serve GET /metrics (Prometheus) there; nobody has to log in to read it"},
    {.name = "print-metrics",
     .type = OPTIONS_BOOL,
     .help = "alone: print the table of metrics, and exit"},
    {.name = "print-rdma",
     .type = OPTIONS_STRING,
     .arg = "ADDRESS",
     .help = "alone: print which RDMA device serves this address of the host, and exit"},
    {.name = "guest-program",
     .type = OPTIONS_STRING,
     .arg = "PATH",
     .help = "drover-guest, when it is not beside this program"},
    {.name = "log-level",
     .type = OPTIONS_INT,
     .dflt = "3",
     .min = 1,
     .max = 4,
     .help = "1 errors, 2 warnings, 3 information, 4 debugging"},
    {.name = "log-json", .type = OPTIONS_BOOL, .help = "log lines as JSON instead of logfmt"},
    {0},
};

static const struct options_program program = {
    .name = "drover-handler",
    .usage = "[OPTIONS] --node-name NAME --controller URL --address IP\n"
             "       drover-handler --leave [--state-dir DIR]",
    .about = "The node daemon: runs guests, reports the node, moves guest memory to other nodes.",
    .defs = defs,
};

static int config_of(const struct options *o, struct handler_config *c, struct err *err);
static int leave(const struct options *o, struct err *err);
static int hypervisor_of(const char *text, struct handler_config *c, struct err *err);
static int link_of(const char *text, struct handler_config *c, struct err *err);
static int add_label(struct handler_config *c, const char *text, struct err *err);

int
main(int argc, char **argv)
{
    AUTO_OPTIONS struct options *o = NULL;
    struct handler_config c = {0};
    struct err err = {0};
    int rc = fault_init(&err);

    if (argc == 2 && strcmp(argv[1], "--print-metrics") == 0) {
        AUTO_SB struct sb table = SB_INIT;

        node_metrics_docs(&table);
        fputs(sb_str(&table), stdout);
        return 0;
    }

    if (argc == 3 && strcmp(argv[1], "--print-rdma") == 0) {
        AUTO_TREE struct tree *t = node_rdma_tree(argv[2]);
        AUTO_SB struct sb json = SB_INIT;

        tree_to_json(t, 0, &json);
        puts(sb_str(&json));
        return 0;
    }

    if (rc == 0 && options_parse(&program, argc, argv, &o, &err) != 0) {
        fprintf(stderr, "%s\n", err_msg(&err)); /* begins with the program's name */
        return 1;
    }
    if (rc == 0 && options_help_wanted(o)) {
        AUTO_SB struct sb help = SB_INIT;

        options_help(&program, &help);
        fputs(sb_str(&help), stdout);
        return 0;
    }
    if (rc == 0)
        log_init("drover-handler", (enum log_level)options_int(o, "log-level"),
                 options_bool(o, "log-json"));
    if (rc == 0 && options_bool(o, "leave"))
        rc = leave(o, &err);
    else if (rc == 0 && (rc = config_of(o, &c, &err)) == 0)
        rc = handler_run(&c, &err);
    for (size_t i = 0; i < c.labels.len; i++)
        free((char *)(uintptr_t)c.labels.items[i].key);
    free(c.labels.items);
    if (rc != 0) {
        fprintf(stderr, "drover-handler: %s\n", err_msg(&err));
        return 1;
    }
    return 0;
}

static int
leave(const struct options *o, struct err *err)
{
    unsigned steps = 0;
    int rc = net_apply_leave(options_string(o, "state-dir"), &steps, err);

    if (rc == 0)
        printf("the host's networks are as they were before drover (%u steps)\n", steps);
    return rc;
}

static int
config_of(const struct options *o, struct handler_config *c, struct err *err)
{
    static const char *const needed[] = {"node-name", "controller", "address"};
    struct quantity cpu;
    int64_t beat_us, probe_us;
    int rc;

    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (!options_given(o, needed[i]))
            return err_set(err, -EINVAL, "--%s is missing (only --leave needs none)", needed[i]);

    c->node_name = options_string(o, "node-name");
    c->controller = options_string(o, "controller");
    c->state_dir = options_string(o, "state-dir");
    c->address = options_string(o, "address");
    c->metrics_listen = options_string(o, "metrics-listen");
    c->guest_program = options_string(o, "guest-program");
    c->tls_dir = options_string(o, "tls-dir");
    c->images = options_string(o, "images");
    c->vm_bridge = options_string(o, "vm-bridge");
    if (c->vm_bridge && !ifname_valid(c->vm_bridge))
        return err_set(err, -EINVAL, "--vm-bridge %s: %s", c->vm_bridge, IFNAME_TEXT);
    c->libvirt_uri = options_string(o, "libvirt-uri");
    if (strcmp(c->libvirt_uri, "none") == 0)
        c->libvirt_uri = NULL;
    rc = hypervisor_of(options_string(o, "hypervisor"), c, err);
    if (rc != 0)
        return rc;
    c->label_files = (struct labeller_files){
        .domcapabilities = options_string(o, "domcapabilities"),
        .capabilities = options_string(o, "capabilities"),
        .supported_features = options_string(o, "supported-features"),
        .cpu_map = options_string(o, "cpu-map"),
    };
    if (!c->label_files.domcapabilities &&
        (c->label_files.capabilities || c->label_files.supported_features))
        return err_set(err, -EINVAL,
                       "--capabilities and --supported-features: want --domcapabilities with them");
    c->plaintext = options_bool(o, "insecure-plaintext");
    if (c->tls_dir && c->plaintext)
        return err_set(err, -EINVAL, "--tls-dir and --insecure-plaintext: want one of them");
    c->capacity_memory_bytes = options_int(o, "capacity-memory");
    c->capacity_pods = DEFAULT_PODS;
    c->channels = (unsigned)options_int(o, "channels");
    c->no_rdma = options_bool(o, "no-rdma");
    c->rdma_window_bytes = (uint64_t)options_int(o, "rdma-window");
    c->bandwidth_bytes_per_s = (uint64_t)options_int(o, "migration-bandwidth");
    rc = link_of(options_string(o, "migration-link-speed"), c, err);
    if (rc != 0)
        return rc;
    rc = name_check(c->node_name, err);
    if (rc != 0)
        return err_prefix(err, rc, "--node-name %s", c->node_name);
    rc = quantity_parse(options_string(o, "capacity-cpu"), &cpu, err);
    if (rc == 0 && cpu.milli < 1)
        rc = err_set(err, -EINVAL, "want more than 0");
    if (rc != 0)
        return err_prefix(err, rc, "--capacity-cpu %s", options_string(o, "capacity-cpu"));
    c->capacity_cpu_milli = cpu.milli;
    rc = duration_parse(options_string(o, "heartbeat-interval"), &beat_us, err);
    if (rc == 0 && (beat_us < 100000 || beat_us > 600000000))
        rc = err_set(err, -EINVAL, "want 100ms to 10m");
    if (rc != 0)
        return err_prefix(err, rc, "--heartbeat-interval %s",
                          options_string(o, "heartbeat-interval"));
    c->heartbeat_us = (uint64_t)beat_us;
    rc = duration_parse(options_string(o, "network-probe-timeout"), &probe_us, err);
    if (rc == 0 && (probe_us < 1000000 || probe_us > 600000000))
        rc = err_set(err, -EINVAL, "want 1s to 10m");
    if (rc != 0)
        return err_prefix(err, rc, "--network-probe-timeout %s",
                          options_string(o, "network-probe-timeout"));
    c->probe_timeout_us = (uint64_t)probe_us;
    for (size_t i = 0; rc == 0 && i < options_count(o, "label"); i++)
        rc = add_label(c, options_nth(o, "label", i), err);
    return rc;
}

static int
hypervisor_of(const char *text, struct handler_config *c, struct err *err)
{
    static const char *const names[] = {[HANDLER_HV_AUTO] = "auto",
                                        [HANDLER_HV_NATIVE] = "native",
                                        [HANDLER_HV_LIBVIRT] = "libvirt"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) != 0)
            continue;
        c->hypervisor = (enum handler_hypervisor)i;
        if (c->hypervisor == HANDLER_HV_LIBVIRT && !c->libvirt_uri)
            return err_set(err, -EINVAL, "--hypervisor libvirt: want --libvirt-uri with it");
        return 0;
    }
    return err_set(err, -EINVAL, "--hypervisor %.64s: want auto, native or libvirt", text);
}

static int
link_of(const char *text, struct handler_config *c, struct err *err)
{
    int64_t bytes = 0;
    int rc;

    c->link_auto = strcmp(text, "auto") == 0;
    rc = c->link_auto ? 0 : options_parse_size(text, &bytes, err);
    if (rc != 0)
        return err_prefix(err, rc, "--migration-link-speed %s", text);
    c->link_bytes_per_s = (uint64_t)bytes;
    return 0;
}

static int
add_label(struct handler_config *c, const char *text, struct err *err)
{
    char *key = xstrdup(text), *value = strchr(key, '=');
    int rc;

    if (!value) {
        free(key);
        return err_set(err, -EINVAL, "--label %s: want KEY=VALUE", text);
    }
    *value++ = '\0';
    rc = label_key_check(key, err);
    if (rc == 0)
        rc = label_value_check(value, err);
    if (rc != 0) {
        free(key);
        return err_prefix(err, rc, "--label %s", text);
    }
    c->labels.items = xreallocarray(c->labels.items, c->labels.len + 1, sizeof *c->labels.items);
    c->labels.items[c->labels.len++] = (struct kv){key, value};
    return 0;
}
