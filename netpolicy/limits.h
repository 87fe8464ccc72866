/* Limits on what network definitions and the kernel's answers may hold. */
#ifndef NETPOLICY_LIMITS_H
#define NETPOLICY_LIMITS_H

#define NAD_MAX_CONFIG_BYTES  (64u << 10) /* one CNI configuration as text */
#define NAD_MAX_PLUGINS       16          /* of one configuration list */
#define NAD_MAX_EXCLUDES      1024        /* ipam.exclude */
#define NAD_MAX_STATIC        64          /* ipam.addresses of type static */
#define NNCP_MAX_INTERFACES   256         /* of one desired state */
#define NNCP_MAX_PORTS        64          /* of one bridge or bond */
#define NNCP_MAX_ADDRESSES    64          /* of one interface and family */
#define NET_MAX_LINKS         4096        /* interfaces of one state */
#define NET_MIN_MTU           68          /* IPv4's (RFC 791) */
#define NET_MIN_MTU_IPV6      1280        /* below it the kernel takes IPv6 off an interface */
#define NET_MAX_MTU           65535
#define NET_DEFAULT_MTU       1500      /* of a new bridge or bond, and of a bridge without ports */
#define NET_MAX_LINK_ADDRS    1024      /* addresses of one interface */
#define NL_IFNAME_SIZE        16        /* the kernel's IFNAMSIZ: 15 bytes and a NUL */
#define NL_MAX_ADDRS          64        /* addresses of one namespace that are looked at */
#define NL_DUMP_TRIES         10        /* of a listing that changes interrupt */
#define NL_WATCH_BUFFER_BYTES (4 << 20) /* of the kernel's events that nobody has read yet */
#define NL_WATCH_READ_BYTES   (32u << 10) /* one read of them; the kernel's datagrams are smaller */
#define NETNS_MAX_NAME_BYTES  200         /* a file name under /run/netns */

#define CHECKUP_MAX_STREAMS     64
#define CHECKUP_MAX_SAMPLE_S    600
#define CHECKUP_MAX_TIMEOUT_S   3600
#define CHECKUP_MAX_LATENCY_MS  3600000
#define CHECKUP_ESTIMATE_AGE_US ((int64_t)86400 * 1000000) /* older ones say nothing of a link */

#endif
