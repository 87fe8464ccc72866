/* See xml_rows.h. */
#include "tests/handler/xml_rows.h"

#pragma GCC diagnostic ignored "-Wmissing-field-initializers" /* rows say what they have */

#define MEM          "memory: {guest: 64Mi}"
#define DOMAIN(text) "{domain: {" MEM ", " text "}}"
#define DEVICE(text) DOMAIN("devices: {" text "}")
#define DISK(text)                                                                                \
    "{domain: {" MEM ", devices: {disks: [{name: a, " text "}]}}, volumes: [{name: a, hostDisk: " \
    "{path: /srv/a.img, type: Disk}}]}"
#define LUN(text)                                                                       \
    "{domain: {" MEM ", devices: {disks: [{name: a, " text "}]}}, volumes: [{name: a, " \
    "persistentVolumeClaim: {claimName: block-a}}]}"
#define NIC(text)                                                                                  \
    "{domain: {" MEM ", devices: {interfaces: [{name: n, " text "}]}}, networks: [{name: n, pod: " \
    "{}}]}"
#define MULTUS(text, net)                                                                     \
    "{domain: {" MEM ", devices: {interfaces: [{name: n, " text "}]}}, networks: [{name: n, " \
    "multus: {networkName: " net "}}]}"
#define HYPERV(text) DOMAIN("features: {hyperv: {" text "}}")
#define TIMER(text)  DOMAIN("clock: {timer: {" text "}}")
#define NAD(name, config)                                                                         \
    "\n---\nkind: NetworkAttachmentDefinition\nmetadata: {namespace: ns, name: " name "}\nspec: " \
    "{config: '" config "'}\n"

static void
emulated(struct lv_xml_config *c)
{
    c->kvm = false;
}

static void
emulated_odd(struct lv_xml_config *c)
{
    c->kvm = false;
    c->odd_memory = true;
}

static void
half_a_kvm(struct lv_xml_config *c)
{
    c->broken_feature = "arch-capabilities";
}

static void
two_cpus(struct lv_xml_config *c)
{
    static const char *const cpus[] = {"4", "6"};

    c->cpuset = cpus;
    c->cpuset_len = 2;
    c->emulator_cpuset = "7";
}

static void
two_cpus_shared(struct lv_xml_config *c)
{
    two_cpus(c);
    c->emulator_cpuset = NULL;
}

static void
with_bridge(struct lv_xml_config *c)
{
    c->vm_bridge = "br0";
}

static void
with_swtpm(struct lv_xml_config *c)
{
    c->swtpm = true;
}

static void
own_firmware(struct lv_xml_config *c)
{
    c->firmware_code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    c->firmware_vars = "/usr/share/OVMF/OVMF_VARS_4M.fd";
}

