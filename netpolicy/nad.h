/* NetworkAttachmentDefinition: the CNI configuration inside it, parsed and checked, and the
 * addresses of its range. Pure. Forms: seeds I03-I06, I18, I19; the CNI plugins' and whereabouts'
 * own documents for what they allow. Called by the handler (which address is mine), the controller
 * and `drover dev`. */
#ifndef NETPOLICY_NAD_H
#define NETPOLICY_NAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/types.h"
#include "base/arena.h"
#include "base/err.h"
#include "netpolicy/ip.h"
#include "netpolicy/limits.h"

/* What a configuration says: the first plugin of a list, and of those after it the mtu of tuning and
 * cnv-tuning (the last one counts) and the limit of bandwidth. */
struct nad_config {
    const char *name, *type; /* type: macvlan, bridge, cnv-bridge, host-device, vlan */
    const char *path;        /* of that plugin, for errors: "config" or "config.plugins[0]" */
    const char *master;      /* macvlan, vlan: the interface below; host-device: the interface */
    const char *mode;        /* macvlan: bridge (default), private, vepa, passthru; else NULL */
    const char *bridge;      /* bridge, cnv-bridge */
    int64_t mtu, vlan;       /* 0 = not set */
    const char *ipam_type;   /* whereabouts, host-local, static, or NULL */
    struct cidr range;       /* its network: no host bits */
    bool has_range, has_range_start, has_range_end;
    struct ip range_start, range_end;
    struct cidr *exclude;
    size_t exclude_len;
    struct cidr *static_addresses;
    size_t static_len;
    /* of a chained plugin "bandwidth": egressRate and egressBurst, which are bits (a second); 0 = none */
    uint64_t limit_bytes_per_s, burst_bytes;
};

/* Parses nad->config. Errors name the object, the field and its value. Fields that CNI plugins have
 * and that do not matter on a host (macspoofchk, preserveDefaultVlan, isGateway, ...) are passed
 * over; those that would change the interface and are not done (vlanTrunk, hwaddr, sysctl,
 * ingressRate, ...) are refused: what arrives needs no limit, since what leaves has the same one on
 * every host. A gateway's address is never given out. What *ret points to lives in the arena. */
int nad_config_parse(const struct nad *nad, struct nad_config *ret, struct arena *a,
                     struct err *err);
/* True when the address may be handed out by this configuration: inside range (and start/end), not
 * excluded, neither the network's nor (IPv4) the broadcast address. With static addresses: one of
 * them. */
bool nad_address_allowed(const struct nad_config *c, const struct ip *a);
/* The next free address as whereabouts gives them: lowest that is allowed and not in `taken` (any
 * order, borrowed). -ENOSPC with the range when it is full. */
int nad_address_next(const struct nad_config *c, const struct ip *taken, size_t taken_len,
                     struct ip *ret, struct err *err);
/* For messages: "10.200.5.0/24", "its static addresses", or "no range at all". */
void nad_range_text(const struct nad_config *c, char *buf, size_t size);

/* "NS/NAME" or "NAME" (then dflt_ns) of liveMigrationConfig.network. */
void nad_ref_split(const char *ref, const char *dflt_ns, struct arena *a, const char **ret_ns,
                   const char **ret_name);

#endif
