/* Limits of the controller's store and HTTP server; those on objects are api/limits.h's. */
#ifndef CONTROL_LIMITS_H
#define CONTROL_LIMITS_H

#include "api/limits.h"

/* store */
#define STORE_BATCH_WRITES   256         /* writes that share one fsync */
#define STORE_HISTORY_EVENTS 16384       /* kept for watches that start in the past */
#define STORE_HISTORY_BYTES  (32u << 20) /* of their JSON, together */

/* HTTP */
#define HTTP_MAX_CONNS        4096        /* accepted ones beyond it wait in the kernel's backlog */
#define HTTP_MAX_HEAD_BYTES   (64u << 10) /* request line and headers */
#define HTTP_MAX_HEADERS      100
#define HTTP_MAX_BODY_BYTES   API_MAX_OBJECT_BYTES
#define HTTP_MAX_CHUNK_LINE   256 /* a chunk's size line, and each trailer line */
#define HTTP_HEAD_TIMEOUT_S   20  /* from the first byte to the end of the headers */
#define HTTP_BODY_TIMEOUT_S   60  /* from there to the end of the body */
#define HTTP_IDLE_TIMEOUT_S   120 /* between requests of one connection */
#define HTTP_WRITE_TIMEOUT_S  60  /* a client that takes nothing for so long is cut off */
#define HTTP_MAX_QUERY_PARAMS 64

/* watches */
#define WATCH_MAX_QUEUE_BYTES (8u << 20) /* what a slow watcher may leave unread */
#define WATCH_BOOKMARK_S      60
#define WATCH_MAX_S           3600 /* upstream ends a watch after 30-60 minutes, too */

/* consoles */
#define CONSOLE_MAX         256         /* at a time */
#define CONSOLE_QUEUE_BYTES (64u << 10) /* that wait for one side */
#define CONSOLE_FRAME_BYTES (16u << 10) /* to the user, at most */
#define CONSOLE_MESSAGE_MAX 512         /* a handler's refusal */
#define CONSOLE_CONNECT_S   10          /* within which the handler connects */
#define CONSOLE_PING_S      20
#define CONSOLE_PINGS       3u /* without an answer: the user's end is gone */
#define CONSOLE_WHY_S       5  /* from the handler's end to what the instance says of it */

/* events */
#define EVENT_TTL_S 3600 /* v1 Events older than this are deleted, as upstream */

#endif
