/* What the system tests of real VMs share: a cluster whose hosts have a libvirtd each, the VM NETWORK_VM with the
 * test guest (tests/guest/main.c) in namespace default, and what is where. Everything is asked for as a user
 * would: manifests and the drover program. */
#ifndef TESTS_SYSTEM_REAL_H
#define TESTS_SYSTEM_REAL_H

#include "base/sb.h"
#include "tests/system/heartbeat.h"
#include "tests/system/network.h"

#define REAL_NS "default"
#define REAL_VM NETWORK_VM

/* Skips where QEMU or libvirt is not installed. emulate: the hosts have no /dev/kvm. Waits until each host says
 * that its libvirt is there, and for the migration network. */
void real_up(struct sys *s, size_t nodes, bool emulate);
/* Whether /dev/kvm is there. */
bool real_has_kvm(void);

/* Runs drover with these arguments; its exit status, standard output (and error) in out (NULL: not wanted). */
int real_drover(struct sys *s, struct sb *out, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same; dies unless it exits with 0. */
void real_do(struct sys *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Runs virsh on a host. */
int real_virsh(struct sys *s, const char *node, struct sb *out, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* What of a manifest the tests vary; NULL or 0: as usual. */
struct real_vm {
    const char *strategy; /* Always */
    const char *args;     /* kernelArgs: "ws=24 rate=20" */
    unsigned memory_mib;  /* 64 */
    unsigned grace_s;     /* 30 */
    const char *domain;   /* further fields of spec.domain, as YAML flow: "cpu: {cores: 1}, " */
    const char *devices;  /* inside devices: {...} */
    const char *spec;     /* another field beside domain: "volumes: [...]" */
};
/* Makes the VM. */
void real_make(struct sys *s, const struct real_vm *vm);
/* Makes it and waits until its heart beats. The heartbeat is the caller's. */
struct heartbeat *real_start(struct sys *s, const struct real_vm *vm);
/* Deletes it and waits until nothing of it is left on any host. */
void real_delete(struct sys *s);

/* Its migrations from now on: a MigrationPolicy with these annotations and fields of its spec, both as YAML flow:
 * "drover.io/channels: 2", "allowPostCopy: true, ". */
void real_policy(struct sys *s, const char *annotations, const char *spec);
/* Makes a migration of it. */
void real_move_start(struct sys *s, struct network_move *ret);
/* The same, and waits until it is over; dies unless it succeeded and the VM is at its target. */
void real_move(struct sys *s, struct network_move *ret);
/* The host that the VM is not on, of two. */
const char *real_other(struct sys *s, const char *node);

/* status.phase, uid and node of the VM's instance; "" where there is none. */
void real_phase(struct sys *s, char buf[32]);
void real_uid(struct sys *s, char buf[64]);
/* The condition of the VM's instance: "True", "False", "" when it has none. reason, message: where not NULL. */
struct real_condition {
    char status[16], reason[64], message[512];
};
void real_condition(struct sys *s, const char *type, struct real_condition *ret);
/* Waits until the instance's phase is this. */
void real_wait_phase(struct sys *s, const char *phase, unsigned seconds);
void real_wait_condition(struct sys *s, const char *type, const char *status, unsigned seconds);

/* Exactly one domain and one QEMU in all, on this host, and nothing of a guest or a migration on the others:
 * domains, processes, directories, sockets. node NULL: none anywhere. Waits up to seconds, then dies. */
void real_only_on(struct sys *s, const char *node, unsigned seconds);
/* The process of the QEMU on this host; 0 none. */
pid_t real_qemu(struct sys *s, const char *node);

/* Dies unless no line is lost, no page is bad and it did not start again (restarts as given); prints what
 * happened with the longest gap since heartbeat_mark. */
void real_check(struct sys *s, struct heartbeat *h, uint64_t restarts, const char *what);

#endif
