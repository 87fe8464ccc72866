/* Real guest processes for tests: this test program itself, run again as drover-guest (main calls
 * guest_main when it has arguments), in a state directory of its own. Helpers assert; what they say
 * is the driver's message. */
#ifndef TESTS_HANDLER_NATIVE_RIG_H
#define TESTS_HANDLER_NATIVE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "handler/native_guest.h"

#define NATIVE_RIG_MIB        (1ull << 20)
#define NATIVE_RIG_PATIENCE_S 60

extern char native_rig_state_dir[256]; /* made by _setup, removed by _teardown */

/* 16 MiB, 2 vCPUs, 32 MiB/s over 4 MiB, 3 MiB filled, 64 KiB of zeros. */
struct native_config native_rig_config(const char *uid, const char *workload);
struct native_guest *native_rig_spawn(const struct native_config *cfg);
/* One with that configuration and a uid of its own, and one that waits for its state. */
struct native_guest *native_rig_start(const char *workload);
struct native_guest *native_rig_start_incoming(void);
bool native_rig_exists(const char *path);
/* Ends the guest, whether or not it lives: nothing of it stays, and it had nothing to complain of.
 */
void native_rig_finish(struct native_guest *g);
struct native_status native_rig_status(struct native_guest *g);
void native_rig_verify(struct native_guest *g);
void native_rig_pause(struct native_guest *g);
void native_rig_resume(struct native_guest *g);
struct guest_region native_rig_region(struct native_guest *g);
uint64_t native_rig_present_bytes(struct native_guest *g);
/* Until its process is gone. */
void native_rig_wait_end(struct native_guest *g);
int native_rig_setup(void **state);
int native_rig_teardown(void **state);

/* Asks for the status until the condition holds. */
#define NATIVE_RIG_UNTIL(g, st, cond)                                              \
    do {                                                                           \
        uint64_t until_end = clock_mono_us() + NATIVE_RIG_PATIENCE_S * 1000000ull; \
        while ((st) = native_rig_status(g), !(cond))                               \
            assert_true(clock_mono_us() < until_end);                              \
    } while (0)

#endif
