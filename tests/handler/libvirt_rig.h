/* A libvirtd of the test's own, with real QEMU guests: the program runs itself in mount, network, UTS and
 * process namespaces of its own, where libvirt's fixed paths are the rig's directory; when it ends,
 * however it does, every process that it made is gone. */
#ifndef TESTS_HANDLER_LIBVIRT_RIG_H
#define TESTS_HANDLER_LIBVIRT_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#define LV_RIG_URI "qemu:///system?socket=/run/libvirt/libvirt-sock"

extern char lv_rig_dir[64];      /* the rig's: removed at the end */
extern char lv_rig_images[4096]; /* where the test guest is drover/testguest */

/* First thing in main. Returns in the child, in its namespaces, with nothing running; exits with the
 * child's status in the parent, and with 77 where something is missing, which it says. */
void lv_rig_enter(void);
/* Starts libvirtd and waits for its socket. */
void lv_rig_libvirtd(void);
/* A signal to it; when it ends it, waits until it is gone. */
void lv_rig_signal(int signo);
/* The pid of a domain's QEMU. */
pid_t lv_rig_qemu(const char *domain);
bool lv_rig_alive(pid_t pid);

#endif