const struct xml_row xml_rows[] = {
    /* memory */
    {"memory in bytes", "{domain: {memory: {guest: \"67108864\"}}}", {{"memory", "65536"}}},
    {"memory as requested",
     "{domain: {resources: {requests: {memory: 96Mi}}}}",
     {{"memory", "98304"}}},
    {"memory's limit", "{domain: {resources: {limits: {memory: 97Mi}}}}", {{"memory", "99328"}}},
    {"guest memory before what is requested",
     "{domain: {memory: {guest: 64Mi}, resources: {requests: {memory: 96Mi}}}}",
     {{"memory", "65536"}}},
    {"memory in decimal units", "{domain: {memory: {guest: 100M}}}", {{"memory", "97656"}}},
    {"huge pages",
     "{domain: {memory: {guest: 64Mi, hugepages: {pageSize: 2Mi}}}}",
     {{"memoryBacking/hugepages/page@size", "2048"}, {"memoryBacking/source@type", "memfd"}},
     .host = true},
    {"odd memory of emulated guests",
     DOMAIN("devices: {}"),
     {{"memory", "65536"},
      {"qemu:commandline/qemu:arg[0]@value", "-m"},
      {"qemu:commandline/qemu:arg[1]@value", "65544K"},
      {"qemu:commandline/qemu:arg[3]@value", "memory-backend-memfd,id=odd,share=on,size=65544K"}},
     .change = emulated_odd},
    /* CPUs */
    {"topology",
     DOMAIN("cpu: {sockets: 2, cores: 3, threads: 2}"),
     {{"vcpu", "12"},
      {"cpu/topology@sockets", "2"},
      {"cpu/topology@cores", "3"},
      {"cpu/topology@threads", "2"}}},
    {"CPU limit",
     DOMAIN("resources: {requests: {cpu: 1}, limits: {cpu: 2500m}}"),
     {{"vcpu", "3"}, {"cpu/topology@sockets", "3"}}},
    {"CPU request", DOMAIN("resources: {requests: {cpu: 2}}"), {{"vcpu", "2"}}},
    {"no CPU", DOMAIN("devices: {}"), {{"vcpu", "1"}, {"cpu@mode", "host-model"}}},
    {"named model",
     DOMAIN("cpu: {model: Westmere}"),
     {{"cpu@mode", "custom"}, {"cpu/model", "Westmere"}, {"cpu/model@fallback", "forbid"}},
     .change = emulated},
    {"host-passthrough",
     DOMAIN("cpu: {model: host-passthrough}"),
     {{"cpu@mode", "host-passthrough"}}},
    {"host-model", DOMAIN("cpu: {model: host-model}"), {{"cpu@mode", "host-model"}}},
    {"host-model where a feature does not work",
     DOMAIN("devices: {}"),
     {{"cpu@mode", "host-model"},
      {"cpu/feature@name", "arch-capabilities"},
      {"cpu/feature@policy", "disable"}},
     .change = half_a_kvm},
    {"a feature that does not work, asked for",
     DOMAIN("cpu: {model: host-model, features: [{name: arch-capabilities, policy: require}]}"),
     {{"cpu/feature@name", "arch-capabilities"}, {"cpu/feature@policy", "require"}},
     .change = half_a_kvm},
    {"a feature that does not work, with a named model",
     DOMAIN("cpu: {model: Westmere, features: [{name: aes}]}"),
     {{"cpu@mode", "custom"}, {"cpu/feature@name", "aes"}},
     .change = half_a_kvm},
    {"host-model, emulated",
     DOMAIN("cpu: {model: host-model}"),
     {{"cpu@mode", "host-model"}},
     .change = emulated},
    {"emulated, libvirt's own model",
     DOMAIN("cpu: {cores: 1}"),
     {{"@type", "qemu"}, {"cpu@mode", NULL}, {"cpu/topology@cores", "1"}},
     .change = emulated},
    {"CPU features",
     DOMAIN("cpu: {features: [{name: vmx, policy: disable}, {name: aes}]}"),
     {{"cpu/feature[0]@name", "vmx"},
      {"cpu/feature[0]@policy", "disable"},
      {"cpu/feature[1]@policy", "require"}}},
    {"CPU features, emulated",
     DOMAIN("cpu: {features: [{name: aes, policy: require}]}"),
     {{"cpu/model", "qemu64"}, {"cpu/feature@name", "aes"}},
     .change = emulated},
    {"dedicated CPUs",
     DOMAIN("cpu: {cores: 2, dedicatedCpuPlacement: true, isolateEmulatorThread: true}"),
     {{"cputune/vcpupin[1]@vcpu", "1"},
      {"cputune/vcpupin[1]@cpuset", "6"},
      {"cputune/emulatorpin@cpuset", "7"}},
     .change = two_cpus,
     .host = true},
    {"dedicated CPUs, emulator anywhere",
     DOMAIN("cpu: {cores: 2, dedicatedCpuPlacement: true}"),
     {{"cputune/vcpupin[0]@cpuset", "4"}, {"cputune/emulatorpin@", NULL}},
     .change = two_cpus_shared,
     .host = true},
    /* machine, firmware, identity */
    {"machine type", DOMAIN("machine: {type: pc-q35-7.2}"), {{"os/type@machine", "pc-q35-7.2"}}},
    {"older machine", DOMAIN("machine: {type: pc}"), {{"os/type@machine", "pc"}}},
    {"architecture", "{architecture: amd64, domain: {" MEM "}}", {{"os/type@arch", "x86_64"}}},
    {"BIOS on the serial line",
     DOMAIN("firmware: {bootloader: {bios: {useSerial: true}}}"),
     {{"os/bios@useserial", "yes"}}},
    {"EFI",
     DOMAIN("firmware: {bootloader: {efi: {secureBoot: false, persistent: false}}}"),
     {{"os@firmware", "efi"}, {"os/firmware/feature@enabled", "no"}, {"os/nvram", "/g/nvram.fd"}}},
    {"EFI with secure boot",
     DOMAIN("firmware: {bootloader: {efi: {}}}, features: {smm: {enabled: true}}"),
     {{"os/loader@secure", "yes"},
      {"os/firmware/feature@enabled", "yes"},
      {"features/smm@state", "on"}}},
    {"EFI of one's own",
     DOMAIN("firmware: {bootloader: {efi: {secureBoot: false}}}"),
     {{"os@firmware", NULL},
      {"os/loader", "/usr/share/OVMF/OVMF_CODE_4M.fd"},
      {"os/nvram@template", "/usr/share/OVMF/OVMF_VARS_4M.fd"}},
     .change = own_firmware},
    {"uuid and serial",
     DOMAIN("firmware: {uuid: 5d307ca9-b3ef-428c-8861-06e72d69f223, serial: e4686d2c}"),
     {{"uuid", "5d307ca9-b3ef-428c-8861-06e72d69f223"},
      {"sysinfo/system/entry", "e4686d2c"},
      {"os/smbios@mode", "sysinfo"}}},
    {"chassis",
     DOMAIN("chassis: {manufacturer: m, version: v, serial: s, asset: a, sku: k}"),
     {{"sysinfo/chassis/entry[0]", "m"},
      {"sysinfo/chassis/entry[1]", "v"},
      {"sysinfo/chassis/entry[2]", "s"},
      {"sysinfo/chassis/entry[3]", "a"},
      {"sysinfo/chassis/entry[4]", "k"}}},
    {"kernel",
     DOMAIN("firmware: {kernelBoot: {kernelArgs: \"a=1 b='<&>'\", container: {image: i, "
            "kernelPath: /k, initrdPath: /i, imagePullPolicy: Always, imagePullSecret: s}}}"),
     {{"os/kernel", "/images/k"}, {"os/initrd", "/images/i"}, {"os/cmdline", "a=1 b='<&>'"}}},
    {"reboot ends it", DOMAIN("rebootPolicy: Terminate"), {{"on_reboot", "destroy"}}},
    {"reboot", DOMAIN("rebootPolicy: Reboot"), {{"on_reboot", "restart"}}},
    /* clock */
    {"clock with an offset",
     DOMAIN("clock: {utc: {offsetSeconds: -3600}}"),
     {{"clock@offset", "variable"}, {"clock@adjustment", "-3600"}, {"clock@basis", "utc"}}},
    {"clock of a zone",
     DOMAIN("clock: {timezone: Europe/Berlin}"),
     {{"clock@offset", "timezone"}, {"clock@timezone", "Europe/Berlin"}}},
    {"clock", DOMAIN("clock: {utc: {}}"), {{"clock@offset", "utc"}}},
    {"hpet", TIMER("hpet: {present: false}"), {{"clock/timer@present", "no"}}},
    {"hpet's ticks",
     TIMER("hpet: {tickPolicy: delay}"),
     {{"clock/timer@name", "hpet"}, {"clock/timer@tickpolicy", "delay"}}},
    {"pit", TIMER("pit: {present: true, tickPolicy: delay}"), {{"clock/timer@name", "pit"}}},
    {"rtc",
     TIMER("rtc: {present: true, tickPolicy: catchup, track: guest}"),
     {{"clock/timer@tickpolicy", "catchup"}, {"clock/timer@track", "guest"}}},
    {"kvmclock", TIMER("kvm: {present: false}"), {{"clock/timer@name", "kvmclock"}}},
    {"hypervclock", TIMER("hyperv: {present: true}"), {{"clock/timer@name", "hypervclock"}}},
    /* features */
    {"acpi off", DOMAIN("features: {acpi: {enabled: false}}"), {{"features/acpi@", NULL}}},
    {"apic",
     DOMAIN("features: {apic: {enabled: true, endOfInterrupt: false}}"),
     {{"features/apic@eoi", "off"}}},
    {"kvm hidden",
     DOMAIN("features: {kvm: {hidden: true}}"),
     {{"features/kvm/hidden@state", "on"}}},
    {"pvspinlock",
     DOMAIN("features: {pvspinlock: {enabled: false}}"),
     {{"features/pvspinlock@state", "off"}}},
    {"smm", DOMAIN("features: {smm: {}}"), {{"features/smm@state", "on"}}},
    {"hyperv as the host has it",
     DOMAIN("features: {hypervPassthrough: {enabled: true}}"),
     {{"features/hyperv@mode", "passthrough"}}},
    {"hyperv: what needs nothing",
     HYPERV("relaxed: {enabled: true}, vapic: {enabled: true}, reset: {enabled: true}, runtime: "
            "{enabled: true}, frequencies: {enabled: true}, reenlightenment: {enabled: false}"),
     {{"features/hyperv/relaxed@state", "on"},
      {"features/hyperv/vapic@state", "on"},
      {"features/hyperv/reset@state", "on"},
      {"features/hyperv/runtime@state", "on"},
      {"features/hyperv/frequencies@state", "on"},
      {"features/hyperv/reenlightenment@state", "off"}}},
    {"hyperv: spinlocks",
     HYPERV("spinlocks: {enabled: true, spinlocks: 8191}"),
     {{"features/hyperv/spinlocks@retries", "8191"}}},
    {"hyperv: synic and what needs it",
     DOMAIN("clock: {timer: {hyperv: {present: true}}}, features: {hyperv: {vpindex: {enabled: "
            "true}, synic: {enabled: true}, synictimer: {enabled: true, direct: {enabled: true}}, "
            "ipi: {enabled: true}, tlbflush: {enabled: true}}}"),
     {{"features/hyperv/vpindex@state", "on"},
      {"features/hyperv/synic@state", "on"},
      {"features/hyperv/stimer@state", "on"},
      {"features/hyperv/stimer/direct@state", "on"},
      {"features/hyperv/ipi@state", "on"},
      {"features/hyperv/tlbflush@state", "on"}}},
    {"hyperv: vendor",
     HYPERV("vendorid: {enabled: true, vendorid: randomid}"),
     {{"features/hyperv/vendor_id@value", "randomid"}}},
    {"hyperv: evmcs",
     HYPERV("vapic: {enabled: true}, evmcs: {enabled: false}"),
     {{"features/hyperv/evmcs@state", "off"}}},
    /* disks */
    {"disk",
     DISK("disk: {bus: virtio}"),
     {{"devices/disk@type", "file"},
      {"devices/disk@device", "disk"},
      {"devices/disk/source@file", "/srv/a.img"},
      {"devices/disk/target@dev", "vda"},
      {"devices/disk/driver@error_policy", "stop"},
      {"devices/disk/readonly@", NULL}}},
    {"disk of no kind",
     DISK("bootOrder: 1"),
     {{"devices/disk/target@bus", "sata"}, {"devices/disk/boot@order", "1"}}},
    {"block device",
     LUN("disk: {bus: scsi}"),
     {{"devices/disk@type", "block"},
      {"devices/disk/source@dev", "/disks/a"},
      {"devices/controller[1]@model", "virtio-scsi"}}},
    {"lun", LUN("lun: {bus: scsi, readonly: true}"), {{"devices/disk@device", "lun"}}},
    {"cdrom",
     DISK("cdrom: {bus: sata, readonly: true, tray: open}"),
     {{"devices/disk@device", "cdrom"},
      {"devices/disk/readonly@", ""},
      {"devices/disk/target@tray", "open"},
      {"devices/disk/driver@discard", NULL}}},
    {"read-only disk",
     DISK("disk: {bus: virtio, readonly: true}"),
     {{"devices/disk/readonly@", ""}}},
    {"usb disk",
     DISK("disk: {bus: usb}"),
     {{"devices/controller@model", "qemu-xhci"}, {"devices/disk/target@dev", "sda"}}},
    {"cache, io, errors",
     DISK("disk: {bus: virtio}, cache: none, io: native, errorPolicy: report"),
     {{"devices/disk/driver@cache", "none"},
      {"devices/disk/driver@io", "native"},
      {"devices/disk/driver@error_policy", "report"}}},
    {"serial", DISK("disk: {bus: virtio}, serial: D-1"), {{"devices/disk/serial", "D-1"}}},
    {"shareable", DISK("disk: {bus: virtio}, shareable: true"), {{"devices/disk/shareable@", ""}}},
    {"block size",
     DISK("disk: {bus: virtio}, blockSize: {custom: {logical: 512, physical: 4096}}"),
     {{"devices/disk/blockio@logical_block_size", "512"},
      {"devices/disk/blockio@physical_block_size", "4096"}}},
    {"PCI address of a disk",
     DISK("disk: {bus: virtio, pciAddress: \"0000:00:0b.0\"}"),
     {{"devices/disk/address@slot", "0x0b"}, {"devices/disk/address@function", "0x0"}}},
    {"a thread of its own",
     DISK("disk: {bus: virtio}, dedicatedIOThread: true"),
     {{"iothreads", "1"}, {"devices/disk/driver@iothread", "1"}}},
    {"two disks, one shared thread",
     "{domain: {" MEM
     ", ioThreadsPolicy: shared, devices: {disks: [{name: a, disk: {bus: virtio}}, "
     "{name: b, disk: {bus: virtio}, dedicatedIOThread: true}, {name: c, disk: {bus: virtio}}, "
     "{name: d, disk: {}}]}}, volumes: [{name: a}, {name: b}, {name: c}, {name: d}]}",
     {{"iothreads", "2"},
      {"devices/disk[0]/driver@iothread", "1"},
      {"devices/disk[1]/driver@iothread", "2"},
      {"devices/disk[2]/driver@iothread", "1"},
      {"devices/disk[3]/driver@iothread", NULL},
      {"devices/disk[3]/target@dev", "sda"}}},
    {"threads by themselves",
     "{domain: {" MEM ", ioThreadsPolicy: auto, devices: {disks: [{name: a, disk: {bus: virtio}}, "
     "{name: b, disk: {bus: virtio}}, {name: c, disk: {bus: virtio}}]}}, volumes: [{name: a}, "
     "{name: b}, {name: c}]}",
     {{"iothreads", "2"},
      {"devices/disk[1]/driver@iothread", "2"},
      {"devices/disk[2]/driver@iothread", "1"}}},
    {"a queue a vCPU",
     "{domain: {" MEM ", cpu: {cores: 2}, devices: {blockMultiQueue: true, disks: [{name: a, disk: "
     "{bus: virtio}}]}}, volumes: [{name: a}]}",
     {{"devices/disk/driver@queues", "2"}}},
    {"overlay",
     "{domain: {" MEM ", devices: {disks: [{name: a, disk: {bus: virtio}}]}}, volumes: [{name: a, "
     "containerDisk: {image: i}}]}",
     {{"devices/disk/driver@type", "qcow2"},
      {"devices/disk/source@file", "/g/a.qcow2"},
      {"devices/disk/backingStore/source@file", "/images/a"},
      {"devices/disk/backingStore/format@type", "raw"}}},
    /* interfaces */
    {"no interface: one on the user network",
     DOMAIN("devices: {}"),
     {{"devices/interface@type", "user"}, {"devices/interface/rom@enabled", "no"}}},
    {"no interface at all",
     DEVICE("autoattachPodInterface: false"),
     {{"devices/interface@", NULL}}},
    {"masquerade",
     NIC("masquerade: {}"),
     {{"devices/interface@type", "user"}, {"devices/interface/model@type", "virtio"}}},
    {"slirp", NIC("slirp: {}"), {{"devices/interface@type", "user"}}},
    {"its subnet",
     "{domain: {" MEM ", devices: {interfaces: [{name: n, masquerade: {}}]}}, networks: [{name: n, "
     "pod: {vmNetworkCIDR: 10.11.12.0/24, vmIPv6NetworkCIDR: \"fd10:0:2::/64\"}}]}",
     {{"devices/interface/ip[0]@address", "10.11.12.0"},
      {"devices/interface/ip[0]@prefix", "24"},
      {"devices/interface/ip[1]@address", "fd10:0:2::"}}},
    {"bridge of the host",
     NIC("bridge: {}"),
     {{"devices/interface@type", "bridge"}, {"devices/interface/source@bridge", "br0"}},
     .change = with_bridge},
    {"MAC, model, state, boot order",
     NIC("masquerade: {}, macAddress: \"02-00-00-00-BE-AF\", model: e1000e, state: down, "
         "bootOrder: 2"),
     {{"devices/interface/mac@address", "02:00:00:00:be:af"},
      {"devices/interface/model@type", "e1000e"},
      {"devices/interface/link@state", "down"},
      {"devices/interface/boot@order", "2"},
      {"devices/interface/rom@", NULL}}},
    {"absent interface", NIC("masquerade: {}, state: absent"), {{"devices/interface@", NULL}}},
    {"PCI address and ACPI index",
     NIC("masquerade: {}, pciAddress: \"0000:00:0a.0\", acpiIndex: 101"),
     {{"devices/interface/address@slot", "0x0a"}, {"devices/interface/acpi@index", "101"}}},
    {"a bridge's queues",
     "{domain: {" MEM ", cpu: {cores: 2}, devices: {networkInterfaceMultiqueue: true, interfaces: "
     "[{name: n, bridge: {}}]}}, networks: [{name: n, pod: {}}]}",
     {{"devices/interface/driver@queues", "2"}},
     .change = with_bridge},
    {"bridge by multus",
     MULTUS("bridge: {}", "ns/red"),
     {{"devices/interface/source@bridge", "br1"}, {"devices/interface/mtu@size", "9000"}},
     NAD("red", "{\"type\": \"cnv-bridge\", \"bridge\": \"br1\", \"mtu\": 9000}")},
    {"bridge in a list of plugins",
     MULTUS("bridge: {}", "red"),
     {{"devices/interface/source@bridge", "br1"}},
     NAD("red",
         "{\"plugins\": [{\"type\": \"bridge\", \"bridge\": \"br1\"}, {\"type\": \"tuning\"}]}")},
    {"macvlan by multus",
     MULTUS("bridge: {}", "red"),
     {{"devices/interface@type", "direct"},
      {"devices/interface/source@dev", "eth1"},
      {"devices/interface/source@mode", "passthrough"}},
     NAD("red", "{\"type\": \"macvlan\", \"master\": \"eth1\", \"mode\": \"passthru\"}")},
    {"macvtap by multus",
     MULTUS("macvtap: {}", "red"),
     {{"devices/interface@type", "direct"}, {"devices/interface/source@dev", "eth2"}},
     "\n---\nkind: NetworkAttachmentDefinition\nmetadata: {namespace: ns, name: red, annotations: "
     "{k8s.v1.cni.cncf.io/resourceName: macvtap.network.kubevirt.io/eth2}}\nspec: {config: "
     "'{\"type\": \"macvtap\"}'}\n"},
    {"tap by multus",
     MULTUS("bridge: {}", "red"),
     {{"devices/interface@type", "ethernet"}, {"devices/interface/target@dev", "tap7"}},
     NAD("red", "{\"type\": \"tap\", \"device\": \"tap7\"}")},
    {"tap that libvirt names",
     MULTUS("bridge: {}", "red"),
     {{"devices/interface@type", "ethernet"}, {"devices/interface/target@", NULL}},
     NAD("red", "{\"type\": \"tap\"}")},
    {"tap on a bridge",
     MULTUS("bridge: {}", "red"),
     {{"devices/interface@type", "bridge"}},
     NAD("red", "{\"type\": \"tap\", \"bridge\": \"br3\"}")},
    /* other devices */
    {"no console", DEVICE("autoattachSerialConsole: false"), {{"devices/serial@", NULL}}},
    {"no log",
     DEVICE("logSerialConsole: false"),
     {{"devices/serial@", ""}, {"devices/serial/log@", NULL}}},
    {"no graphics",
     DEVICE("autoattachGraphicsDevice: false"),
     {{"devices/graphics@", NULL}, {"devices/video/model@type", "none"}}},
    {"video", DEVICE("video: {type: bochs}"), {{"devices/video/model@type", "bochs"}}},
    {"no balloon", DEVICE("autoattachMemBalloon: false"), {{"devices/memballoon@model", "none"}}},
    {"rng", DEVICE("rng: {}"), {{"devices/rng/backend", "/dev/urandom"}}},
    {"watchdog",
     DEVICE("watchdog: {name: w, i6300esb: {action: poweroff}}"),
     {{"devices/watchdog@action", "poweroff"}}},
    {"tablet",
     DEVICE("inputs: [{name: t, type: tablet, bus: usb}, {name: u, type: tablet, bus: virtio}]"),
     {{"devices/input[0]@bus", "usb"},
      {"devices/input[1]@bus", "virtio"},
      {"devices/controller@model", "qemu-xhci"}}},
    {"tablet by itself", DEVICE("autoattachInputDevice: true"), {{"devices/input@type", "tablet"}}},
    {"sound", DEVICE("sound: {name: s, model: ac97}"), {{"devices/sound@model", "ac97"}}},
    {"panic device", DEVICE("panicDevices: [{model: isa}]"), {{"devices/panic@model", "isa"}}},
    {"TPM",
     DEVICE("tpm: {enabled: true, persistent: false}"),
     {{"devices/tpm@model", "tpm-crb"}, {"devices/tpm/backend@version", "2.0"}},
     .change = with_swtpm,
     .host = true},
    {"no TPM", DEVICE("tpm: {enabled: false}"), {{"devices/tpm@", NULL}}},
    {"before virtio 1.0",
     "{domain: {" MEM ", devices: {useVirtioTransitional: true, rng: {}, disks: [{name: a, disk: "
     "{bus: virtio}}, {name: b, disk: {bus: scsi}}]}}, volumes: [{name: a}, {name: b}]}",
     {{"devices/disk@model", "virtio-transitional"},
      {"devices/interface/model@type", "virtio-transitional"},
      {"devices/rng@model", "virtio-transitional"},
      {"devices/memballoon@model", "virtio-transitional"},
      {"devices/controller[1]@model", "virtio-transitional"}}},
    /* the cluster's, and what asks for nothing */
    {"what is not the guest's",
     "{nodeSelector: {a: b}, affinity: {x: {}}, tolerations: [], topologySpreadConstraints: [], "
     "schedulerName: s, priorityClassName: p, evictionStrategy: LiveMigrate, "
     "terminationGracePeriodSeconds: 0, serviceAccountName: s, hostname: h, dnsPolicy: Default, "
     "readinessProbe: {tcpSocket: {port: 22}, periodSeconds: 5}, domain: {" MEM ", resources: "
     "{overcommitGuestOverhead: true, requests: {devices.kubevirt.io/kvm: 1}}, devices: "
     "{disableHotplug: true}}}",
     {{"vcpu", "1"}}},
    {"asked for nothing",
     "{accessCredentials: [], domain: {" MEM ", launchSecurity: null, devices: {gpus: [], "
     "hostDevices: [], autoattachVSOCK: false}}}",
     {{"vcpu", "1"}}},
};

const size_t xml_rows_len = ARRAY_LEN(xml_rows);

void
xml_row_run(const struct xml_row *row, struct xml_rig *r)
{
    AUTO_FREE char *yaml =
        xasprintf("%s%s%s", XML_ROW_HEAD, row->spec, row->nads ? row->nads : "\n");

    r->config = xml_rig_config();
    if (row->change)
        row->change(&r->config);
    xml_rig_run(r, yaml);
}
