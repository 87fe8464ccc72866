/* A dev cluster's life and end, with stand-ins for the daemons: this program, copied under their
 * names. What is tried above all: nothing stays behind, whatever goes wrong and wherever `up` is
 * killed, and nothing of others is touched. Needs root; without it the tests are passed over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/sb.h"
#include "cli/dev_cluster.h"
#include "cli/verbs.h"
#include "tests/cli/fake_server.h"

#define MODE "DEV_TEST_MODE" /* environment of the stand-in handler */

/* --- the stand-ins --- */

static const char *
arg_of(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return "";
}

static _Noreturn void
wait_for_end(void)
{
    for (;;)
        pause();
}

/* A process of its own session that has written its pid file, as a native guest does. */
static void
start_guest(const char *self, const char *state_dir)
{
    AUTO_FREE char *dir = xasprintf("%s/guests/uid-1", state_dir);
    AUTO_FREE char *file = xasprintf("%s/pid", dir);
    AUTO_FREE char *program =
        xasprintf("%.*s/drover-guest", (int)(strrchr(self, '/') - self), self);
    AUTO_FREE char *line = NULL;
    char *argv[] = {program, NULL};
    struct dev_process p;
    posix_spawnattr_t attr;
    pid_t pid;

    if (access(file, F_OK) == 0 || fs_mkdirs(dir, 0755, NULL) != 0)
        return; /* found again after a restart */
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    if (posix_spawn(&pid, program, NULL, &attr, argv, environ) != 0) /* returns after exec */
        abort();
    posix_spawnattr_destroy(&attr);
    p = dev_proc_of(pid);
    line = xasprintf("%d %llu boot\n", (int)pid, (unsigned long long)p.start);
    fs_replace(file, line, strlen(line), 0644, NULL);
}

static int
handler_main(int argc, char **argv)
{
    const char *state = arg_of(argc, argv, "--state-dir"), *mode = getenv(MODE);
    AUTO_FREE char *ready = xasprintf("%s/ready", state);

    if (mode && strcmp(mode, "die") == 0 && strcmp(arg_of(argc, argv, "--node-name"), "n2") == 0) {
        fprintf(stderr, "first line\ncannot find the floor\n");
        return 1;
    }
    start_guest(argv[0], state);
    if (!mode || strcmp(mode, "silent") != 0)
        fs_replace(ready, "", 0, 0644, NULL);
    wait_for_end();
}

/* Nodes are Ready whose handler has left a file; everything that is sent is kept in a file. */
static void
answer(int fd, const char *dir)
{
    AUTO_FREE char *nodes = xasprintf("%s/nodes", dir);
    AUTO_FREE char *asked = xasprintf("%s/log/asked", dir);
    AUTO_SB struct sb body = SB_INIT;
    AUTO_SB struct sb reply = SB_INIT;
    const char *mode = getenv(MODE);
    bool cut = mode && strcmp(mode, "cut") == 0;
    char buf[65536];
    struct dirent *e;
    ssize_t n = recv(fd, buf, sizeof buf - 1, 0);
    DIR *d = opendir(nodes);

    if (n <= 0 || !d)
        return;
    buf[n] = '\0';
    if (strncmp(buf, "PATCH", 5) == 0)
        fs_replace(asked, buf, (size_t)n, 0644, NULL);
    sb_puts(&body, "{\"items\":[");
    while ((e = readdir(d))) {
        AUTO_FREE char *ready = xasprintf("%s/%s/ready", nodes, e->d_name);

        if (e->d_name[0] != '.')
            sb_printf(&body,
                      "%s{\"metadata\":{\"name\":\"%s\"},\"status\":{\"conditions\":["
                      "{\"type\":\"Ready\",\"status\":\"%s\"},"
                      "{\"type\":\"MigrationNetworkReady\",\"status\":\"%s\","
                      "\"message\":\"no cable\"}],"
                      "\"addresses\":[{\"type\":\"MigrationIP\",\"address\":\"10.200.5.7\"}]}}",
                      body.buf[body.len - 1] == '[' ? "" : ",", e->d_name,
                      access(ready, F_OK) == 0 ? "True" : "False", cut ? "False" : "True");
    }
    closedir(d);
    sb_puts(&body, "]}");
    sb_printf(&reply,
              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
              "Connection: close\r\n\r\n%s",
              body.len, body.buf);
    send(fd, reply.buf, reply.len, MSG_NOSIGNAL);
}

