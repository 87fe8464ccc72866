/* See dev_libvirt.h. */
#include "cli/dev_libvirt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "netpolicy/netns.h"

#define LIBVIRTD       "/usr/sbin/libvirtd"
#define QEMU           "/usr/bin/qemu-system-x86_64"
#define LIBVIRT_USER   "libvirt-qemu"
#define LIBVIRT_ID     "64055" /* Debian's */
#define MAX_FILE_BYTES (1u << 20)

char *const dev_libvirt_argv[] = {(char[]){LIBVIRTD}, (char[]){"--pid-file"},
                                  (char[]){"/run/libvirt/libvirtd.pid"}, NULL};

/* Directories that each host has for itself: DIR/hosts/NAME/<first> is seen as <second>. */
static const char *const private_dirs[][2] = {
    {"etc", "/etc/libvirt"},         {"lib", "/var/lib/libvirt"}, {"log", "/var/log/libvirt"},
    {"cache", "/var/cache/libvirt"}, {"run", "/run/libvirt"},     {"drover", "/run/drover"},
};

/* Files instead of the machine's: host names, and users, since libvirtd does not start its QEMU driver where there
 * is no user libvirt-qemu, and only the package libvirt-daemon-system makes one. */
static const char *const private_files[] = {"hosts", "passwd", "group"};

static int write_files(const struct dev_cluster *c, const char *base, struct err *err);
static int hold_namespaces(const struct dev_cluster *c, struct dev_node *n,
                           const struct dev_mount *mounts, size_t len, struct err *err);

int
dev_libvirt_installed(struct err *err)
{
    static const char *const wanted[][2] = {{LIBVIRTD, "libvirt-daemon"},
                                            {QEMU, "qemu-system-x86"}};

    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        if (access(wanted[i][0], X_OK) != 0)
            return err_set(err, -ENOENT, "%s is not there: install %s (tools/deps.sh --libvirt)",
                           wanted[i][0], wanted[i][1]);
    return 0;
}

int
dev_libvirt_check_paths(const struct dev_node *n, struct err *err)
{
    static const char longest[] = "/guests/00000000-0000-0000-0000-000000000000/console.sock";
    size_t max = sizeof((struct sockaddr_un *)NULL)->sun_path - sizeof longest;

    if (strlen(n->state_dir) <= max)
        return 0;
    return err_set(err, -EINVAL,
                   "%s: want at most %zu bytes (sockets of guests lie below it): choose a shorter "
                   "--dir",
                   n->state_dir, max);
}

