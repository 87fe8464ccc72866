/* The switchover as two pure state machines, one for each end: step(machine, event, now) ->
 * actions. The source and the target drive them and perform the actions; the tests drive both
 * against each other with every crash there can be. The tables below are the protocol
 * (docs/protocol.md tells it in prose): states with their deadline and a sentence, and every legal
 * edge. An event without an edge is refused and changes nothing.
 *
 * Never two running copies: the source resumes only on edges that lead through ROLLBACK, all of
 * them before COMMITTED or on the target's durable NEVER; the target resumes only in RESUMING,
 * which is entered only after COMMIT, which is sent only in COMMITTED. Never none: see
 * test_switch.c. */
#ifndef MIGRATE_SWITCH_H
#define MIGRATE_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

/* X(id, deadline in ms (0 = none), sentence). A state whose deadline passes gets TROUBLE from its
 * driver. */
#define SWITCH_SOURCE_STATES(X)                                                                    \
    X(COPYING, 0, "the guest runs here and its memory is sent in rounds")                          \
    X(DIALING, 0, "the connection is lost; the guest runs here, and it is made again")             \
    X(PAUSING, 30000, "the guest is being paused")                                                 \
    X(SENDING, 60000, "the guest is paused; the last pages and its state are sent")                \
    X(WAITING, 60000, "all is sent; the target loads it and makes that durable")                   \
    X(COMMITTING, 0, "the decision that the guest leaves is being made durable")                   \
    X(COMMITTED, 30000, "the guest leaves: it never runs here again unless the target says NEVER") \
    X(ASKING, 30000, "an earlier life committed; the target is asked what became of it")           \
    X(SERVING, 0,                                                                                  \
      "post-copy: the guest runs at the target, and what it lacks is served from here")            \
    X(ROLLBACK, 0, "the guest is being resumed here")                                              \
    X(MOVED, 0, "the guest runs at the target")                                                    \
    X(FAILED, 0, "nothing moved; the guest runs here")                                             \
    X(UNKNOWN, 0, "committed, and not known whether the guest runs at the target")

/* X(from, event, to, actions) */
#define SWITCH_SOURCE_EDGES(X)                           \
    X(COPYING, SWITCH, PAUSING, PAUSE)                   \
    X(COPYING, TROUBLE, FAILED, SAY_ABORT)               \
    X(COPYING, LOST, DIALING, NOTHING)                   \
    X(DIALING, DONE, COPYING, NOTHING)                   \
    X(DIALING, TROUBLE, ROLLBACK, RESUME)                \
    X(PAUSING, DONE, SENDING, SEND_LAST)                 \
    X(PAUSING, TROUBLE, ROLLBACK, SAY_ABORT | RESUME)    \
    X(SENDING, DONE, WAITING, SAY_FINISH)                \
    X(SENDING, TROUBLE, ROLLBACK, SAY_ABORT | RESUME)    \
    X(SENDING, LOST, DIALING, RESUME)                    \
    X(WAITING, PREPARED, COMMITTING, RECORD_COMMIT)      \
    X(WAITING, TROUBLE, ROLLBACK, SAY_ABORT | RESUME)    \
    X(COMMITTING, DONE, COMMITTED, SAY_COMMIT)           \
    X(COMMITTING, TROUBLE, ROLLBACK, SAY_ABORT | RESUME) \
    X(COMMITTED, RUNNING, MOVED, NOTHING)                \
    X(COMMITTED, PARTLY, SERVING, NOTHING)               \
    X(COMMITTED, NEVER, ROLLBACK, RESUME)                \
    X(COMMITTED, TROUBLE, UNKNOWN, NOTHING)              \
    X(ASKING, RUNNING, MOVED, NOTHING)                   \
    X(ASKING, PARTLY, SERVING, NOTHING)                  \
    X(ASKING, NEVER, FAILED, NOTHING)                    \
    X(ASKING, TROUBLE, UNKNOWN, NOTHING)                 \
    X(SERVING, ARRIVED, MOVED, SAY_BYE)                  \
    X(SERVING, TROUBLE, UNKNOWN, NOTHING)                \
    X(ROLLBACK, DONE, FAILED, NOTHING)                   \
    X(ROLLBACK, TROUBLE, FAILED, NOTHING)

#define SWITCH_TARGET_STATES(X)                                                           \
    X(RECEIVING, 0, "pages arrive; the guest here is paused and not whole")               \
    X(LOADING, 0, "all has arrived; the device state is being loaded")                    \
    X(RECORDING, 0, "whole; that is being made durable")                                  \
    X(PREPARED, 0, "whole and durable; the source decides")                               \
    X(COMMITTING, 0, "COMMIT has come and is being made durable")                         \
    X(RESUMING, 0, "the guest is being resumed here")                                     \
    X(DENYING, 0, "the guest here is gone before it ran; that is being made durable")     \
    X(LISTENING, 0, "the connection is lost; the source is waited for")                   \
    X(FILLING, 0, "post-copy: the guest runs here, and memory is missing")                \
    X(POISONING, 0, "the source is gone for good; what is missing is being poisoned")     \
    X(RUNNING, 0, "the guest runs here")                                                  \
    X(DAMAGED, 0, "the guest runs here, and some of its memory is lost")                  \
    X(FAILED, 0, "given up before PREPARED; the incoming guest is worth nothing")         \
    X(ABORTED, 0, "the source took it back; the incoming guest is worth nothing")         \
    X(NEVER, 0, "the guest never ran here and never will; the source may resume its own") \
    X(IN_DOUBT, 0, "whole, paused, and the source is silent: its question is waited for")

