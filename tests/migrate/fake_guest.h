/* A guest for the engine's tests: a forked process with shared memory that keeps writing pages from
 * which every byte can be recomputed. Step i of the writer is a function of seed and i alone, so
 * the number of steps made (the "device state") says what every page must hold. Ops can be told to
 * fail. */
#ifndef TESTS_MIGRATE_FAKE_GUEST_H
#define TESTS_MIGRATE_FAKE_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "migrate/guest.h"

#define FAKE_PAGE 4096u

enum fake_content {
    FAKE_RANDOM, /* nothing can be compressed */
    FAKE_TEXT,   /* a page that compresses well, each version another one */
    FAKE_HALF,   /* random and zeros by turns of 64 bytes: about half its size */
    FAKE_WORDS,  /* random, but its versions differ in a few words only */
};

/* Shared by the processes of both copies of a guest (MAP_SHARED): do they ever run at once? */
struct fake_twins {
    _Atomic int running[2]; /* by fake_config.twin: its process, 0 = no */
    _Atomic bool both;
};

struct fake_config {
    uint64_t region_bytes[2]; /* the second may be 0 */
    uint64_t seed;
    uint64_t fill_pages;    /* from the start of memory: filled with content */
    uint64_t zero_pages;    /* behind them: touched, but zeros */
    uint64_t set_pages;     /* the writer works on this many pages from the start; 0 = no writer */
    uint64_t pages_per_s;   /* its speed; 0 = as fast as it can */
    unsigned zero_percent;  /* of the steps write zeros */
    unsigned punch_percent; /* of the steps punch a hole */
    size_t state_bytes;     /* size of the device state; at least that of the counters */
    enum fake_content content;
    unsigned stride; /* 0 and 1: those pages lie side by side. Else only every stride'th page of
                        memory is filled and written (fill, zero and set pages count those) */
    struct fake_twins *twins; /* or NULL */
    int twin;
};

struct fake_guest {
    struct fake_config cfg;
    struct guest_region regions[2];
    int regions_len;
    pid_t pid;
    int sock;
    pthread_mutex_t mu; /* one request at a time: a page that is touched may be waited for */
    uint64_t calls;     /* requests so far */
    /* told to fail: the next n calls */
    int fail_pause, fail_resume, fail_save, fail_load, fail_uffd, fail_throttle;
    int fail_rc; /* with this code; 0 = -EIO */
    unsigned load_delay_ms;
    /* calls so far */
    int pauses, resumes, uffds, uffd_closes, throttles;
    unsigned throttle_percent; /* now */
    bool throttle_writers;
};

/* incoming: paused, memory never touched. Otherwise it runs (or idles) at once. */
struct fake_guest *fake_guest_new(const struct fake_config *cfg, bool incoming);
void fake_guest_free(struct fake_guest *g);
struct guest fake_guest_port(struct fake_guest *g);

bool fake_guest_running(struct fake_guest *g);
uint64_t fake_guest_steps(struct fake_guest *g);
/* The guest's process reads a page, for which it may have to wait: false when it gets a memory error
 * (SIGBUS). */
bool fake_guest_touch(struct fake_guest *g, uint64_t page);
/* Waits until it has made that many steps. */
void fake_guest_wait_steps(struct fake_guest *g, uint64_t steps);
void fake_guest_kill(struct fake_guest *g);
/* Pauses it, recomputes all memory from its steps, compares. The number of wrong pages (prints the
 * first). */
uint64_t fake_guest_wrong_pages(struct fake_guest *g);
/* Descriptors of userfaultfds that the process holds. */
int fake_guest_uffds_open(struct fake_guest *g);
/* Pages of memory that are allocated. */
uint64_t fake_guest_allocated_pages(struct fake_guest *g);

#endif