static int
controller_main(int argc, char **argv)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const char *path = arg_of(argc, argv, "--listen") + strlen("unix:");
    AUTO_FREE char *dir = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    AUTO_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 8) != 0) {
        perror("listen");
        return 1;
    }
    for (;;) {
        AUTO_FD int conn = accept(fd, NULL, NULL);

        if (conn >= 0)
            answer(conn, dir);
    }
}

/* --- what a test uses --- */

static char root[64], bin_dir[96];

static void
copy_self(const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", bin_dir, name);
    AUTO_FREE char *data = NULL;
    size_t len;

    assert_int_equal(fs_read_all("/proc/self/exe", 256u << 20, &data, &len, NULL), 0);
    assert_int_equal(fs_replace(path, data, len, 0755, NULL), 0);
}

static int
set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/drover-dev-%d", (int)getpid());
    snprintf(bin_dir, sizeof bin_dir, "%s/bin", root);
    if (fs_mkdirs(bin_dir, 0755, NULL) != 0)
        return -1;
    copy_self("drover-controller");
    copy_self("drover-handler");
    copy_self("drover-guest");
    copy_self("someone");
    return 0;
}

static int
cut_up(void **state)
{
    (void)state;
    return fs_rmtree(root, NULL);
}

#define NEEDS_ROOT()                        \
    do {                                    \
        if (dev_net_permitted(NULL) != 0) { \
            print_message("needs root\n");  \
            skip();                         \
        }                                   \
    } while (0)

/* DIR of the n-th cluster of the test. */
static const char *
dir_of(int n)
{
    static char dir[4][80];

    snprintf(dir[n], sizeof dir[n], "%s/c%d", root, n);
    return dir[n];
}

static struct dev_config
config(int n)
{
    return (struct dev_config){
        .dir = dir_of(n), .bin_dir = bin_dir, .nodes_len = 2, .ready_ms = 20000};
}

/* How many processes run a program of bin_dir, those of name only unless it is NULL. */
static int
running(const char *name)
{
    struct dirent *e;
    DIR *d = opendir("/proc");
    int found = 0;

    while ((e = readdir(d))) {
        char link[PATH_MAX + 32], target[PATH_MAX] = "";

        snprintf(link, sizeof link, "/proc/%s/exe", e->d_name);
        if (readlink(link, target, sizeof target - 1) <= 0 ||
            strncmp(target, bin_dir, strlen(bin_dir)) != 0)
            continue;
        found += !name || strcmp(strrchr(target, '/') + 1, name) == 0;
    }
    closedir(d);
    return found;
}

static int
namespaces(const char *prefix)
{
    struct dirent *e;
    DIR *d = opendir("/run/netns");
    int found = 0;

    while (d && (e = readdir(d)))
        found += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (d)
        closedir(d);
    return found;
}

static void
assert_nothing_left(int n, const char *netns)
{
    assert_int_equal(access(dir_of(n), F_OK), -1);
    assert_int_equal(running(NULL), 0);
    if (netns)
        assert_int_equal(namespaces(netns), 0);
}

static void
up(const struct dev_config *cfg, struct dev_cluster **ret)
{
    struct err err = {0};

    if (dev_cluster_up(cfg, ret, &err) != 0)
        fail_msg("up: %s", err_msg(&err));
}

static void
down(struct dev_cluster *c)
{
    struct err err = {0};

    if (dev_cluster_down(c, &err) != 0)
        fail_msg("down: %s", err_msg(&err));
}

static char *
file_text(const char *dir, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    char *text = NULL;
    size_t len;

    assert_int_equal(fs_read_all(path, 1 << 20, &text, &len, NULL), 0);
    return text;
}

/* --- up and down --- */