#define SWITCH_TARGET_EDGES(X)                        \
    X(RECEIVING, FINISH, LOADING, LOAD)               \
    X(RECEIVING, TROUBLE, FAILED, SAY_ERROR)          \
    X(RECEIVING, LOST, LISTENING, NOTHING)            \
    X(LISTENING, DONE, RECEIVING, NOTHING)            \
    X(LISTENING, TROUBLE, FAILED, SAY_ERROR)          \
    X(LOADING, DONE, RECORDING, RECORD_PREPARED)      \
    X(LOADING, TROUBLE, FAILED, SAY_ERROR)            \
    X(RECORDING, DONE, PREPARED, SAY_PREPARED)        \
    X(RECORDING, TROUBLE, FAILED, SAY_ERROR)          \
    X(PREPARED, COMMIT, COMMITTING, RECORD_COMMITTED) \
    X(PREPARED, ABORT, ABORTED, NOTHING)              \
    X(PREPARED, GONE, DENYING, RECORD_NEVER)          \
    X(PREPARED, TROUBLE, IN_DOUBT, NOTHING)           \
    X(COMMITTING, DONE, RESUMING, RESUME)             \
    X(COMMITTING, TROUBLE, IN_DOUBT, NOTHING)         \
    X(RESUMING, DONE, RUNNING, SAY_RUNNING)           \
    X(RESUMING, PARTLY, FILLING, SAY_RUNNING)         \
    X(RESUMING, GONE, DENYING, RECORD_NEVER)          \
    X(RESUMING, TROUBLE, IN_DOUBT, NOTHING)           \
    X(FILLING, ARRIVED, RUNNING, SAY_COMPLETE)        \
    X(FILLING, HOPELESS, POISONING, POISON)           \
    X(FILLING, TROUBLE, IN_DOUBT, NOTHING)            \
    X(POISONING, DONE, DAMAGED, SAY_COMPLETE)         \
    X(POISONING, TROUBLE, IN_DOUBT, NOTHING)          \
    X(DENYING, DONE, NEVER, SAY_NEVER)                \
    X(DENYING, TROUBLE, IN_DOUBT, NOTHING)

enum switch_source_state {
#define X(id, deadline, text) SWITCH_SRC_##id,
    SWITCH_SOURCE_STATES(X)
#undef X
        SWITCH_SRC_COUNT
};

enum switch_target_state {
#define X(id, deadline, text) SWITCH_DST_##id,
    SWITCH_TARGET_STATES(X)
#undef X
        SWITCH_DST_COUNT
};

enum switch_event {
    SWITCH_EV_SWITCH,   /* source: time to switch over */
    SWITCH_EV_DONE,     /* the state's action succeeded */
    SWITCH_EV_TROUBLE,  /* it failed, the peer is lost or says so, cancelled, a deadline passed */
    SWITCH_EV_PREPARED, /* messages of the peer */
    SWITCH_EV_RUNNING,
    SWITCH_EV_NEVER,
    SWITCH_EV_FINISH,
    SWITCH_EV_COMMIT,
    SWITCH_EV_ABORT,
    SWITCH_EV_LOST,     /* the connection is gone, and nothing else is wrong */
    SWITCH_EV_PARTLY,   /* post-copy: the guest runs at the target without all of its memory */
    SWITCH_EV_ARRIVED,  /* all memory is there */
    SWITCH_EV_HOPELESS, /* what is missing will never come */
    SWITCH_EV_GONE,     /* target: the incoming guest's process is gone, and it never ran */
    SWITCH_EV_COUNT
};

enum switch_action { /* a set */
                     SWITCH_DO_NOTHING = 0,
                     SWITCH_DO_PAUSE = 1 << 0,
                     SWITCH_DO_SEND_LAST = 1 << 1,
                     SWITCH_DO_SAY_FINISH = 1 << 2,
                     SWITCH_DO_RECORD_COMMIT = 1 << 3,
                     SWITCH_DO_SAY_COMMIT = 1 << 4,
                     SWITCH_DO_SAY_ABORT = 1 << 5,
                     SWITCH_DO_RESUME = 1 << 6,
                     SWITCH_DO_LOAD = 1 << 7,
                     SWITCH_DO_RECORD_PREPARED = 1 << 8,
                     SWITCH_DO_SAY_PREPARED = 1 << 9,
                     SWITCH_DO_RECORD_COMMITTED = 1 << 10,
                     SWITCH_DO_SAY_RUNNING = 1 << 11,
                     SWITCH_DO_RECORD_NEVER = 1 << 12,
                     SWITCH_DO_SAY_NEVER = 1 << 13,
                     SWITCH_DO_SAY_ERROR = 1 << 14,
                     SWITCH_DO_SAY_BYE = 1 << 15,
                     SWITCH_DO_SAY_COMPLETE = 1 << 16,
                     SWITCH_DO_POISON = 1 << 17,
};

struct switch_source {
    enum switch_source_state state;
    uint64_t since_us;
};

struct switch_target {
    enum switch_target_state state;
    uint64_t since_us;
};

/* 0 and the actions to perform (a set of enum switch_action), or -EPROTO when the event is not
 * legal in this state: nothing changes. */
int switch_source_step(struct switch_source *m, enum switch_event ev, uint64_t now_us,
                       unsigned *ret_actions);
int switch_target_step(struct switch_target *m, enum switch_event ev, uint64_t now_us,
                       unsigned *ret_actions);

/* When the state's deadline passes; 0 = never. */
uint64_t switch_source_deadline_us(const struct switch_source *m);
bool switch_source_final(enum switch_source_state s);
bool switch_target_final(enum switch_target_state s);
const char *switch_source_name(enum switch_source_state s);
const char *switch_target_name(enum switch_target_state s);
const char *switch_source_text(enum switch_source_state s); /* the sentence */
const char *switch_target_text(enum switch_target_state s);
const char *switch_event_name(enum switch_event ev);

#endif
