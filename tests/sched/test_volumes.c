/* Claims and local volumes: where they let a VM run, in kube-scheduler's words. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/sched/world.h"

#define NONE(n, why) "0/" #n " nodes are available: " #n " " why "."
#define ALL(n, why)  "0/" #n " nodes are available: " why "."

#define TWO_NODES                                         \
    NODE("n1", "kubernetes.io/hostname: n1, zone: a", "") \
    NODE("n2", "kubernetes.io/hostname: n2, zone: b", "")
#define PV(name, spec, node)                                                                \
    "---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: " name                  \
    "}, spec: {capacity: {storage: 10Gi}, accessModes: [ReadWriteOnce], storageClassName: " \
    "local, " spec ", nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: "    \
    "[{key: kubernetes.io/hostname, operator: In, values: [" node "]}]}]}}}}\n"
#define PVC(name, spec, status)                                                          \
    "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: " name          \
    ", namespace: default}, spec: {accessModes: [ReadWriteOnce], resources: {requests: " \
    "{storage: 5Gi}}, " spec "}, status: {" status "}}\n"
#define CLASS(name, mode, provisioner, more)                                               \
    "---\n{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: " name more \
    "}, provisioner: " provisioner ", volumeBindingMode: " mode "}\n"
#define LOCAL         CLASS("local", "WaitForFirstConsumer", "kubernetes.io/no-provisioner", "")
#define MADE          CLASS("made", "WaitForFirstConsumer", "csi.example.com", "")
#define EAGER         CLASS("eager", "Immediate", "csi.example.com", "")
#define VOLUMES(list) VMI("vm", "", "volumes: [" list "]", "", "")
#define CLAIM(name)   "{name: " name ", persistentVolumeClaim: {claimName: " name "}}"
#define SOURCE(list)  VMI("vm", "", "volumes: [" list "]", "", "nodeName: n1, phase: Running")

static const struct world_row rows[] = {
    {.name = "a bound local volume pins",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n2") PVC("c", "volumeName: pv1", "phase: Bound"),
     VOLUMES(CLAIM("c")),
     "n2",
     NULL,
     "n1: node(s) had volume node affinity conflict"},
    {.name = "a migration cannot leave it behind",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n1") PVC("c", "volumeName: pv1", "phase: Bound"),
     SOURCE(CLAIM("c")),
     NULL,
     "0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) were the "
     "source of the migration.",
     .migrate = true},
    {.name = "two volumes on two nodes",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n1") PV("pv2", "hostPath: {path: /x}", "n2")
         PVC("c", "volumeName: pv1", "phase: Bound") PVC("d", "volumeName: pv2", "phase: Bound"),
     VOLUMES(CLAIM("c") ", " CLAIM("d")),
     NULL,
     NONE(2, "node(s) had volume node affinity conflict")},
    {.name = "a volume without a place is anywhere",
     TWO_NODES "---\n{apiVersion: v1, kind: PersistentVolume, metadata: {name: pv1}, spec: "
               "{capacity: {storage: 1Gi}, accessModes: [ReadWriteMany]}}\n" PVC(
                   "c", "volumeName: pv1", "phase: Bound"),
     VOLUMES(CLAIM("c")),
     "n1"},
    {.name = "bound to a volume that is not there",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n2") PVC("c", "volumeName: gone", ""),
     VOLUMES(CLAIM("c")),
     NULL,
     NONE(2, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")},
    {.name = "where no volume is known none is missed",
     TWO_NODES PVC("c", "volumeName: pv1", ""),
     VOLUMES(CLAIM("c")),
     "n1"},
    {.name = "a claim that is not there",
     TWO_NODES PVC("c", "volumeName: pv1", ""),
     VOLUMES(CLAIM("other")),
     NULL,
     ALL(2, "persistentvolumeclaim \"other\" not found"),
     "n1: persistentvolumeclaim \"other\" not found; n2: persistentvolumeclaim \"other\" not "
     "found"},
    {.name = "where no claim is known none is missed", TWO_NODES, VOLUMES(CLAIM("other")), "n1"},
    {.name = "a data volume makes its claim later",
     TWO_NODES PVC("c", "volumeName: pv1", ""),
     VOLUMES("{name: d, dataVolume: {name: rootdisk}}"),
     "n1"},
    {.name = "and is pinned by it",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n2") PVC("rootdisk", "volumeName: pv1", ""),
     VOLUMES("{name: d, dataVolume: {name: rootdisk}}"),
     "n2"},
    {.name = "a lost claim",
     TWO_NODES PVC("c", "volumeName: pv1", "phase: Lost"),
     VOLUMES(CLAIM("c")),
     NULL,
     ALL(2, "persistentvolumeclaim \"c\" bound to non-existent persistentvolume \"pv1\"")},
    {.name = "unbound, and its class binds at once",
     TWO_NODES EAGER PVC("c", "storageClassName: eager", "phase: Pending"),
     VOLUMES(CLAIM("c")),
     NULL,
     ALL(2, "pod has unbound immediate PersistentVolumeClaims")},
    {.name = "unbound, of a class that is not there",
     TWO_NODES EAGER PVC("c", "storageClassName: other", ""),
     VOLUMES(CLAIM("c")),
     NULL,
     ALL(2, "storageclass.storage.k8s.io \"other\" not found")},
    {.name = "where no class is known none is missed",
     TWO_NODES PVC("c", "storageClassName: other", ""),
     VOLUMES(CLAIM("c")),
     "n1"},
    {.name = "waits for its consumer: where a volume is",
     TWO_NODES LOCAL PV("pv1", "hostPath: {path: /x}", "n2")
         PVC("c", "storageClassName: local", ""),
     VOLUMES(CLAIM("c")),
     "n2",
     NULL,
     "n1: node(s) didn't find available persistent volumes to bind"},
    {.name = "not a volume of another claim",
     TWO_NODES LOCAL PV("pv1", "claimRef: {namespace: default, name: other}", "n2")
         PVC("c", "storageClassName: local", ""),
     VOLUMES(CLAIM("c")),
     NULL,
     NONE(2, "node(s) didn't find available persistent volumes to bind")},
    {.name = "a volume that is kept for it",
     TWO_NODES LOCAL PV("pv1", "claimRef: {namespace: default, name: c}", "n2")
         PVC("c", "storageClassName: local", ""),
     VOLUMES(CLAIM("c")),
     "n2"},
    {.name = "one volume is not enough for two claims",
     TWO_NODES LOCAL PV("pv1", "hostPath: {path: /x}", "n1") PV("pv2", "hostPath: {path: /x}", "n2")
         PV("pv3", "hostPath: {path: /x}", "n2") PVC("c", "storageClassName: local", "")
             PVC("d", "storageClassName: local", ""),
     VOLUMES(CLAIM("c") ", " CLAIM("d")),
     "n2",
     NULL,
     "n1: node(s) didn't find available persistent volumes to bind"},
    {.name = "too small",
     TWO_NODES LOCAL PV(
         "pv1", "hostPath: {path: /x}",
         "n2") "---\n{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: "
               "default}, spec: {accessModes: [ReadWriteOnce], storageClassName: local, resources: "
               "{requests: {storage: 11Gi}}}}\n",
     VOLUMES(CLAIM("c")),
     NULL,
     NONE(2, "node(s) didn't find available persistent volumes to bind")},
    {.name = "of another mode",
     TWO_NODES LOCAL PV("pv1", "volumeMode: Block", "n2") PVC("c", "storageClassName: local", ""),
     VOLUMES(CLAIM("c")),
     NULL,
     NONE(2, "node(s) didn't find available persistent volumes to bind")},
    {.name = "a provisioner makes one anywhere",
     TWO_NODES MADE PVC("c", "storageClassName: made", ""),
     VOLUMES(CLAIM("c")),
     "n1"},
    {.name = "but within the topology that it is allowed",
     TWO_NODES "---\n{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: made}, "
               "provisioner: csi.example.com, volumeBindingMode: WaitForFirstConsumer, "
               "allowedTopologies: [{matchLabelExpressions: [{key: zone, values: [b]}]}]}\n" PVC(
                   "c", "storageClassName: made", ""),
     VOLUMES(CLAIM("c")),
     "n2",
     NULL,
     "n1: node(s) didn't find available persistent volumes to bind"},
    {.name = "the default class counts for claims without one",
     TWO_NODES CLASS("local", "WaitForFirstConsumer", "kubernetes.io/no-provisioner",
                     ", annotations: {storageclass.kubernetes.io/is-default-class: 'true'}")
         PV("pv1", "hostPath: {path: /x}", "n2") PVC("c", "volumeMode: Filesystem", ""),
     VOLUMES(CLAIM("c")),
     "n2"},
    {.name = "a container disk is nowhere in particular",
     TWO_NODES PV("pv1", "hostPath: {path: /x}", "n2") PVC("c", "volumeName: pv1", ""),
     VOLUMES("{name: d, containerDisk: {image: x}}"),
     "n1"},
};

int
main(void)
{
    return world_run("volumes", rows, sizeof(rows) / sizeof(rows[0]));
}