static void
test_up_down(void **state)
{
    struct kv zone = {"zone", "a"};
    struct taint taint = {.key = "dedicated", .value = "db", .effect = "NoSchedule"};
    struct dev_node_config nodes[] = {
        {.name = "alpha", .labels = {&zone, 1}, .taints = &taint, .taints_len = 1, .cpu = "3"},
        {.name = "beta"},
    };
    struct dev_config cfg = config(0);
    struct dev_cluster *c = NULL, *again = NULL;
    AUTO_FREE char *asked = NULL;
    AUTO_FREE char *kubeconfig = NULL;
    AUTO_FREE char *netns = NULL;
    struct nl_counters k;
    struct stat st;

    (void)state;
    NEEDS_ROOT();
    cfg.nodes = nodes;
    up(&cfg, &c);
    assert_true(c->ready);
    assert_int_equal(c->nodes_len, 2);
    assert_string_equal(c->nodes[0].name, "alpha");
    assert_string_equal(c->nodes[0].mgmt_ip, "198.18.0.11");
    assert_string_equal(c->nodes[1].mig_ip, "10.200.5.7"); /* by the controller's word */
    assert_int_equal(namespaces(c->netns), 3);
    assert_int_equal(running("drover-handler"), 2);
    assert_int_equal(running("drover-guest"), 2);
    assert_int_equal(stat(c->kubeconfig, &st), 0);
    kubeconfig = file_text(c->dir, "kubeconfig");
    assert_non_null(strstr(kubeconfig, "server: http://198.18.0.1:8001"));

    /* the taint was written to the node that has it, and only there */
    asked = file_text(c->dir, "log/asked");
    assert_non_null(strstr(asked, "PATCH /api/v1/nodes/alpha "));
    assert_non_null(strstr(asked, "\"taints\":[{\"key\":\"dedicated\",\"value\":\"db\","
                                  "\"effect\":\"NoSchedule\"}]"));

    /* interfaces are where they should be, and nowhere else */
    assert_int_equal(dev_counters(c, "alpha", "mgmt0", &k, NULL), 0);
    assert_int_equal(dev_counters(c, "beta", "eth1", &k, NULL), 0);
    assert_int_equal(dev_counters(c, NULL, "br-mig", &k, NULL), 0);
    assert_int_equal(dev_counters(c, "beta", "br-mig", &k, NULL), -ENOENT);
    assert_int_equal(dev_counters(c, "gamma", "mgmt0", &k, NULL), -ENOENT);

    /* what cluster.json says is the same */
    assert_int_equal(dev_cluster_open(c->dir, &again, NULL), 0);
    assert_string_equal(again->id, c->id);
    assert_int_equal(again->nodes[1].handler.pid, c->nodes[1].handler.pid);
    assert_int_equal(again->nodes[1].handler.start, c->nodes[1].handler.start);
    assert_string_equal(again->nodes[0].handler_argv[1], "--node-name");

    netns = xstrdup(c->netns);
    dev_cluster_free(c);
    down(again); /* by another process as well as by the one that made it */
    assert_nothing_left(0, netns);
    down(again); /* and once more */
    dev_cluster_free(again);
    assert_int_equal(dev_cluster_open(dir_of(0), &again, NULL), -ENOENT);
}

static void
test_two_clusters(void **state)
{
    struct dev_config one = config(0), two = config(1);
    AUTO_DEV_CLUSTER struct dev_cluster *a = NULL;
    AUTO_DEV_CLUSTER struct dev_cluster *b = NULL;

    (void)state;
    NEEDS_ROOT();
    up(&one, &a);
    up(&two, &b);
    assert_string_not_equal(a->id, b->id);
    down(a);
    assert_int_equal(dev_wait_ready(b, 1000, NULL, NULL), 0);
    assert_int_equal(running("drover-handler"), 2);
    down(b);
    assert_nothing_left(1, b->netns);
}

/* --- refused before anything is made --- */

struct refused_case {
    const char *name;
    struct dev_config cfg;
    int rc;
    const char *says;
};

