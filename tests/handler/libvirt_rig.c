/* See libvirt_rig.h. */
#include "tests/handler/libvirt_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/sb.h"

#define LIBVIRTD    "/usr/sbin/libvirtd"
#define QEMU        "/usr/bin/qemu-system-x86_64"
#define PATIENCE_US 30000000u
#define USER        "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"
#define GROUP       "libvirt-qemu:x:64055:\n"

char lv_rig_dir[64], lv_rig_images[4096];

static pid_t libvirtd;
static int libvirtd_fd = -1;

static _Noreturn void
missing(const char *what)
{
    printf("skipped: %s\n", what);
    exit(77);
}

static _Noreturn void
broken(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Beside the programs of this flavour (tests/module.mk). */
static void
find_images(void)
{
    char self[4096], guess[8192];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    char *at;

    self[n > 0 ? n : 0] = '\0';
    at = strstr(self, "/tests/handler/");
    if (at)
        *at = '\0';
    snprintf(guess, sizeof guess, "%s/bin/images", self);
    if (!realpath(guess, lv_rig_images) && !realpath("bin/images", lv_rig_images))
        missing("the test guest is not built (make testguest)");
}

static void
put(const char *name, const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/%s", lv_rig_dir, name);

    if (fs_replace(path, text, strlen(text), 0644, NULL) != 0)
        broken(path);
}

static void
put_with(const char *name, const char *line)
{
    AUTO_FREE char *path = xasprintf("/etc/%s", name);
    AUTO_FREE char *text = NULL, *all = NULL;
    size_t len;

    if (fs_read_all(path, 1 << 20, &text, &len, NULL) != 0)
        broken(path);
    all = xasprintf("%s%s", text, strstr(text, "\nlibvirt-qemu:") ? "" : line);
    put(name, all);
}

static void
bind_over(const char *name, const char *to)
{
    AUTO_FREE char *from = xasprintf("%s/%s", lv_rig_dir, name);

    if (mount(from, to, NULL, MS_BIND, NULL) != 0)
        broken(to);
}

static void
make_host(void)
{
    static const char *const dirs[][2] = {
        {"etc", "/etc/libvirt"},
        {"lib", "/var/lib/libvirt"},
        {"log", "/var/log/libvirt"},
        {"cache", "/var/cache/libvirt"},
    };
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    AUTO_FD int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", 0, NULL) != 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) != 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, NULL) != 0 || mkdir("/run/libvirt", 0755) != 0)
        broken("mount");
    if (s < 0 || ioctl(s, SIOCSIFFLAGS, &lo) != 0 || sethostname("rig", 3) != 0)
        broken("lo");
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", lv_rig_dir, dirs[i][0]);

        if (fs_mkdirs(path, 0755, NULL) != 0 || fs_mkdirs(dirs[i][1], 0755, NULL) != 0)
            broken(path);
        bind_over(dirs[i][0], dirs[i][1]);
    }
    put_with("passwd", USER);
    put_with("group", GROUP);
    bind_over("passwd", "/etc/passwd");
    bind_over("group", "/etc/group");
    put("etc/libvirtd.conf", "host_uuid = \"5f0c4b0e-52c1-4d5d-8f3b-6a1c5d6e7f80\"\n"
                             "auth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n"
                             "log_outputs = \"3:stderr\"\n");
    put("etc/qemu.conf", "user = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\n"
                         "remember_owner = 0\nsecurity_driver = \"none\"\nnamespaces = []\n"
                         "cgroup_controllers = []\nstdio_handler = \"file\"\nmax_core = 0\n");
}

/* The leak check at the end waits for a child of its own. */
static void
wait_again(void)
{
    signal(SIGCHLD, SIG_DFL);
}

void
lv_rig_enter(void)
{
    int status;
    pid_t child;

    setvbuf(stdout, NULL, _IOLBF, 0);
    if (access(LIBVIRTD, X_OK) != 0)
        missing(LIBVIRTD " is not there (libvirt-daemon)");
    if (access(QEMU, X_OK) != 0)
        missing(QEMU " is not there (qemu-system-x86)");
    find_images();
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWPID) != 0)
        missing("no namespaces of its own (not root?)");
    snprintf(lv_rig_dir, sizeof lv_rig_dir, "/tmp/drover-lvr-XXXXXX");
    if (!mkdtemp(lv_rig_dir))
        broken("mkdtemp");
    child = fork();
    if (child < 0)
        broken("fork");
    if (child == 0) {
        signal(SIGCHLD,
               SIG_IGN); /* as process 1 it is every orphan's parent: none stays a zombie */
        atexit(wait_again);
        make_host();
        return;
    }
    if (waitpid(child, &status, 0) != child)
        broken("waitpid");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        (void)fs_rmtree(lv_rig_dir, NULL);
    else
        fprintf(stderr, "status %#x; kept: %s\n", (unsigned)status, lv_rig_dir);
    fflush(NULL);
    /* not exit: nothing can be cloned here any more, as the leak check would */
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

void
lv_rig_libvirtd(void)
{
    uint64_t until = clock_mono_us() + PATIENCE_US;
    AUTO_FREE char *log = xasprintf("%s/libvirtd.log", lv_rig_dir);

    (void)unlink("/run/libvirt/libvirt-sock"); /* of one that was killed */
    libvirtd = fork();
    if (libvirtd < 0)
        broken("fork");
    if (libvirtd == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        signal(SIGCHLD, SIG_DFL);
        dup2(fd, 1);
        dup2(fd, 2);
        execl(LIBVIRTD, LIBVIRTD, "--pid-file", "/run/libvirt/libvirtd.pid", NULL);
        _exit(127);
    }
    libvirtd_fd = pidfd_open(libvirtd, 0);
    while (access("/run/libvirt/libvirt-sock", F_OK) != 0) {
        struct pollfd p = {.fd = libvirtd_fd, .events = POLLIN};

        if (poll(&p, 1, 20) != 0 || clock_mono_us() > until) {
            fprintf(stderr, "libvirtd did not come: %s\n", log);
            exit(1);
        }
    }
}

void
lv_rig_signal(int signo)
{
    struct pollfd p = {.fd = libvirtd_fd, .events = POLLIN};

    if (pidfd_send_signal(libvirtd_fd, signo, NULL, 0) != 0)
        broken("signal");
    if (signo == SIGSTOP || signo == SIGCONT)
        return;
    if (poll(&p, 1, PATIENCE_US / 1000) != 1)
        broken("libvirtd does not end");
    close(libvirtd_fd);
}

pid_t
lv_rig_qemu(const char *domain)
{
    AUTO_FREE char *path = xasprintf("/run/libvirt/qemu/%s.pid", domain);
    AUTO_FREE char *text = NULL;
    size_t len;

    return fs_read_all(path, 64, &text, &len, NULL) == 0 ? (pid_t)atoi(text) : 0;
}

bool
lv_rig_alive(pid_t pid)
{
    return pid > 0 && kill(pid, 0) == 0;
}
