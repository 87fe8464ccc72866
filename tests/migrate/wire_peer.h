/* One end of a migration by hand, to lie with: plain sockets and the codecs. Used by the tests of
 * hostile peers. */
#ifndef TESTS_MIGRATE_WIRE_PEER_H
#define TESTS_MIGRATE_WIRE_PEER_H

#include "proto/control.h"
#include "proto/frame.h"
#include "tests/migrate/pair.h"

struct wire_peer {
    int ctl, data[FRAME_READ_CHANNEL + 1];
    int listen_fd;         /* a target's */
    const char *listen_ip; /* where; loopback if nothing else was said */
    uint64_t generation, seq[CONTROL_MAX_CHANNELS];
    uint8_t token[CONTROL_TOKEN_SIZE];
    struct control_accept accept; /* what the target answered */
    struct control_hello hello;   /* what it says, or what it was told */
    struct layout layout;
};

void wire_peer_init(struct wire_peer *w, const struct mig_ident *id, const struct fake_guest *g,
                    uint32_t channels);
void wire_peer_done(struct wire_peer *w);

/* All of these wait for at most 10 s, and return false when it did not work. */
int wire_connect(const char *addr); /* -1 */
bool wire_send(int fd, const void *buf, size_t len);
bool wire_recv(int fd, void *buf, size_t len);
bool wire_closed(int fd); /* the other end closes within that time */
bool wire_say(struct wire_peer *w, struct control_msg m);
bool wire_say_simple(struct wire_peer *w, enum control_type t);
/* The next message that is not a heartbeat. */
bool wire_hear(struct wire_peer *w, struct control_msg *ret);
bool wire_hear_type(struct wire_peer *w, enum control_type t);

/* Source: HELLO, ACCEPT, data channels. */
bool wire_source_hello(struct wire_peer *w, const char *addr);
bool wire_source_data(struct wire_peer *w, const char *addr, uint32_t channel);
bool wire_source_up(struct wire_peer *w, const char *addr);
/* A frame on a channel. payload may be NULL: zeros. Bit i of wrong: page i's sum is wrong. */
bool wire_frame(struct wire_peer *w, uint32_t channel, struct frame_header h,
                const struct frame_run *runs, const uint8_t *payload, uint64_t wrong);
/* One page that belongs to the channel, filled with a byte; and the end of a round with
 * ROUND_DONE. */
bool wire_page(struct wire_peer *w, uint32_t channel, uint32_t round, uint8_t fill);
bool wire_round(struct wire_peer *w, uint32_t round, bool paused);

/* Target: listens, and takes a source's control and data connections. */
bool wire_target_listen(struct wire_peer *w, char addr[MIG_ADDR_SIZE]);
bool wire_target_accept(struct wire_peer *w);
bool wire_target_hello(struct wire_peer *w);
bool wire_target_data(struct wire_peer *w, enum frame_answer a);
bool wire_target_up(struct wire_peer *w);
/* Reads frames of all channels until each has ended the round; keeps nothing. */
/* The data of one round, on all channels. */
bool wire_target_drain_data(struct wire_peer *w);
bool wire_target_drain_round(struct wire_peer *w);

#endif
