/* VirtualMachine, VirtualMachineInstance and VirtualMachineInstanceMigration: hardware, devices, strategies. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/api/rows.h"

#define VM          "{apiVersion: kubevirt.io/v1, kind: VirtualMachine, metadata: {name: v}, spec: {%s}}"
#define OK_TEMPLATE "template: {spec: {domain: {memory: {guest: 1Gi}}}}"

static const struct object_row vm_rows[] = {
    {.name = "Always", .text = "runStrategy: Always, " OK_TEMPLATE},
    {.name = "RerunOnFailure", .text = "runStrategy: RerunOnFailure, " OK_TEMPLATE},
    {.name = "Manual", .text = "runStrategy: Manual, " OK_TEMPLATE},
    {.name = "Halted", .text = "runStrategy: Halted, " OK_TEMPLATE},
    {.name = "running",
     .text = "running: true, " OK_TEMPLATE,
     .warning = "spec.running is deprecated: use spec.runStrategy"},
    {.name = "no strategy",
     .text = OK_TEMPLATE,
     .warning = "spec has no runStrategy, which counts as Halted"},
    {.name = "no strategy in a file",
     .text = OK_TEMPLATE,
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "running and runStrategy",
     .text = "running: true, runStrategy: Always, " OK_TEMPLATE,
     .error = "spec.running: Invalid value: true: running and runStrategy are mutually exclusive"},
    {.name = "strategy in lower case (seeds S08)",
     .text = "runStrategy: always, " OK_TEMPLATE,
     .error = "spec.runStrategy: Unsupported value: \"always\": supported values: \"Always\", "
              "\"RerunOnFailure\", \"Manual\", \"Once\", \"Halted\" (did you mean \"Always\"? "
              "Upper and lower "
              "case differ)"},
    {.name = "strategy Running",
     .text = "runStrategy: Running, " OK_TEMPLATE,
     .error = "spec.runStrategy: Unsupported value: \"Running\""},
    {.name = "RunStrategy as a field",
     .text = "RunStrategy: Always, " OK_TEMPLATE,
     .error = "unknown field \"spec.RunStrategy\" (did you mean \"runStrategy\"?)"},
    {.name = "running as a text",
     .text = "running: \"yes\", " OK_TEMPLATE,
     .error = "spec.running: Invalid value: \"yes\": want true or false, not a string"},
    {.name = "running as yes",
     .text = "running: yes, " OK_TEMPLATE,
     .error = "spec.running: Invalid value: \"yes\": want true or false"},
    {.name = "no template",
     .text = "runStrategy: Always",
     .error = "spec.template: Required value"},
    {.name = "no template in a file",
     .text = "runStrategy: Always",
     .warning = "asks for no memory",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "no memory",
     .text = "runStrategy: Always, template: {spec: {domain: {}}}",
     .warning = "spec asks for no memory"},
    {.name = "an instance type gives the memory",
     .text = "runStrategy: Always, instancetype: {name: u1.small}, template: {spec: {domain: {}}}",
     .warning = "spec.instancetype is kept, but not acted on yet"},
    {.name = "kept fields of the VM",
     .text = "runStrategy: Always, dataVolumeTemplates: [{any: thing}], " OK_TEMPLATE,
     .warning = "spec.dataVolumeTemplates is kept, but not acted on yet"},
    {.name = "labels of the template",
     .text = "runStrategy: Always, template: {metadata: {labels: {a: \"b c\"}}, spec: {domain: "
             "{memory: {guest: 1Gi}}}}",
     .error = "spec.template.metadata.labels: Invalid value: \"b c\""},
    {.name = "workload of the template",
     .text = "runStrategy: Always, template: {metadata: {annotations: {drover.io/workload: "
             "zipf, drover.io/workload-rate: 10Mi}}, spec: {domain: {memory: {guest: 1Gi}}}}"},
    {.name = "unknown workload",
     .text = "runStrategy: Always, template: {metadata: {annotations: {drover.io/workload: "
             "busy}}, spec: {domain: {memory: {guest: 1Gi}}}}",
     .error =
         "spec.template.metadata.annotations[drover.io/workload]: Unsupported value: \"busy\": "
         "supported values: \"idle\""},
    {.name = "bad rate of a workload",
     .text = "runStrategy: Always, template: {metadata: {annotations: {drover.io/workload-rate: "
             "fast}}, spec: {domain: {memory: {guest: 1Gi}}}}",
     .error = "annotations[drover.io/workload-rate]: Invalid value: \"fast\""},
    {.name = "negative rate of a workload",
     .text = "runStrategy: Always, template: {metadata: {annotations: {drover.io/workload-set: "
             "\"-1\"}}, spec: {domain: {memory: {guest: 1Gi}}}}",
     .error = "must be greater than or equal to 0"},
    {.name = "template as a list",
     .text = "runStrategy: Always, template: []",
     .error = "spec.template: Invalid value: []: want a map, not a list"},
    {.name = "unknown field of the VM",
     .text = "runStrategy: Always, replicas: 3, " OK_TEMPLATE,
     .error = "unknown field \"spec.replicas\""},
    {.name = "metadata misplaced under template.spec",
     .text =
         "runStrategy: Always, template: {spec: {metadata: {}, domain: {memory: {guest: 1Gi}}}}",
     .error = "unknown field \"spec.template.spec.metadata\""},
};

static void
test_vm(void **state)
{
    object_row_check(*state, VM);
}

#define DOMAIN                                                                               \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, spec: " \
    "{domain: {%s}}}"
#define MEM "memory: {guest: 1Gi}, "

static const struct object_row domain_rows[] = {
    {.name = "guest memory", .text = "memory: {guest: 1Gi}"},
    {.name = "memory as a number", .text = "memory: {guest: 1073741824}"},
    {.name = "requested memory", .text = "resources: {requests: {memory: 1Gi}}"},
    {.name = "limited memory", .text = "resources: {limits: {memory: 1Gi}}"},
    {.name = "no memory at all",
     .text = "cpu: {cores: 1}",
     .error = "spec: Required value: no memory requested, at least one of"},
    {.name = "no memory at all, in a file",
     .text = "cpu: {cores: 1}",
     .warning = "spec asks for no memory",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "memory with a blank (seeds A3.3)",
     .text = "memory: {guest: 64 Mi}",
     .error = "spec.domain.memory.guest: Invalid value: \"64 Mi\": it has a blank: want a quantity "
              "such as 64Mi"},
    {.name = "memory with a wrong suffix",
     .text = "memory: {guest: 1GB}",
     .error = "spec.domain.memory.guest: Invalid value: \"1GB\": its suffix is unknown"},
    {.name = "zero memory",
     .text = "memory: {guest: \"0\"}",
     .error = "spec.domain.memory.guest: Invalid value: \"0\": must be greater than 0"},
    {.name = "negative memory", .text = "memory: {guest: -1Gi}", .error = "must be greater than 0"},
    {.name = "memory as a boolean",
     .text = "memory: {guest: true}",
     .error = "spec.domain.memory.guest: Invalid value: true: want a quantity such as 64Mi, not a "
              "boolean"},
    {.name = "memory as a map",
     .text = "memory: {guest: {size: 1Gi}}",
     .error = "want a quantity such as 64Mi, not a map"},
    {.name = "memory beyond 64 bits",
     .text = "memory: {guest: 10E}",
     .error = "it is out of range"},
    {.name = "memory right under domain",
     .text = "guest: 1Gi",
     .error = "unknown field \"spec.domain.guest\""},
    {.name = "negative request",
     .text = MEM "resources: {requests: {cpu: \"-1\"}}",
     .error = "resources.requests.cpu: Invalid value: \"-1\": must be greater than or equal to 0"},
    {.name = "bad request",
     .text = MEM "resources: {requests: {cpu: two}}",
     .error = "resources.requests.cpu: Invalid value: \"two\""},
    {.name = "request above its limit",
     .text = MEM "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
     .error = "spec.domain.resources.requests.memory: Invalid value: \"2Gi\": must be less than or "
              "equal to memory limit"},
    {.name = "cpu request above its limit",
     .text = MEM "resources: {requests: {cpu: 1500m}, limits: {cpu: 1}}",
     .error = "must be less than or equal to cpu limit"},
    {.name = "guest memory above its limit",
     .text = "memory: {guest: 2Gi}, resources: {limits: {memory: 1Gi}}",
     .error = "spec.domain.memory.guest: Invalid value: \"2Gi\": must be equal to or less than the "
              "memory limit"},
    {.name = "device resources", .text = MEM "resources: {limits: {devices.kubevirt.io/kvm: 1}}"},
    {.name = "bad device resource",
     .text = MEM "resources: {limits: {devices.kubevirt.io/kvm: x}}",
     .error = "resources.limits[devices.kubevirt.io/kvm]: Invalid value: \"x\""},

    {.name = "huge pages", .text = "memory: {guest: 4Gi, hugepages: {pageSize: 1Gi}}"},
    {.name = "huge pages of 2Mi", .text = "memory: {guest: 64Mi, hugepages: {pageSize: 2Mi}}"},
    {.name = "huge pages that do not divide",
     .text = "memory: {guest: 1500Mi, hugepages: {pageSize: 1Gi}}",
     .error = "spec.domain.memory.guest: Invalid value: \"1500Mi\": must be divisible by the huge "
              "page size (1073741824 bytes)"},
    {.name = "a huge page larger than the memory",
     .text = "memory: {guest: 500Mi, hugepages: {pageSize: 1Gi}}",
     .error = "must be larger than the huge page size"},
    {.name = "a huge page as large as the memory",
     .text = "memory: {guest: 1Gi, hugepages: {pageSize: 1Gi}}",
     .error = "must be larger than the huge page size"},
    {.name = "huge pages against the request",
     .text = "resources: {requests: {memory: 3M}}, memory: {hugepages: {pageSize: 2Mi}}",
     .error = "spec.domain.resources.requests.memory: Invalid value: \"3M\": must be divisible"},
    {.name = "huge pages of another size",
     .text = "memory: {guest: 1Gi, hugepages: {pageSize: 4Mi}}",
     .error = "pageSize: Unsupported value: \"4Mi\": supported values: \"2Mi\", \"1Gi\""},
    {.name = "huge pages without a size",
     .text = "memory: {guest: 1Gi, hugepages: {}}",
     .error = "spec.domain.memory.hugepages.pageSize: Required value"},

    {.name = "cpu", .text = MEM "cpu: {sockets: 1, cores: 5, threads: 2, model: Haswell}"},
    {.name = "cpu features",
     .text =
         MEM "cpu: {features: [{name: apic, policy: require}, {name: x2apic}, {name: a, policy: "
             "force}, {name: b, policy: optional}, {name: c, policy: disable}, {name: d, "
             "policy: forbid}]}"},
    {.name = "zero cores",
     .text = MEM "cpu: {cores: 0}",
     .error = "spec.domain.cpu.cores: Invalid value: 0: must be between 1 and 4096"},
    {.name = "negative sockets",
     .text = MEM "cpu: {sockets: -2}",
     .error = "spec.domain.cpu.sockets: Invalid value: -2"},
    {.name = "too many threads",
     .text = MEM "cpu: {threads: 5000}",
     .error = "spec.domain.cpu.threads: Invalid value: 5000: must be between 1 and 4096"},
    {.name = "cores as a text",
     .text = MEM "cpu: {cores: \"2\"}",
     .error = "cores: Invalid value: \"2\": want an integer, not a string"},
    {.name = "cores as a fraction",
     .text = MEM "cpu: {cores: 1.5}",
     .error = "cores: Invalid value: 1.5: want an integer, not a number"},
    {.name = "model 486 without quotes",
     .text = MEM "cpu: {model: 486}",
     .error = "model: Invalid value: 486: want a string, not an integer (write it in quotes: "
              "\"486\")"},
    {.name = "unknown feature policy",
     .text = MEM "cpu: {features: [{name: apic, policy: needed}]}",
     .error = "features[0].policy: Unsupported value: \"needed\": supported values: \"force\", "
              "\"require\", \"optional\", \"disable\", \"forbid\""},
    {.name = "feature without a name",
     .text = MEM "cpu: {features: [{policy: require}]}",
     .error = "features[0].name: Required value"},
    {.name = "feature twice",
     .text = MEM "cpu: {features: [{name: apic}, {name: apic, policy: forbid}]}",
     .error = "features[1].name: Duplicate value: \"apic\""},
    {.name = "kept fields of the CPU",
     .text = MEM "cpu: {cores: 1, maxSockets: 4}",
     .warning = "spec.domain.cpu.maxSockets is kept, but not acted on yet"},
    {.name = "realtime", .text = MEM "cpu: {cores: 1, realtime: {mask: 0-3}}"},
    {.name = "all that Hyper-V asks of the host",
     .text =
         MEM "features: {hyperv: {vpindex: {}, synic: {}, synictimer: {direct: {enabled: true}},"
             " runtime: {}, reset: {}, tlbflush: {}, ipi: {}, frequencies: {}}}"},
    {.name = "SEV-ES", .text = MEM "launchSecurity: {sev: {policy: {encryptedState: true}}}"},

    {.name = "SEV", .text = MEM "launchSecurity: {sev: {}}"},
    {.name = "unknown launch security",
     .text = MEM "launchSecurity: {enclave: {}}",
     .error = "unknown field \"spec.domain.launchSecurity.enclave\""},
    {.name = "Hyper-V", .text = MEM "features: {hyperv: {reenlightenment: {enabled: false}}}"},
    {.name = "Hyper-V feature as a boolean",
     .text = MEM "features: {hyperv: {reenlightenment: true}}",
     .error = "reenlightenment: Invalid value: true: want a map, not a boolean"},
    {.name = "features that only the hypervisor acts on",
     .text = MEM "features: {acpi: {}, apic: {endOfInterrupt: true}, smm: {enabled: true}, kvm: "
                 "{hidden: true}, pvspinlock: {enabled: false}, hyperv: {relaxed: {}, vapic: {}, "
                 "spinlocks: {spinlocks: 8191}, vendorid: {vendorid: abc}}}"},
    {.name = "few spinlocks",
     .text = MEM "features: {hyperv: {spinlocks: {spinlocks: 12}}}",
     .error = "features.hyperv.spinlocks.spinlocks: Invalid value: 12"},
    {.name = "long vendor",
     .text = MEM "features: {hyperv: {vendorid: {vendorid: thirteen-char}}}",
     .error =
         "features.hyperv.vendorid.vendorid: Invalid value: \"thirteen-char\": must be at most "
         "12"},
    {.name = "feature with a typo",
     .text = MEM "features: {kvm: {hiden: true}}",
     .error = "unknown field \"spec.domain.features.kvm.hiden\" (did you mean \"hidden\"?)"},
    {.name = "firmware",
     .text =
         MEM "firmware: {uuid: 5d307ca9-b3ef-428c-8861-06e72d69f223, serial: s, bootloader: "
             "{efi: {secureBoot: false}}, kernelBoot: {kernelArgs: quiet, container: {image: i, "
             "kernelPath: /k, initrdPath: /i, imagePullPolicy: Always}}}"},
    {.name = "firmware's uuid",
     .text = MEM "firmware: {uuid: 5d307ca9}",
     .error = "firmware.uuid: Invalid value: \"5d307ca9\": must be a UUID"},
    {.name = "two boot loaders",
     .text = MEM "firmware: {bootloader: {bios: {}, efi: {secureBoot: false}}}",
     .error = "bios and efi are mutually exclusive"},
    {.name = "secure boot without SMM",
     .text = MEM "firmware: {bootloader: {efi: {}}}",
     .error = "firmware.bootloader.efi.secureBoot: Invalid value: null: is on unless"},
    {.name = "secure boot", .text = MEM "features: {smm: {}}, firmware: {bootloader: {efi: {}}}"},
    {.name = "kernel arguments without a kernel",
     .text = MEM "firmware: {kernelBoot: {kernelArgs: quiet}}",
     .error = "kernelBoot.kernelArgs: Invalid value: \"quiet\": cannot be given without container"},
    {.name = "kernel image without a path",
     .text = MEM "firmware: {kernelBoot: {container: {image: i}}}",
     .error = "kernelBoot.container: Required value: kernelPath or initrdPath must be given"},
    {.name = "kernel without an image",
     .text = MEM "firmware: {kernelBoot: {container: {kernelPath: /k}}}",
     .error = "kernelBoot.container.image: Required value"},
    {.name = "clock",
     .text = MEM "clock: {utc: {offsetSeconds: 60}, timer: {hpet: {present: false}, pit: "
                 "{tickPolicy: delay}, rtc: {tickPolicy: catchup, track: guest}, hyperv: {}, kvm: "
                 "{present: true}}}"},
    {.name = "two clocks",
     .text = MEM "clock: {utc: {}, timezone: Europe/Berlin}",
     .error = "clock.timezone: Invalid value: \"Europe/Berlin\": utc and timezone are mutually"},
    {.name = "unknown tick policy",
     .text = MEM "clock: {timer: {pit: {tickPolicy: late}}}",
     .error = "timer.pit.tickPolicy: Unsupported value: \"late\""},
    {.name = "chassis", .text = MEM "chassis: {manufacturer: m, sku: s}"},
    {.name = "unknown reboot policy",
     .text = MEM "rebootPolicy: Never",
     .error = "rebootPolicy: Unsupported value: \"Never\""},
    {.name = "unknown policy of I/O threads",
     .text = MEM "ioThreadsPolicy: many",
     .error = "ioThreadsPolicy: Unsupported value: \"many\""},
    {.name = "unknown feature",
     .text = MEM "features: {vmx: {}}",
     .error = "unknown field \"spec.domain.features.vmx\""},
    {.name = "GPU", .text = MEM "devices: {gpus: [{name: g, deviceName: nvidia.com/T4}]}"},
    {.name = "GPU without a name",
     .text = MEM "devices: {gpus: [{deviceName: nvidia.com/T4}]}",
     .error = "spec.domain.devices.gpus[0].name: Required value"},
    {.name = "host device twice",
     .text = MEM "devices: {hostDevices: [{name: a, deviceName: x}, {name: a, deviceName: y}]}",
     .error = "hostDevices[1].name: Duplicate value: \"a\""},
    {.name = "TPM", .text = MEM "devices: {tpm: {persistent: true}}"},
    {.name = "kept devices are named once",
     .text = MEM "devices: {downwardMetrics: {}}",
     .warning = "spec.domain.devices.downwardMetrics is kept, but not acted on yet"},
    {.name = "devices that only the hypervisor acts on",
     .text =
         MEM "devices: {rng: {}, watchdog: {name: w, i6300esb: {action: reset}}, inputs: [{name: "
             "t, type: tablet, bus: usb}], sound: {name: s, model: ich9}, video: {type: vga}, "
             "panicDevices: [{model: isa}], autoattachMemBalloon: false, blockMultiQueue: true, "
             "autoattachSerialConsole: true, networkInterfaceMultiqueue: true}"},
    {.name = "unknown input",
     .text = MEM "devices: {inputs: [{name: m, type: mouse}]}",
     .error = "inputs[0].type: Unsupported value: \"mouse\": supported values: \"tablet\""},
    {.name = "input twice",
     .text = MEM "devices: {inputs: [{name: t, type: tablet}, {name: t, type: tablet}]}",
     .error = "inputs[1].name: Duplicate value: \"t\""},
    {.name = "watchdog of no kind",
     .text = MEM "devices: {watchdog: {name: w}}",
     .error = "watchdog: Required value: a watchdog is i6300esb or diag288"},
    {.name = "watchdog that barks",
     .text = MEM "devices: {watchdog: {name: w, i6300esb: {action: bark}}}",
     .error = "i6300esb.action: Unsupported value: \"bark\""},
    {.name = "unknown sound",
     .text = MEM "devices: {sound: {name: s, model: sb16}}",
     .error = "sound.model: Unsupported value: \"sb16\""},
    {.name = "panic device without a model",
     .text = MEM "devices: {panicDevices: [{}]}",
     .error = "panicDevices[0].model: Required value"},
    {.name = "rng with a source",
     .text = MEM "devices: {rng: {source: x}}",
     .error = "unknown field \"spec.domain.devices.rng.source\""},
    {.name = "unknown device",
     .text = MEM "devices: {floppy: {}}",
     .error = "unknown field \"spec.domain.devices.floppy\""},
    {.name = "domain field with a typo",
     .text = MEM "resource: {}",
     .error = "unknown field \"spec.domain.resource\" (did you mean \"resources\"?)"},
};

static void
test_domain(void **state)
{
    object_row_check(*state, DOMAIN);
}

/* Rows with the content of spec.domain.devices, and what else stands in the spec. */
#define DEV(devices, spec) devices "}}" spec "}}"

