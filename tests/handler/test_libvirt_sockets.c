/* Sockets that nobody listens on any more are removed, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "handler/libvirt_sockets.h"

static int
bound(const char *dir, const char *name)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%.60s/%.20s", dir, name);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static bool
is_there(const char *dir, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);

    return access(path, F_OK) == 0;
}

static void
test_only_dead_ones(void **state)
{
    char dir[] = "/tmp/drover-test-XXXXXX";
    AUTO_FREE char *file = NULL;
    int lives, listens, dead;

    (void)state;
    assert_non_null(mkdtemp(dir));
    file = xasprintf("%s/plain", dir);
    lives = bound(dir, "lives.sock");
    listens = bound(dir, "lives.sock.more"); /* a name that begins like another */
    assert_int_equal(listen(listens, 1), 0);
    dead = bound(dir, "lives");
    close(dead);
    close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    poll(NULL, 0, 150); /* young ones are left alone */
    dead = bound(dir, "young");
    close(dead);

    assert_int_equal(lv_sockets_sweep(dir), 1);
    assert_false(is_there(dir, "lives"));
    assert_true(is_there(dir, "lives.sock"));
    assert_true(is_there(dir, "lives.sock.more"));
    assert_true(is_there(dir, "plain"));
    assert_true(is_there(dir, "young"));
    close(lives);
    close(listens);
    fs_rmtree(dir, NULL);
    assert_int_equal(lv_sockets_sweep(dir), 0); /* no directory: nothing to do */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_only_dead_ones)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
