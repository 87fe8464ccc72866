/* The measuring end of a network checkup: round trips, the path's MTU, bandwidth. Blocking, for a
 * worker thread; knows nothing of objects (handler/checkup.c does). docs/checkup.md says what each
 * figure means. */
#ifndef HANDLER_CHECKUP_SOURCE_H
#define HANDLER_CHECKUP_SOURCE_H

#include <netinet/in.h>
#include <stdint.h>

#include "migrate/engine.h"
#include "netpolicy/checkup_object.h"
#include "netpolicy/limits.h"

struct checkup_source_config {
    char target_addr[MIG_ADDR_SIZE], nonce[CHECKUP_NONCE_LEN + 1];
    char local_ip[INET6_ADDRSTRLEN], device[NL_IFNAME_SIZE]; /* as migrations; "" = any */
    uint64_t sample_us, bandwidth_us;                        /* bandwidth_us 0 = 3 s */
    unsigned streams;                                        /* at least 1 */
    int cancel_fd;                                           /* readable: end soon; -1 = never */
};

/* Measures in the order latency, MTU, bandwidth, and fills in what it came to, also when a later
 * part fails: -ECANCELED; -EMSGSIZE: packets vanish on the way that both ends think fit (bandwidth
 * is not measured then: its streams would hang in it); other -errno. */
int checkup_source_measure(const struct checkup_source_config *cfg, struct checkup_result *ret,
                           struct err *err);

/* --- its parts, for each other --- */
struct checkup_session {
    const struct checkup_source_config *cfg;
    int control_fd;
    uint64_t seq, rtt_us; /* rtt: the shortest round trip so far */
    uint16_t udp_port;    /* the target's */
};
/* A connection that the target has accepted in a role (CHECKUP_HELLO_...). *ret_udp_port may be
 * NULL. */
int checkup_source_dial(const struct checkup_source_config *cfg, uint16_t role, int *ret_fd,
                        uint16_t *ret_udp_port, uint64_t *ret_rtt_us, struct err *err);
struct checkup_msg;
/* Receives one message within CHECKUP_IO_US. */
int checkup_source_hear(int fd, int cancel_fd, struct checkup_msg *ret, struct err *err);
/* checkup_mtu.c, checkup_bandwidth.c */
int checkup_mtu(struct checkup_session *s, unsigned *ret_bytes, struct err *err);
int checkup_bandwidth(struct checkup_session *s, struct checkup_result *r, struct err *err);

#endif