static const struct object_row device_rows[] = {
    {.name = "disk and volume",
     .text = DEV("disks: [{name: d, disk: {bus: virtio}}]",
                 ", volumes: [{name: d, persistentVolumeClaim: {claimName: c}}]")},
    {.name = "volume without a disk gets one",
     .text = DEV("", ", volumes: [{name: d, dataVolume: {name: c}}]")},
    {.name = "sources",
     .text = DEV("", ", volumes: [{name: a, containerDisk: {image: i}}, {name: b, hostDisk: {path: "
                     "/p, type: Disk, shared: true}}, {name: c, emptyDisk: {capacity: 2Gi}}, "
                     "{name: e, ephemeral: {persistentVolumeClaim: {claimName: c}}}]")},
    {.name = "cloud-init",
     .text =
         DEV("", ", volumes: [{name: a, cloudInitNoCloud: {userData: x, networkData: y}}, {name: "
                 "b, cloudInitConfigDrive: {userDataBase64: eQ==, networkDataSecretRef: {name: "
                 "s}}}]")},
    {.name = "cloud-init with two texts",
     .text =
         DEV("", ", volumes: [{name: a, cloudInitNoCloud: {userData: x, userDataBase64: eA==}}]"),
     .error =
         "cloudInitNoCloud.userDataBase64: Forbidden: must not be given together with userData"},
    {.name = "cloud-init of another name",
     .text = DEV("", ", volumes: [{name: a, cloudInitNoCloud: {userdata: x}}]"),
     .error = "unknown field \"spec.volumes[0].cloudInitNoCloud.userdata\" (did you mean "
              "\"userData\"?)"},
    {.name = "a later source is kept, and named once",
     .text = DEV("", ", volumes: [{name: a, sysprep: {}}, {name: b, sysprep: {}}]"),
     .warning = "spec.volumes[0].sysprep is kept, but not acted on yet"},
    {.name = "all of a disk",
     .text = DEV(
         "disks: [{name: d, disk: {bus: virtio, readonly: true, pciAddress: \"0:0\"}, "
         "bootOrder: 1, serial: S-1, cache: none, io: native, errorPolicy: report, shareable: "
         "false, dedicatedIOThread: true, blockSize: {custom: {logical: 512, physical: 4096}}}]",
         ", volumes: [{name: d, containerDisk: {image: i}}]")},
    {.name = "cdrom that is open",
     .text = DEV("disks: [{name: d, cdrom: {bus: sata, tray: open, readonly: true}}]",
                 ", volumes: [{name: d, containerDisk: {image: i}}]")},
    {.name = "unknown cache",
     .text = DEV("disks: [{name: d, disk: {}, cache: unsafe}]",
                 ", volumes: [{name: d, containerDisk: {image: i}}]"),
     .error = "disks[0].cache: Unsupported value: \"unsafe\""},
    {.name = "first boot order is 1",
     .text = DEV("disks: [{name: d, disk: {}, bootOrder: 0}]",
                 ", volumes: [{name: d, containerDisk: {image: i}}]"),
     .error = "disks[0].bootOrder: Invalid value: 0"},
    {.name = "boot order twice",
     .text =
         DEV("disks: [{name: d, disk: {}, bootOrder: 2}], interfaces: [{name: n, masquerade: {}, "
             "bootOrder: 2}]",
             ", networks: [{name: n, pod: {}}], volumes: [{name: d, containerDisk: {image: i}}]"),
     .error =
         "interfaces[0].bootOrder: Invalid value: 2: must be a number that no other device has"},
    {.name = "serial with a slash",
     .text = DEV("disks: [{name: d, disk: {}, serial: a/b}]",
                 ", volumes: [{name: d, containerDisk: {image: i}}]"),
     .error = "disks[0].serial: Invalid value: \"a/b\""},
    {.name = "odd block size",
     .text =
         DEV("disks: [{name: d, disk: {}, blockSize: {custom: {logical: 513, physical: 4096}}}]",
             ", volumes: [{name: d, containerDisk: {image: i}}]"),
     .error = "blockSize.custom.logical: Invalid value: 513: must be a power of 2"},
    {.name = "all of an interface",
     .text =
         DEV("interfaces: [{name: n, masquerade: {}, model: e1000, state: down, macAddress: "
             "\"02:00:00:00:00:01\", ports: [{name: ssh, port: 22, protocol: TCP}], bootOrder: 1, "
             "acpiIndex: 7}]",
             ", networks: [{name: n, pod: {}}]")},
    {.name = "port of an unknown protocol",
     .text = DEV("interfaces: [{name: n, masquerade: {}, ports: [{port: 22, protocol: SCTP}]}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "ports[0].protocol: Unsupported value: \"SCTP\""},
    {.name = "port 0",
     .text = DEV("interfaces: [{name: n, masquerade: {}, ports: [{port: 0}]}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "ports[0].port: Invalid value: 0"},
    {.name = "disk without a volume",
     .text = DEV("disks: [{name: d, disk: {}}]", ", volumes: []"),
     .error = "spec.domain.devices.disks[0].name: Invalid value: \"d\": there is no volume of this "
              "name"},
    {.name = "disk without any volumes",
     .text = DEV("disks: [{name: d, disk: {}}]", ""),
     .error = "disks[0].name: Invalid value: \"d\": there is no volume"},
    {.name = "disk without any volumes, in a file",
     .text = DEV("disks: [{name: d, disk: {}}]", ""),
     .warning = "spec.domain.devices.disks has disks, but the manifest has no volumes",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "disk of another name, in a file",
     .text = DEV("disks: [{name: d, disk: {}}]", ", volumes: [{name: e, dataVolume: {name: c}}]"),
     .error = "disks[0].name: Invalid value: \"d\"",
     .flags = VALIDATE_CREATE | VALIDATE_OFFLINE},
    {.name = "disk twice",
     .text = DEV("disks: [{name: d, disk: {}}, {name: d, disk: {}}]",
                 ", volumes: [{name: d, dataVolume: {name: c}}]"),
     .error = "spec.domain.devices.disks[1].name: Duplicate value: \"d\""},
    {.name = "disk that is two things",
     .text = DEV("disks: [{name: d, disk: {}, cdrom: {}}]",
                 ", volumes: [{name: d, dataVolume: {name: c}}]"),
     .error = "disks[0].cdrom: Forbidden: the kind of device may be given only once, and disk is "
              "there"},
    {.name = "disk without a name",
     .text = DEV("disks: [{disk: {}}]", ""),
     .error = "disks[0].name: Required value"},
    {.name = "unknown bus",
     .text = DEV("disks: [{name: d, disk: {bus: ide}}]",
                 ", volumes: [{name: d, dataVolume: {name: c}}]"),
     .error = "disks[0].disk.bus: Unsupported value: \"ide\": supported values: \"virtio\", "
              "\"sata\", \"scsi\", \"usb\""},
    {.name = "cdrom on virtio",
     .text = DEV("disks: [{name: d, cdrom: {bus: virtio}}]",
                 ", volumes: [{name: d, dataVolume: {name: c}}]"),
     .error = "disks[0].cdrom.bus: Unsupported value: \"virtio\""},
    {.name = "unknown field of a disk",
     .text =
         DEV("disks: [{name: d, bus: virtio}]", ", volumes: [{name: d, dataVolume: {name: c}}]"),
     .error = "unknown field \"spec.domain.devices.disks[0].bus\""},
    {.name = "volume without a source",
     .text = DEV("", ", volumes: [{name: d}]"),
     .error = "spec.volumes[0]: Required value: a volume has one source"},
    {.name = "volume with two sources",
     .text = DEV("", ", volumes: [{name: d, dataVolume: {name: c}, emptyDisk: {capacity: 1Gi}}]"),
     .error = "volumes[0].emptyDisk: Forbidden: a volume has one source, and dataVolume is there"},
    {.name = "volume twice",
     .text = DEV("", ", volumes: [{name: d, dataVolume: {name: c}}, {name: d, dataVolume: {name: "
                     "e}}]"),
     .error = "spec.volumes[1].name: Duplicate value: \"d\""},
    {.name = "volume without a name",
     .text = DEV("", ", volumes: [{dataVolume: {name: c}}]"),
     .error = "volumes[0].name: Required value"},
    {.name = "volume with a bad name",
     .text = DEV("", ", volumes: [{name: D_1, dataVolume: {name: c}}]"),
     .error = "volumes[0].name: Invalid value: \"D_1\""},
    {.name = "claim without a name",
     .text = DEV("", ", volumes: [{name: d, persistentVolumeClaim: {}}]"),
     .error = "volumes[0].persistentVolumeClaim.claimName: Required value"},
    {.name = "claim under the wrong name",
     .text = DEV("", ", volumes: [{name: d, persistentVolumeClaim: {name: c}}]"),
     .error = "unknown field \"spec.volumes[0].persistentVolumeClaim.name\""},
    {.name = "unknown source",
     .text = DEV("", ", volumes: [{name: d, nfs: {server: s}}]"),
     .error = "unknown field \"spec.volumes[0].nfs\""},
    {.name = "emptyDisk without capacity",
     .text = DEV("", ", volumes: [{name: d, emptyDisk: {}}]"),
     .error = "emptyDisk.capacity: Required value"},
    {.name = "hostDisk of an unknown type",
     .text = DEV("", ", volumes: [{name: d, hostDisk: {path: /x, type: File}}]"),
     .error = "hostDisk.type: Unsupported value: \"File\": supported values: \"Disk\", "
              "\"DiskOrCreate\""},

    {.name = "interface and network",
     .text = DEV("interfaces: [{name: n, masquerade: {}, macAddress: \"de:ad:00:00:be:af\"}]",
                 ", networks: [{name: n, pod: {}}]")},
    {.name = "second network",
     .text = DEV("interfaces: [{name: n, bridge: {}}]",
                 ", networks: [{name: n, multus: {networkName: ns/nad}}]")},
    {.name = "interface without a network",
     .text = DEV("interfaces: [{name: n, masquerade: {}}]", ""),
     .error = "spec.domain.devices.interfaces[0].name: Invalid value: \"n\": there is no network "
              "of this name"},
    {.name = "network without an interface",
     .text = DEV("", ", networks: [{name: n, pod: {}}]"),
     .error = "spec.networks[0].name: Invalid value: \"n\": there is no interface of this name"},
    {.name = "two bindings",
     .text = DEV("interfaces: [{name: n, masquerade: {}, bridge: {}}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "interfaces[0].bridge: Forbidden: the binding may be given only once, and masquerade "
              "is there"},
    {.name = "unknown binding",
     .text = DEV("interfaces: [{name: n, nat: {}}]", ", networks: [{name: n, pod: {}}]"),
     .error = "unknown field \"spec.domain.devices.interfaces[0].nat\""},
    {.name = "binding as a boolean",
     .text = DEV("interfaces: [{name: n, masquerade: true}]", ", networks: [{name: n, pod: {}}]"),
     .error = "masquerade: Invalid value: true: want a map, not a boolean"},
    {.name = "bad MAC address",
     .text = DEV("interfaces: [{name: n, masquerade: {}, macAddress: \"de:ad:00:00:be\"}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "macAddress: Invalid value: \"de:ad:00:00:be\": must be a MAC address"},
    {.name = "MAC address with other letters",
     .text = DEV("interfaces: [{name: n, masquerade: {}, macAddress: \"de:ad:00:00:be:ag\"}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "must be a MAC address"},
    {.name = "two pod networks",
     .text = DEV("interfaces: [{name: n, masquerade: {}}, {name: m, bridge: {}}]",
                 ", networks: [{name: n, pod: {}}, {name: m, pod: {}}]"),
     .error = "spec.networks[1].pod: Forbidden: more than one network is the pod network"},
    {.name = "network that is both",
     .text = DEV("interfaces: [{name: n, bridge: {}}]",
                 ", networks: [{name: n, pod: {}, multus: {networkName: a}}]"),
     .error = "networks[0].multus: Forbidden: a network is pod or multus, not both"},
    {.name = "network that is neither",
     .text = DEV("interfaces: [{name: n, bridge: {}}]", ", networks: [{name: n}]"),
     .error = "spec.networks[0]: Required value: a network is pod or multus"},
    {.name = "multus without a name",
     .text = DEV("interfaces: [{name: n, bridge: {}}]", ", networks: [{name: n, multus: {}}]"),
     .error = "multus.networkName: Required value"},
    {.name = "multus with a bad name",
     .text = DEV("interfaces: [{name: n, bridge: {}}]",
                 ", networks: [{name: n, multus: {networkName: a/b/c}}]"),
     .error = "networkName: Invalid value: \"a/b/c\""},
    {.name = "unknown model",
     .text = DEV("interfaces: [{name: n, masquerade: {}, model: e2000}]",
                 ", networks: [{name: n, pod: {}}]"),
     .error = "model: Unsupported value: \"e2000\""},

    {.name = "eviction strategies", .text = DEV("", ", evictionStrategy: LiveMigrateIfPossible")},
    {.name = "External", .text = DEV("", ", evictionStrategy: External")},
    {.name = "LiveMigration (seeds E11)",
     .text = DEV("", ", evictionStrategy: LiveMigration"),
     .error = "spec.evictionStrategy: Unsupported value: \"LiveMigration\": supported values: "
              "\"LiveMigrate\", \"LiveMigrateIfPossible\", \"None\", \"External\" (did you mean "
              "\"LiveMigrate\"?)"},
    {.name = "shutdown (seeds E11)",
     .text = DEV("", ", evictionStrategy: shutdown"),
     .error = "(did you mean \"None\", which shuts the VM down when its node is drained?)"},
    {.name = "eviction strategy in lower case",
     .text = DEV("", ", evictionStrategy: none"),
     .error = "Unsupported value: \"none\""},
    {.name = "empty eviction strategy",
     .text = DEV("", ", evictionStrategy: \"\""),
     .error = "Unsupported value: \"\""},
    {.name = "hostname", .text = DEV("", ", hostname: h")},
    {.name = "bad hostname",
     .text = DEV("", ", hostname: a.b"),
     .error = "spec.hostname: Invalid value: \"a.b\""},
    {.name = "probes are kept",
     .text = DEV("", ", livenessProbe: {tcpSocket: {port: 1}}"),
     .warning = "spec.livenessProbe is kept"},
};

static void
test_device(void **state)
{
    const struct object_row *row = *state;
    struct object_row closed = *row;
    AUTO_FREE char *text = xasprintf(
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, spec: "
        "{domain: {memory: {guest: 1Gi}, devices: {%s",
        row->text);

    closed.text = text;
    object_row_check(&closed, NULL);
}

#define VMIM \
    "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstanceMigration, metadata: {name: m}, %s}"

static const struct object_row vmim_rows[] = {
    {.name = "migration", .text = "spec: {vmiName: vmi-fedora}"},
    {.name = "with a node selector",
     .text = "spec: {vmiName: v, addedNodeSelector: {kubernetes.io/hostname: n2}}"},
    {.name = "no VMI", .text = "spec: {}", .error = "spec.vmiName: Required value"},
    {.name = "empty VMI", .text = "spec: {vmiName: \"\"}", .error = "spec.vmiName: Required value"},
    {.name = "no spec", .text = "status: {}", .error = "spec: Required value"},
    {.name = "spec as null", .text = "spec: ", .error = "spec: Required value"},
    {.name = "bad VMI name",
     .text = "spec: {vmiName: <vm_name>}",
     .error = "spec.vmiName: Invalid value: \"<vm_name>\""},
    {.name = "vmName", .text = "spec: {vmName: v}", .error = "(did you mean \"vmiName\"?)"},
    {.name = "a target, which upstream has not",
     .text = "spec: {vmiName: v, targetNode: n2}",
     .error = "unknown field \"spec.targetNode\""},
    {.name = "bad selector",
     .text = "spec: {vmiName: v, addedNodeSelector: {a: [b]}}",
     .error = "spec.addedNodeSelector.a: Invalid value: [\"b\"]: want a string, not a list"},
    {.name = "priority is kept",
     .text = "spec: {vmiName: v, priority: system-critical}",
     .warning = "spec.priority is kept"},
    {.name = "unknown priority",
     .text = "spec: {vmiName: v, priority: urgent}",
     .error = "spec.priority: Unsupported value: \"urgent\""},
    {.name = "status",
     .text = "spec: {vmiName: v}, status: {phase: Running, anything: [1], migrationState: "
             "{sourceNode: n1, startTimestamp: \"2026-11-21T13:04:05Z\", endTimestamp: null, "
             "sourcePod: p, migrationConfiguration: {bandwidthPerMigration: 64Mi, x: y}}}"},
    {.name = "status of a wrong type",
     .text = "spec: {vmiName: v}, status: {phase: 5}",
     .error = "status.phase: Invalid value: 5: want a string"},
    {.name = "status is not looked at without being asked",
     .text = "spec: {vmiName: v}, status: {phase: 5}",
     .flags = VALIDATE_CREATE},
    {.name = "bad time in the status",
     .text = "spec: {vmiName: v}, status: {migrationState: {startTimestamp: yesterday}}",
     .error = "status.migrationState.startTimestamp: Invalid value: \"yesterday\""},
    {.name = "status as a list",
     .text = "spec: {vmiName: v}, status: []",
     .error = "status: Invalid value: []: want a map, not a list"},
};

static void
test_vmim(void **state)
{
    object_row_check(*state, VMIM);
}

/* As upstream's admission: a volume gets a disk when the object is made, and none twice. */
static void
test_default_disks(void **state)
{
    static const char text[] =
        "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, spec: "
        "{domain: "
        "{memory: {guest: 1Gi}, devices: {disks: [{name: b, disk: {bus: scsi}}]}}, volumes: "
        "[{name: a, "
        "emptyDisk: {capacity: 1Gi}}, {name: b, emptyDisk: {capacity: 1Gi}}]}}";
    struct arena *a = arena_new();
    static const struct {
        unsigned flags;
        size_t disks;
    } rows[] = {{VALIDATE_CREATE, 2}, {0, 1}, {VALIDATE_CREATE | VALIDATE_OFFLINE, 1}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct tree *obj = yaml_one(text);
        const struct tree *disks;
        struct field_errors errs = {.arena = a};

        assert_int_equal(object_validate(obj, rows[i].flags, &errs, NULL), 0);
        assert_int_equal(object_validate(obj, rows[i].flags, &errs, NULL), 0);
        disks = tree_find(obj, "spec", "domain", "devices", "disks", NULL);
        assert_int_equal(tree_len(disks), rows[i].disks);
        if (rows[i].disks == 2)
            assert_string_equal(tree_find_string(tree_at(disks, 1), "", "name", NULL), "a");
        tree_free(obj);
    }
    arena_free(a);
}

/* Lists are bounded, and a bounded list costs what it should. */
static void
test_list_limits(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};

    (void)state;
    sb_puts(&sb, "{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: v}, "
                 "spec: {domain: {memory: {guest: 1Gi}, devices: {disks: [");
    for (int i = 0; i < 257; i++)
        sb_printf(&sb, "{name: d%d},", i);
    sb_puts(&sb, "]}}, volumes: []}}");
    AUTO_TREE struct tree *obj = yaml_one(sb_str(&sb));

    assert_int_not_equal(object_validate(obj, VALIDATE_CREATE, &errs, NULL), 0);
    assert_string_equal(errs.items[0].path, "spec.domain.devices.disks");
    assert_string_equal(errs.items[0].message, "Too many: 257: must have at most 256 items");
    assert_string_equal(errs.items[0].type, "FieldValueTooMany");
    assert_int_equal(errs.len, 1);
    arena_free(a);
}

/* Of very many problems a hundred are told. */
static void
test_error_limit(void **state)
{
    AUTO_SB struct sb sb = SB_INIT;
    struct arena *a = arena_new();
    struct field_errors errs = {.arena = a};
    struct err err = {0};

    (void)state;
    sb_puts(&sb, "{apiVersion: v1, kind: Node, metadata: {name: n}, spec: {");
    for (int i = 0; i < 20000; i++)
        sb_printf(&sb, "unknown%d: x, ", i);
    sb_puts(&sb, "}}");
    AUTO_TREE struct tree *obj = yaml_one(sb_str(&sb));

    assert_int_not_equal(object_validate(obj, VALIDATE_CREATE, &errs, NULL), 0);
    assert_int_equal(errs.len, 100);
    field_errors_text(&errs, "f.yaml", obj, &err);
    assert_string_equal(err_msg(&err),
                        "f.yaml:1:58: Node n: unknown field \"spec.unknown0\" (and 99 more)");
    arena_free(a);
}

int
main(void)
{
    static const struct CMUnitTest others[] = {cmocka_unit_test(test_default_disks),
                                               cmocka_unit_test(test_list_limits),
                                               cmocka_unit_test(test_error_limit)};

    return ROWS_RUN("VirtualMachine", vm_rows, test_vm) +
           ROWS_RUN("domain", domain_rows, test_domain) +
           ROWS_RUN("devices", device_rows, test_device) +
           ROWS_RUN("migration", vmim_rows, test_vmim) +
           cmocka_run_group_tests_name("limits", others, NULL, NULL);
}
