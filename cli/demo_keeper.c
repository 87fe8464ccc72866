/* See demo_keeper.h. The keeper is in a session of its own, so that neither Ctrl-C nor a closed
 * terminal reaches it, and blocks in one read() for as long as the demo lives. */
#include "cli/demo_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "cli/dev_cluster.h"

#define DISMISSED 'd'

static int
keep(int fd, const char *dir)
{
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct err err = {0};
    char word = 0;
    ssize_t n;

    prctl(PR_SET_NAME, "drover-keeper");
    do
        n = read(fd, &word, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1 && word == DISMISSED)
        return 0;
    if (dev_cluster_open(dir, &c, &err) == -ENOENT)
        return 0;
    if (!c || dev_cluster_down(c, &err) < 0) {
        fprintf(stderr,
                "drover demo: it was killed, and its cluster in %s could not be taken away: %s\n",
                dir, err_msg(&err));
        return 1;
    }
    fprintf(stderr, "drover demo: it was killed; its cluster in %s has been taken away\n", dir);
    return 0;
}

int
demo_keeper_start(struct demo_keeper *k, const char *dir, struct err *err)
{
    int fds[2];
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return err_set(err, -errno, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        int code = -errno;

        close(fds[0]);
        close(fds[1]);
        return err_set(err, code, "fork: %s", strerror(-code));
    }
    if (pid == 0) {
        close(fds[1]);
        setsid();
        _exit(keep(fds[0], dir));
    }
    close(fds[0]);
    *k = (struct demo_keeper){.pid = pid, .fd = fds[1]};
    return 0;
}

void
demo_keeper_dismiss(struct demo_keeper *k)
{
    const char word = DISMISSED;

    if (!k->pid)
        return;
    if (write(k->fd, &word, 1) != 1)
        kill(k->pid, SIGKILL); /* its end is closed: it is ending anyway */
    close(k->fd);
    while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    k->pid = 0;
}
