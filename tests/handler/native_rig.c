/* See native_rig.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/sb.h"
#include "tests/handler/native_rig.h"

char native_rig_state_dir[256];
static unsigned next_uid;

struct native_config
native_rig_config(const char *uid, const char *workload)
{
    return (struct native_config){.state_dir = native_rig_state_dir,
                                  .program = "/proc/self/exe",
                                  .vmi_uid = uid,
                                  .name = "default/vm",
                                  .memory_bytes = 16 * NATIVE_RIG_MIB,
                                  .vcpus = 2,
                                  .workload = workload,
                                  .rate_bytes_per_s = 32 * NATIVE_RIG_MIB,
                                  .set_bytes = 4 * NATIVE_RIG_MIB,
                                  .fill_bytes = 3 * NATIVE_RIG_MIB,
                                  .zero_bytes = 64 << 10};
}

struct native_guest *
native_rig_spawn(const struct native_config *cfg)
{
    struct native_guest *g = NULL;
    struct err err = {0};

    if (native_spawn(cfg, &g, &err) < 0)
        fail_msg("%s", err_msg(&err));
    return g;
}

struct native_guest *
native_rig_start(const char *workload)
{
    char uid[32];

    snprintf(uid, sizeof(uid), "guest-%u", next_uid++);
    const struct native_config cfg = native_rig_config(uid, workload);

    return native_rig_spawn(&cfg);
}

struct native_guest *
native_rig_start_incoming(void)
{
    char uid[32];

    snprintf(uid, sizeof(uid), "in-%u", next_uid++);
    struct native_config cfg = native_rig_config(uid, NULL);

    cfg.incoming = true;
    return native_rig_spawn(&cfg);
}

bool
native_rig_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Ends the guest; nothing of it stays, and it had nothing to complain of. */
void
native_rig_finish(struct native_guest *g)
{
    AUTO_FREE char *log = xasprintf("%s/guest.log", native_dir(g));
    AUTO_FREE char *dir = xstrdup(native_dir(g));
    AUTO_FREE char *text = NULL;
    size_t len;
    struct err err = {0};

    if (native_alive(g) && native_quit(g, &err) < 0)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(fs_read_all(log, 1 << 20, &text, &len, NULL), 0);
    if (strstr(text, "ERROR:") || strstr(text, "runtime error") || strstr(text, "WARNING:"))
        fail_msg("%s", text);
    assert_int_equal(native_remove(g, &err), 0);
    assert_false(native_rig_exists(dir));
    native_free(g);
}

struct native_status
native_rig_status(struct native_guest *g)
{
    struct native_status st;
    struct err err = {0};

    if (native_status(g, &st, &err) < 0)
        fail_msg("%s", err_msg(&err));
    return st;
}

void
native_rig_verify(struct native_guest *g)
{
    struct native_verify v;
    struct err err = {0};

    if (native_verify(g, 0, &v, &err) < 0)
        fail_msg("%s", err_msg(&err));
    if (!v.ok)
        fail_msg("%s", v.text);
    assert_int_equal(v.pages, native_memory_bytes(g) / 4096);
    assert_string_equal(v.text, "");
}

void
native_rig_pause(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct err err = {0};

    if (port.ops->pause(port.impl, &err) < 0)
        fail_msg("%s", err_msg(&err));
}

void
native_rig_resume(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct err err = {0};

    if (port.ops->resume(port.impl, &err) < 0)
        fail_msg("%s", err_msg(&err));
}

struct guest_region
native_rig_region(struct native_guest *g)
{
    struct guest port = native_guest(g);
    struct guest_region out[GUEST_MAX_REGIONS];
    struct err err = {0};

    if (port.ops->regions(port.impl, out, &err) != 1)
        fail_msg("%s", err_msg(&err));
    assert_int_equal(out[0].size, native_memory_bytes(g));
    assert_int_equal(out[0].page_bytes, 4096);
    return out[0];
}

uint64_t
native_rig_present_bytes(struct native_guest *g)
{
    struct stat st;

    assert_int_equal(fstat(native_rig_region(g).memfd, &st), 0);
    return (uint64_t)st.st_blocks * 512;
}

void
native_rig_wait_end(struct native_guest *g)
{
    struct pollfd p = {.fd = native_pidfd(g), .events = POLLIN};

    assert_int_equal(poll(&p, 1, NATIVE_RIG_PATIENCE_S * 1000), 1);
    assert_false(native_alive(g));
}

int
native_rig_setup(void **state)
{
    (void)state;
    snprintf(native_rig_state_dir, sizeof(native_rig_state_dir), "/tmp/drover-test-native-%d",
             (int)getpid());
    return fs_mkdirs(native_rig_state_dir, 0700, NULL);
}

/* Kills what a failed test left running. */
int
native_rig_teardown(void **state)
{
    struct native_guest **list = NULL;
    size_t len = 0;

    (void)state;
    (void)native_find(native_rig_state_dir, &list, &len, NULL);
    for (size_t i = 0; i < len; i++) {
        native_remove(list[i], NULL);
        native_free(list[i]);
    }
    free(list);
    return fs_rmtree(native_rig_state_dir, NULL);
}
