/* Limits of the native guest: what its options, its control socket and a state that is loaded into
 * it may say. Shared by the guest program and the handler's driver. */
#ifndef HANDLER_GUEST_LIMITS_H
#define HANDLER_GUEST_LIMITS_H

#define GUEST_PAGE_BYTES       4096u
#define GUEST_MIN_MEMORY_BYTES (64ull << 10)
#define GUEST_MAX_MEMORY_BYTES (1ull << 43) /* 8 TiB: page numbers fit 32 bits */
#define GUEST_MAX_VCPUS        128u
#define GUEST_MAX_RATE         (1ull << 40) /* bytes a second */
#define GUEST_MAX_STATE_BYTES  (32u << 10)
#define GUEST_MAX_CLIENTS      16u /* on the control socket at a time */
#define GUEST_MAX_UID          63u
#define GUEST_MAX_NAME         511u

#endif
