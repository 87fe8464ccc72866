/* Compares every byte of a native guest's memory with what its steps so far must have left there:
 * the initial fill under the last write to each place within the last period of each stream.
 * Present pages are read through the mapping; absent ones are not touched (they must be zero by
 * right). Runs on threads of its own while no vCPU writes. */
#ifndef HANDLER_GUEST_VERIFY_H
#define HANDLER_GUEST_VERIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "handler/guest_workload.h"

#define GUEST_VERIFY_TEXT 384

struct guest_verify_input {
    const struct guest_config *cfg;
    const uint64_t *steps;     /* done, one a vCPU */
    const uint8_t *map;        /* all of memory, readable */
    int memfd;                 /* for asking what is present */
    const atomic_bool *cancel; /* looked at often; may be NULL */
};

struct guest_verify_result {
    uint64_t pages, present_pages, bad_pages;
    char text[GUEST_VERIFY_TEXT]; /* "" or the first bad page: where, expected, found, what it looks
                                     like */
};

/* 0 (also when memory is bad: ret->bad_pages), -ECANCELED, or -errno when it could not be done. */
int guest_verify_run(const struct guest_verify_input *in, struct guest_verify_result *ret,
                     struct err *err);

#endif
