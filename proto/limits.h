/* Every limit on what comes over a wire between our own processes. A count, offset or length that a
 * peer sent is compared with these before anything is allocated, received or written. Raising one
 * is compatible; lowering one is not. */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#define PROTO_VERSION     1 /* highest that we speak */
#define PROTO_VERSION_MIN 1 /* lowest that we speak */

/* control connection (control.h) */
#define CONTROL_MAX_PAYLOAD    (256u << 10) /* bytes of one frame without its header */
#define CONTROL_STATE_CHUNK    (128u << 10) /* bytes of device state in one frame */
#define CONTROL_MAX_STATE      (64u << 20)  /* bytes of device state in all */
#define CONTROL_MAX_REGIONS    16
#define CONTROL_MAX_CHANNELS   64
#define CONTROL_MAX_BAD_RUNS   4096         /* of one ROUND_DONE */
#define CONTROL_MAX_DIGESTS    16384        /* of one DIGESTS */
#define CONTROL_MISSING_SIZE   (128u << 10) /* bytes of bitmap in one MISSING */
#define CONTROL_UID_SIZE       64           /* with the NUL */
#define CONTROL_TEXT_SIZE      512          /* with the NUL */
#define CONTROL_TOKEN_SIZE     16
#define CONTROL_MAX_WINDOWS    256 /* of one WINDOWS_WANTED or WINDOWS */
#define CONTROL_WINDOW_STRIPES 16  /* of one window that is wanted */

/* relay (relay_frame.h) */
#define RELAY_MAX_MESSAGE (256u << 10) /* bytes of one control message */

/* guest memory (layout.h) */
#define LAYOUT_MAX_REGION_BYTES (1ull << 46)
#define LAYOUT_PAGE_BYTES       4096u
#define LAYOUT_STRIPE_BYTES     (2u << 20)
#define LAYOUT_STRIPE_PAGES     (LAYOUT_STRIPE_BYTES / LAYOUT_PAGE_BYTES)

/* page stream (frame.h) */
#define FRAME_MAX_RAW_PAGES 256u /* pages that one batch carries: 1 MiB, a usual L2 cache */
#define FRAME_MAX_ASKED     512u /* pages of one request on the urgent channel */
#define FRAME_MAX_RUNS      768u /* run records of one batch */
#define FRAME_GROUP_PAGES   64u  /* that are compressed together */
#define FRAME_DELTA_MIN     8u   /* bytes of a page that did not change */

#endif