int
dev_libvirt_make_host(const struct dev_cluster *c, struct dev_node *n, struct err *err)
{
    struct arena *a = arena_new();
    const char *base = arena_printf(a, "%s/hosts/%s", c->dir, n->name);
    struct dev_mount mounts[ARRAY_LEN(private_dirs) + ARRAY_LEN(private_files) + 3];
    size_t len = 0;
    int rc = 0;

    mounts[len++] = (struct dev_mount){.from = "sysfs", .to = "/sys", .type = "sysfs"};
    if (strncmp(c->dir, "/run/drover/", 12) == 0) { /* stays to be seen */
        const char *own = arena_printf(a, "%s/drover/%s", base, c->dir + 12);

        mounts[len++] = (struct dev_mount){.from = c->dir, .to = own};
        rc = fs_mkdirs(own, 0755, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(private_dirs) && rc == 0; i++) {
        const char *from = arena_printf(a, "%s/%s", base, private_dirs[i][0]);

        mounts[len++] = (struct dev_mount){.from = from, .to = private_dirs[i][1]};
        if ((rc = fs_mkdirs(from, 0755, err)) == 0)
            rc = fs_mkdirs(private_dirs[i][1], 0755, err); /* empty, where nothing is installed */
    }
    for (size_t i = 0; i < ARRAY_LEN(private_files); i++)
        mounts[len++] = (struct dev_mount){.from = arena_printf(a, "%s/%s", base, private_files[i]),
                                           .to = arena_printf(a, "/etc/%s", private_files[i])};
    /* Read-only: while libvirtd believes that it could use /dev/kvm, and QEMU says that it cannot, it asks
     * QEMU again and again. */
    if (n->emulated && access("/dev/kvm", F_OK) == 0)
        mounts[len++] = (struct dev_mount){
            .from = arena_printf(a, "%s/etc/qemu.conf", base), .to = "/dev/kvm", .read_only = true};
    if (rc == 0)
        rc = write_files(c, base, err);
    if (rc == 0)
        rc = hold_namespaces(c, n, mounts, len, err);
    arena_free(a);
    return rc;
}

static int
hold_namespaces(const struct dev_cluster *c, struct dev_node *n, const struct dev_mount *mounts,
                size_t len, struct err *err)
{
    char *const argv[] = {(char[]){"/bin/sleep"}, (char[]){"infinity"}, NULL};
    AUTO_FREE char *log = xasprintf("%s/log/host-%s.log", c->dir, n->name);
    struct dev_room room = {.hostname = n->name, .mounts = mounts, .mounts_len = len};
    AUTO_FD int fd = netns_open(n->netns, err);
    struct dev_spawn s = {.argv = argv, .netns_fd = fd, .log = log, .room = &room};

    return fd < 0 ? fd : dev_proc_spawn(&s, &n->host, err);
}

/* --- files. Two libvirts on one machine would call themselves the same host (they ask its firmware), and
 * then refuse to migrate: each gets a random uuid. --- */

static int
write_file(const char *base, const char *name, const struct sb *text, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", base, name);

    return fs_replace(path, text->buf, text->len, 0644, err);
}

static int
write_libvirtd_conf(const char *base, struct err *err)
{
    AUTO_SB struct sb sb = SB_INIT;
    char uuid[37];

    rng_uuid(uuid);
    sb_printf(&sb, "host_uuid = \"%s\"\n", uuid);
    sb_puts(&sb, "listen_tls = 0\n"
                 "listen_tcp = 0\n"
                 "auth_unix_ro = \"none\"\n"
                 "auth_unix_rw = \"none\"\n"
                 "unix_sock_rw_perms = \"0700\"\n"
                 "log_outputs = \"2:stderr\"\n");
    return write_file(base, "etc/libvirtd.conf", &sb, err);
}

/* What is in the machine's file, and a line of this name if it is not there. */
static int
write_with(const char *base, const char *name, const char *line, struct err *err)
{
    AUTO_FREE char *path = xasprintf("/etc/%s", name);
    AUTO_SB struct sb sb = SB_INIT;
    AUTO_FREE char *text = NULL;
    size_t len;
    int rc = fs_read_all(path, MAX_FILE_BYTES, &text, &len, err);

    if (rc != 0)
        return rc;
    sb_puts(&sb, text);
    if (len > 0 && text[len - 1] != '\n')
        sb_putc(&sb, '\n');
    if (!strstr(text, "\n" LIBVIRT_USER ":"))
        sb_puts(&sb, line);
    return write_file(base, name, &sb, err);
}

static int
write_files(const struct dev_cluster *c, const char *base, struct err *err)
{
    AUTO_SB struct sb qemu = SB_INIT, hosts = SB_INIT;
    int rc;

    sb_puts(&qemu, "user = \"root\"\n"
                   "group = \"root\"\n"
                   "dynamic_ownership = 0\n"
                   "remember_owner = 0\n"
                   "security_driver = \"none\"\n"
                   "namespaces = []\n"
                   "cgroup_controllers = []\n"
                   "stdio_handler = \"file\"\n"
                   "max_core = 0\n");
    sb_puts(&hosts, "127.0.0.1 localhost\n");
    for (size_t i = 0; i < c->nodes_len; i++)
        sb_printf(&hosts, "%s %s\n", c->nodes[i].mgmt_ip, c->nodes[i].name);
    if ((rc = write_libvirtd_conf(base, err)) != 0 ||
        (rc = write_file(base, "etc/qemu.conf", &qemu, err)) != 0 ||
        (rc = write_file(base, "hosts", &hosts, err)) != 0 ||
        (rc = write_with(base, "passwd",
                         LIBVIRT_USER ":x:" LIBVIRT_ID ":" LIBVIRT_ID
                                      "::/var/lib/libvirt:/usr/sbin/nologin\n",
                         err)) != 0)
        return rc;
    return write_with(base, "group", LIBVIRT_USER ":x:" LIBVIRT_ID ":\n", err);
}