static void
test_refused(void **state)
{
    static const struct dev_node_config twice[] = {{.name = "a"}, {.name = "a"}};
    static const struct dev_node_config capital[] = {{.name = "Node"}};
    static const struct dev_node_config longest[] = {
        {.name = "a123456789b123456789c123456789d123456789e123456789f123456789g123"}};
    const char *dir = dir_of(0);
    struct refused_case cases[] = {
        {"relative directory", {.dir = "here"}, -EINVAL, "\"here\": want an absolute path"},
        {"the root", {.dir = "/"}, -EINVAL, "want an absolute path"},
        {"long directory",
         {.dir = "/tmp/"
                 "012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                 "12345"},
         -EINVAL,
         "at most 90 bytes"},
        {"too many nodes", {.dir = dir, .nodes_len = 65}, -EINVAL, "65 nodes: want 1 to 64"},
        {"a name twice",
         {.dir = dir, .nodes = twice, .nodes_len = 2},
         -EINVAL,
         "\"a\": is there twice"},
        {"no name for a node", {.dir = dir, .nodes = capital, .nodes_len = 1}, -EINVAL, "\"Node\""},
        {"a long name",
         {.dir = dir, .nodes = longest, .nodes_len = 1},
         -EINVAL,
         "at most 63 bytes"},
        {"heartbeat without unit", {.dir = dir, .heartbeat = "5"}, -EINVAL, "heartbeat \"5\""},
        {"heartbeat too short", {.dir = dir, .heartbeat = "1ms"}, -EINVAL, "want 100ms to 10m"},
        {"no programs",
         {.dir = dir, .bin_dir = "/nonexistent"},
         -ENOENT,
         "/nonexistent/drover-controller"},
    };

    (void)state;
    NEEDS_ROOT();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct dev_cluster *c = NULL;
        struct err err = {0};
        int rc;

        if (!cases[i].cfg.bin_dir)
            cases[i].cfg.bin_dir = bin_dir;
        rc = dev_cluster_up(&cases[i].cfg, &c, &err);
        if (rc != cases[i].rc || !strstr(err.msg, cases[i].says))
            fail_msg("%s: %d \"%s\"", cases[i].name, rc, err.msg);
        assert_null(c);
        assert_nothing_left(0, NULL);
    }
}

static void
test_directory_of_others(void **state)
{
    struct dev_config cfg = config(0);
    AUTO_FREE char *file = xasprintf("%s/precious", cfg.dir);
    struct dev_cluster *c = NULL;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    assert_int_equal(fs_mkdirs(cfg.dir, 0755, NULL), 0);
    assert_int_equal(fs_replace(file, "x", 1, 0644, NULL), 0);
    assert_int_equal(dev_cluster_up(&cfg, &c, &err), -ENOTEMPTY);
    assert_non_null(strstr(err.msg, "precious"));
    assert_int_equal(dev_cluster_open(cfg.dir, &c, &err), -ENOENT);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(fs_rmtree(cfg.dir, NULL), 0);
}

static void
test_directory_taken(void **state)
{
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct dev_cluster *second = NULL;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    assert_int_equal(dev_cluster_up(&cfg, &second, &err), -EEXIST);
    assert_non_null(strstr(err.msg, "drover dev down --dir"));
    assert_int_equal(dev_wait_ready(c, 1000, NULL, NULL), 0); /* not touched */
    down(c);
    assert_nothing_left(0, c->netns);
}

struct record_case {
    const char *name, *text, *says;
};

static const struct record_case record_cases[] = {
    {"empty", "", "cluster.json"},
    {"no JSON", "pid 5", "cluster.json"},
    {"a list", "[]", "this is no cluster.json"},
    {"without an id", "{\"netns\":\"drover-x\"}", "id: is missing"},
    {"node without a name",
     "{\"id\":\"x\",\"netns\":\"drover-x\",\"url\":\"u\",\"tcpUrl\":\"t\",\"kubeconfig\":\"k\","
     "\"nodes\":[{}]}",
     "nodes[0]: name: is missing"},
};

