/* The door through which libvirtd's connection to the other libvirtd goes, at the source: between the
 * socket that libvirt was given as dconnuri and the relay's. It passes every message on, but looks for
 * one: virDomainMigrateFinish3Params, after whose answer libvirt ends its QEMU, or lets the guest run
 * again. So the call may be changed on its way and the answer is held until both handlers have made the
 * outcome durable. Messages are those of libvirt's RPC (rpc/protocol in its documentation: length,
 * program, version, procedure, type, serial, status). One thread; what it reads from the target is
 * hostile until it is parsed. */
#ifndef HANDLER_LIBVIRT_GATE_H
#define HANDLER_LIBVIRT_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define LV_GATE_PATH_SIZE 108 /* sun_path */

struct lv_gate_config {
    char path[LV_GATE_PATH_SIZE];   /* made by it, 0600, and removed; its directory must be there */
    char onward[LV_GATE_PATH_SIZE]; /* connected for each connection */
    /* On the gate's thread; they may block, and its connection waits. */
    /* Finish is on its way to the target: flags (virDomainMigrateFlags) may be changed. cancelled: it
     * only ends what is there. False: the connection is broken instead. */
    bool (*finish_call)(void *ctx, bool cancelled, uint32_t *flags);
    /* The target's libvirt says that the domain is there. False: likewise. */
    bool (*finish_answer)(void *ctx);
    /* The answer was written to this host's libvirtd, or could not be. */
    void (*finished)(void *ctx, bool delivered);
    void *ctx;
};

struct lv_gate;
int lv_gate_new(const struct lv_gate_config *cfg, struct lv_gate **ret, struct err *err);
/* For how long a call of libvirt's has had no answer (0: none waits). Any thread. */
uint64_t lv_gate_waits_us(struct lv_gate *g, uint64_t now_us);
void lv_gate_free(struct lv_gate *g); /* ends its connections; no callback after it */

#endif
