/* What a handler must remember of the host's networks: STATE/network.json, replaced atomically and
 * fsynced (base/fs.h). It is written before the first step of every change, so that whoever reads it
 * after a crash knows how the interfaces were before drover touched them, and how they were before
 * the change that was under way. Used by handler/net_apply.c and net_round.c, on one thread at a
 * time; blocks on the disk. */
#ifndef HANDLER_NET_JOURNAL_H
#define HANDLER_NET_JOURNAL_H

#include <stdbool.h>

#include "api/tree.h"
#include "base/err.h"

/* X(ID, "name", "what is true when this is on disk") */
#define NET_PHASES(X)                                                             \
    X(IDLE, "idle", "no change is under way")                                     \
    X(APPLYING, "applying", "some of a change's steps may have been done")        \
    X(PROBING, "probing", "all were done; the controller has not answered since") \
    X(BACK, "back", "the change is being undone; some of that may have been done")

enum net_phase {
#define X(id, name, text) NET_##id,
    NET_PHASES(X)
#undef X
        NET_PHASE_COUNT
};

/* All trees are owned; NULL stands for an empty one. */
struct net_journal {
    enum net_phase phase;
    struct tree *baseline; /* of net_baseline_tree: how what we touch was before drover */
    struct tree *policies; /* in effect: policy -> {"generation", "desiredState"} */
    struct tree *refused; /* policy -> {"generation", "reason", "message"}: the controller was lost;
                              generation 0: its removal was */
    /* of the change that is under way */
    struct tree *back;  /* how what it touches was before it */
    struct tree *prior; /* the baseline before it, in effect again when it is undone */
    struct tree *after; /* the baseline when it has succeeded */
    struct tree *next;  /* the policies when it has succeeded */
};

/* The phase's word, for logs and messages. */
const char *net_phase_name(enum net_phase p);
/* *ret must be zero; a file that is not there is an empty journal. -EINVAL names the file: nothing
 * is guessed about a host's networks. */
int net_journal_load(const char *state_dir, struct net_journal *ret, struct err *err);
int net_journal_save(const char *state_dir, const struct net_journal *j, struct err *err);
void net_journal_done(struct net_journal *j);
/* Keeps others away from the host's networks of this state directory while the descriptor (the
 * caller's) is open: handlers share it, whoever leaves has it alone. -EBUSY: the other kind has it. */
int net_journal_lock(const char *state_dir, bool alone, int *ret_fd, struct err *err);
/* The change is over: its trees are dropped. */
void net_journal_idle(struct net_journal *j);
/* Takes t for what is in *slot. */
void net_journal_set(struct tree **slot, struct tree *t);

#endif