static void
test_bad_record(void **state)
{
    AUTO_FREE char *file = xasprintf("%s/cluster.json", dir_of(0));

    (void)state;
    assert_int_equal(fs_mkdirs(dir_of(0), 0755, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(record_cases); i++) {
        const struct record_case *r = &record_cases[i];
        struct dev_cluster *c = NULL;
        struct err err = {0};

        assert_int_equal(fs_replace(file, r->text, strlen(r->text), 0644, NULL), 0);
        if (dev_cluster_open(dir_of(0), &c, &err) == 0 || !strstr(err.msg, r->says))
            fail_msg("%s: \"%s\"", r->name, err.msg);
        assert_int_equal(access(file, F_OK), 0); /* kept for a person to look at */
    }
    assert_int_equal(fs_rmtree(dir_of(0), NULL), 0);
}

/* --- what goes wrong on the way up --- */

static void
test_handler_dies(void **state)
{
    struct dev_config cfg = config(0);
    struct dev_cluster *c = NULL;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    setenv(MODE, "die", 1);
    assert_int_equal(dev_cluster_up(&cfg, &c, &err), -ESRCH);
    unsetenv(MODE);
    assert_non_null(strstr(err.msg, "node n2 has ended: cannot find the floor"));
    assert_nothing_left(0, NULL);
}

static void
test_never_ready(void **state)
{
    struct dev_config cfg = config(0);
    struct dev_cluster *c = NULL;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    cfg.ready_ms = 300;
    setenv(MODE, "silent", 1);
    assert_int_equal(dev_cluster_up(&cfg, &c, &err), -ETIMEDOUT);
    unsetenv(MODE);
    assert_non_null(strstr(err.msg, "not Ready: n1, n2"));
    assert_nothing_left(0, NULL);
}

static void
test_no_migration_network(void **state)
{
    struct dev_config cfg = config(0);
    struct dev_cluster *c = NULL;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    cfg.ready_ms = 1000;
    setenv(MODE, "cut", 1);
    assert_int_equal(dev_cluster_up(&cfg, &c, &err), -ETIMEDOUT);
    unsetenv(MODE);
    assert_non_null(strstr(err.msg, "not Ready: n1 (migration network: no cable), n2 (migration"));
    assert_nothing_left(0, NULL);
}

struct saying {
    int at, n;
    atomic_bool *stop; /* set at the at-th line; NULL: SIGKILL to ourselves */
};

static void
say(void *ctx, const char *line)
{
    struct saying *s = ctx;

    (void)line;
    if (s->n++ != s->at)
        return;
    if (s->stop)
        atomic_store(s->stop, true);
    else
        raise(SIGKILL);
}

static void
test_interrupted(void **state)
{
    (void)state;
    NEEDS_ROOT();
    for (int at = 0; at < 4; at++) {
        struct dev_config cfg = config(0);
        struct dev_cluster *c = NULL;
        atomic_bool stop = false;
        struct saying s = {.at = at, .stop = &stop};
        struct err err = {0};

        cfg.stop = &stop;
        cfg.say = say;
        cfg.say_ctx = &s;
        assert_int_equal(dev_cluster_up(&cfg, &c, &err), -EINTR);
        assert_nothing_left(0, NULL);
    }
}

/* SIGKILL to `up` after each of its steps: `down` finds all that was made. */
static void
test_killed(void **state)
{
    int steps = 0, status;

    (void)state;
    NEEDS_ROOT();
    for (int at = 0;; at++) {
        struct dev_config cfg = config(0);
        AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
        struct saying s = {.at = at};
        struct err err = {0};
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
            cfg.say = say;
            cfg.say_ctx = &s;
            _exit(dev_cluster_up(&cfg, &c, NULL) == 0 ? 0 : 1);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (dev_cluster_open(cfg.dir, &c, &err) != 0)
            fail_msg("step %d: %s", at, err_msg(&err));
        down(c);
        assert_nothing_left(0, c->netns);
        if (WIFEXITED(status)) { /* it got through */
            assert_int_equal(WEXITSTATUS(status), 0);
            break;
        }
        steps++;
    }
    assert_true(steps >= 6);
}

/* --- processes of others --- */

static void
test_shell_in_a_namespace(void **state)
{
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    AUTO_FREE char *program = xasprintf("%s/someone", bin_dir);
    char *argv[] = {program, NULL};
    struct dev_process p;

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    assert_int_equal(dev_node_spawn(c, "n1", argv, "someone", &p, NULL), 0);
    down(c);
    assert_true(dev_proc_alive(&p));
    assert_int_equal(namespaces(c->netns), 0);
    assert_int_equal(access(dir_of(0), F_OK), -1);
    assert_true(dev_proc_kill(&p));
    assert_nothing_left(0, c->netns);
}

static void
test_reused_pid(void **state)
{
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct dev_process innocent, handler;
    pid_t pid;

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    pid = fork();
    if (pid == 0)
        wait_for_end();
    innocent = dev_proc_of(pid);
    handler = c->nodes[0].handler;
    assert_true(dev_proc_kill(&handler));
    c->nodes[0].handler.pid = innocent.pid; /* as if the pid had been given away */
    assert_false(dev_proc_alive(&c->nodes[0].handler));
    down(c);
    assert_true(dev_proc_alive(&innocent));
    assert_true(dev_proc_kill(&innocent));
    assert_nothing_left(0, c->netns);
}

static void
test_kill_and_start(void **state)
{
    const char *env[] = {MODE "=silent", "DEV_TEST_MORE=1", NULL};
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct dev_cluster *again = NULL;
    struct err err = {0};
    pid_t was;

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    was = c->nodes[0].handler.pid;
    assert_int_equal(dev_start_handler(c, "n1", NULL, &err), -EALREADY);
    assert_int_equal(dev_kill_handler(c, "n1", &err), 0);
    assert_int_equal(running("drover-handler"), 1);
    assert_int_equal(running("drover-guest"), 2); /* guests outlive their handler */
    assert_int_equal(dev_kill_handler(c, "n1", &err), 0);
    assert_int_equal(dev_wait_ready(c, 1000, NULL, &err), -ESRCH);
    assert_int_equal(dev_kill_handler(c, "n9", &err), -ENOENT);

    assert_int_equal(dev_start_handler(c, "n1", env, &err), 0);
    assert_true(c->nodes[0].handler.pid != was);
    AUTO_FREE char *path = xasprintf("/proc/%d/environ", (int)c->nodes[0].handler.pid);
    AUTO_FREE char *environment = NULL;
    size_t len;
    assert_int_equal(fs_read_all(path, 1 << 20, &environment, &len, NULL), 0);
    assert_non_null(memmem(environment, len, "DEV_TEST_MORE=1", 15));

    /* another process sees it, too */
    assert_int_equal(dev_cluster_open(c->dir, &again, NULL), 0);
    assert_int_equal(again->nodes[0].handler.pid, c->nodes[0].handler.pid);
    dev_cluster_free(again);

    assert_int_equal(dev_kill_controller(c, &err), 0);
    assert_int_equal(dev_start_controller(c, NULL, &err), 0);
    assert_int_equal(dev_wait_ready(c, 10000, NULL, &err), 0);
    down(c);
    assert_nothing_left(0, c->netns);
}

static void
test_spawn_refused(void **state)
{
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    char none[] = "/nonexistent/program";
    char *argv[] = {none, NULL};
    struct dev_process p;
    struct err err = {0};

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    assert_int_equal(dev_node_spawn(c, "n1", argv, "x", &p, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/program: cannot start"));
    assert_int_equal(dev_node_spawn(c, "n9", argv, "x", &p, &err), -ENOENT);
    down(c);
    assert_nothing_left(0, c->netns);
}

/* Without the capabilities: one sentence that names them. */
static void
test_not_permitted(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    NEEDS_ROOT();
    pid = fork();
    if (pid == 0) {
        struct dev_config cfg = config(0);
        struct dev_cluster *c = NULL;
        struct err err = {0};

        if (setuid(65534) != 0)
            _exit(9);
        if (dev_cluster_up(&cfg, &c, &err) != -EPERM)
            _exit(1);
        _exit(strstr(err.msg, "CAP_SYS_ADMIN") && strstr(err.msg, "CAP_NET_ADMIN") ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_nothing_left(0, NULL);
}

/* --- the verb --- */

struct verb_case {
    const char *name, *args[8];
    int exit_code;
    const char *out, *err; /* parts; NULL: nothing may be there */
};

static const struct verb_case verb_cases[] = {
    {"no verb", {"dev"}, 1, NULL, "want up, down or status"},
    {"unknown verb", {"dev", "sideways"}, 1, NULL, "\"sideways\": want up, down or status"},
    {"unknown option", {"dev", "up", "--node", "3"}, 1, NULL, "--node"},
    {"no nodes", {"dev", "up", "--nodes", "0"}, 1, NULL, "--nodes"},
    {"too many nodes", {"dev", "up", "--nodes", "65"}, 1, NULL, "--nodes"},
    {"both kinds of nodes", {"dev", "up", "--nodes", "2", "-f", "x.yaml"}, 1, NULL, "want one"},
    {"nodes file missing", {"dev", "up", "-f", "/nonexistent.yaml"}, 1, NULL, "/nonexistent.yaml"},
    {"unknown hypervisor", {"dev", "up", "--hypervisor", "abacus"}, 1, NULL, "abacus"},
    {"arguments", {"dev", "down", "now"}, 1, NULL, "now"},
    {"status without a cluster",
     {"dev", "status", "--dir", "/nonexistent"},
     2,
     "no dev cluster",
     NULL},
    {"down without a cluster",
     {"dev", "down", "--dir", "/nonexistent"},
     0,
     "there is no cluster",
     NULL},
    {"help", {"dev", "--help"}, 0, "up|down|status", NULL},
    {"help of up", {"dev", "up", "--help"}, 0, "--heartbeat", NULL},
};

static bool
holds(const char *text, const char *part)
{
    return part ? strstr(text, part) != NULL : text[0] == '\0';
}

static void
test_verb(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(verb_cases); i++) {
        const struct verb_case *v = &verb_cases[i];
        struct ran r = run_verb(verb_dev, v->args);

        if (r.exit_code != v->exit_code || !holds(r.out, v->out) || !holds(r.err, v->err))
            fail_msg("%s: exit %d, \"%s\", \"%s\"", v->name, r.exit_code, r.out, r.err);
        ran_done(&r);
    }
}

static void
test_verb_status_down(void **state)
{
    const char *status[] = {"dev", "status", "--dir", dir_of(0), NULL};
    const char *json[] = {"dev", "status", "--dir", dir_of(0), "-o", "json", NULL};
    const char *end[] = {"dev", "down", "--dir", dir_of(0), NULL};
    struct dev_config cfg = config(0);
    AUTO_DEV_CLUSTER struct dev_cluster *c = NULL;
    struct ran r;

    (void)state;
    NEEDS_ROOT();
    up(&cfg, &c);
    r = run_verb(verb_dev, status);
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.out, "All nodes are Ready."));
    ran_done(&r);
    r = run_verb(verb_dev, json);
    assert_int_equal(r.exit_code, 0);
    assert_non_null(strstr(r.out, "\"whole\": true"));
    ran_done(&r);
    assert_int_equal(dev_kill_controller(c, NULL), 0);
    r = run_verb(verb_dev, status);
    assert_int_equal(r.exit_code, 2);
    assert_non_null(strstr(r.out, "gone"));
    ran_done(&r);
    r = run_verb(verb_dev, end);
    assert_int_equal(r.exit_code, 0);
    assert_nothing_left(0, c->netns);
    ran_done(&r);
}

int
main(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_down),
        cmocka_unit_test(test_two_clusters),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_directory_of_others),
        cmocka_unit_test(test_directory_taken),
        cmocka_unit_test(test_bad_record),
        cmocka_unit_test(test_handler_dies),
        cmocka_unit_test(test_never_ready),
        cmocka_unit_test(test_no_migration_network),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_shell_in_a_namespace),
        cmocka_unit_test(test_reused_pid),
        cmocka_unit_test(test_kill_and_start),
        cmocka_unit_test(test_spawn_refused),
        cmocka_unit_test(test_not_permitted),
        cmocka_unit_test(test_verb),
        cmocka_unit_test(test_verb_status_down),
    };

    name = name ? name + 1 : argv[0];
    if (strcmp(name, "drover-controller") == 0)
        return controller_main(argc, argv);
    if (strcmp(name, "drover-handler") == 0)
        return handler_main(argc, argv);
    if (strcmp(name, "drover-guest") == 0 || strcmp(name, "someone") == 0)
        wait_for_end();
    return cmocka_run_group_tests_name("dev", tests, set_up, cut_up);
}
