/* The messages of a relayed migration between its two handlers (relay_msg.proto has their order), as
 * plain structs. What relay_msg_decode lets through is within the limits here, its strings are printable
 * and its type is one of these. Pure; any thread. */
#ifndef PROTO_RELAY_MSG_H
#define PROTO_RELAY_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sb.h"

#define RELAY_MSG_VERSION    1
#define RELAY_MSG_MAX        (192u << 10) /* bytes of one message */
#define RELAY_MSG_MAX_XML    (128u << 10) /* bytes of cpu_xml */
#define RELAY_MSG_MAX_DISKS  32
#define RELAY_MSG_DISK_SIZE  16
#define RELAY_MSG_WORD_SIZE  64
#define RELAY_MSG_PATH_SIZE  108 /* sun_path */
#define RELAY_MSG_DIR_SIZE   512
#define RELAY_MSG_TEXT_SIZE  512
#define RELAY_MSG_ADDR_SIZE  72
#define RELAY_MSG_MAX_MEMORY (1ull << 46)

enum relay_msg_type { /* numbers are for ever */
                      RELAY_MSG_CHECK = 1,
                      RELAY_MSG_READY = 2,
                      RELAY_MSG_REFUSED = 3,
                      RELAY_MSG_FINISH = 4,
                      RELAY_MSG_PREPARED = 5,
                      RELAY_MSG_COMMIT = 6,
                      RELAY_MSG_RUNNING = 7,
                      RELAY_MSG_ABORT = 8,
                      RELAY_MSG_QUESTION = 9,
                      RELAY_MSG_ANSWER = 10,
                      RELAY_MSG_COMPLETE = 11,
                      RELAY_MSG_ERROR = 12,
                      RELAY_MSG_TYPES
};
const char *relay_msg_name(enum relay_msg_type t); /* "CHECK"; "?" */

enum relay_msg_answer {
    RELAY_MSG_ANSWER_RUNNING = 1, /* it runs at the target (or is paused there, as its user wants it) */
    RELAY_MSG_ANSWER_NEVER = 2,   /* it does not and, by the target's durable word, never will */
    RELAY_MSG_ANSWER_WAIT = 3     /* not known yet: ask again */
};

struct relay_msg {
    enum relay_msg_type type;
    uint64_t generation;
    char *cpu_xml; /* owned; NULL = "" */
    char virt_type[RELAY_MSG_WORD_SIZE], arch[RELAY_MSG_WORD_SIZE], machine[RELAY_MSG_WORD_SIZE];
    uint64_t memory_bytes;
    char disks[RELAY_MSG_MAX_DISKS][RELAY_MSG_DISK_SIZE];
    size_t disks_len;
    bool post_copy, paused, withdraw, incomplete;
    char data_path[RELAY_MSG_PATH_SIZE];
    uint64_t libvirt_version, hypervisor_version;
    char directory[RELAY_MSG_DIR_SIZE], host[RELAY_MSG_WORD_SIZE];
    char disk_address[RELAY_MSG_ADDR_SIZE];
    char reason[RELAY_MSG_WORD_SIZE], text[RELAY_MSG_TEXT_SIZE];
    enum relay_msg_answer answer;
    uint64_t commit_us, resume_us;
};

/* Appends it to out. What is too long for a message is a bug of the caller's, but for text, which is cut. */
void relay_msg_encode(const struct relay_msg *m, struct sb *out);
/* 0 with *ret, the caller's (relay_msg_done); -EPROTO: what is wrong with which field. */
int relay_msg_decode(const void *data, size_t len, struct relay_msg *ret, struct err *err);
void relay_msg_done(struct relay_msg *m); /* zeroed is fine */

#endif
