/* Limits of the REST client. */
#ifndef PROTO_REST_LIMITS_H
#define PROTO_REST_LIMITS_H

#define REST_TIMEOUT_MS     10000
#define REST_STOP_CHECK_MS  200 /* how often a watch looks at its stop flag */
#define REST_KEEPALIVE_S    10
#define REST_MAX_BODY_BYTES (256u << 20) /* one answer (a list) */
#define REST_MAX_LINE_BYTES (8u << 20)   /* one watch event */
#define REST_MAX_WARNINGS   100

#endif
