/* Start and end of the native guest's process: options, directory, signals, and the word to whoever
 * started it. See guest_main.h and docs/native-guest.md. */
#include "handler/guest_main.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/options.h"
#include "base/rng.h"
#include "handler/guest_control.h"
#include "handler/guest_exit.h"
#include "handler/guest_machine.h"

static const struct options_def defs[] = {
    {.name = "dir",
     .type = OPTIONS_STRING,
     .required = true,
     .arg = "DIR",
     .help = "the guest's own directory, which exists"},
    {.name = "memory",
     .type = OPTIONS_SIZE,
     .required = true,
     .min = (int64_t)GUEST_MIN_MEMORY_BYTES,
     .max = (int64_t)GUEST_MAX_MEMORY_BYTES,
     .help = "size of the guest's memory"},
    {.name = "incoming",
     .type = OPTIONS_BOOL,
     .help = "wait for a state to be loaded, which brings everything but the memory's size"},
    {.name = "vcpus",
     .type = OPTIONS_INT,
     .min = 1,
     .max = GUEST_MAX_VCPUS,
     .dflt = "1",
     .help = "number of virtual CPUs"},
    {.name = "workload",
     .type = OPTIONS_STRING,
     .choices = guest_workload_names,
     .dflt = "idle",
     .help = "what they do"},
    {.name = "rate",
     .type = OPTIONS_SIZE,
     .max = (int64_t)GUEST_MAX_RATE,
     .dflt = "16Mi",
     .help = "bytes written a second by all of them; 0 makes no steps"},
    {.name = "set",
     .type = OPTIONS_SIZE,
     .dflt = "0",
     .help = "working set, from the start of memory; 0 means all"},
    {.name = "fill",
     .type = OPTIONS_SIZE,
     .dflt = "0",
     .help = "bytes of random data at the start of memory"},
    {.name = "zero",
     .type = OPTIONS_SIZE,
     .dflt = "0",
     .help = "bytes written with zeros after those"},
    {.name = "seed",
     .type = OPTIONS_INT,
     .min = INT64_MIN,
     .max = INT64_MAX,
     .dflt = "0",
     .help = "of all that is random; 0 means a fresh one"},
    {.name = "name", .type = OPTIONS_STRING, .dflt = "", .help = "the VM's name, for people"},
    {.name = "ready-fd",
     .type = OPTIONS_INT,
     .min = -1,
     .max = INT32_MAX,
     .dflt = "-1",
     .arg = "FD",
     .help = "socket to say \"ok\" on once it runs, or what is wrong"},
    {0},
};

static const struct options_program program = {
    .name = "drover-guest",
    .usage = "--dir DIR --memory SIZE [OPTIONS]",
    .about =
        "The native guest of drover: a process with guest memory and vCPU threads that write\n"
        "patterns from which every byte can be recomputed. Normally started by drover-handler.",
    .defs = defs,
};

static int
read_config(const struct options *o, struct guest_config *ret, struct err *err)
{
    const char *workload = options_string(o, "workload");
    int64_t seed = options_int(o, "seed");

    *ret = (struct guest_config){
        .memory_bytes = (uint64_t)options_int(o, "memory"),
        .set_bytes = (uint64_t)options_int(o, "set"),
        .fill_bytes = (uint64_t)options_int(o, "fill"),
        .zero_bytes = (uint64_t)options_int(o, "zero"),
        .rate_bytes_per_s = (uint64_t)options_int(o, "rate"),
        .seed = (uint64_t)seed,
        .vcpus = (uint32_t)options_int(o, "vcpus"),
    };
    while (strcmp(guest_workload_names[ret->workload], workload) != 0)
        ret->workload++;
    if (seed == 0 && rng_secret(&ret->seed, sizeof(ret->seed)) < 0)
        return err_set(err, -EIO, "no random seed: getrandom: %s", strerror(errno));
    return guest_config_check(ret, err);
}

/* SIGTERM and SIGINT come out of the returned descriptor; nothing else that ends a process by
 * accident does. */
static int
catch_signals(struct err *err)
{
    sigset_t set;
    int fd;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd >= 0 ? fd : err_set(err, -errno, "signalfd: %s", strerror(errno));
}

static void
tell_ready(int *fd, const char *text)
{
    if (*fd < 0)
        return;
    (void)send(*fd, text, strlen(text), MSG_NOSIGNAL); /* who started us may be gone */
    close(*fd);
    *fd = -1;
}

/* 0 or a signal number: ended in order; -errno. */
static int
run(const struct guest_config *cfg, bool incoming, int dir_fd, int *ready_fd, struct err *err)
{
    AUTO_FD int signal_fd = catch_signals(err);
    AUTO_FD int listen_fd = -1;
    struct guest_machine *m = NULL;
    int r;

    if (signal_fd < 0)
        return signal_fd;
    /* First, so that a handler that finds us while memory is filled waits for an answer. */
    listen_fd = guest_control_listen(dir_fd, err);
    if (listen_fd < 0)
        return listen_fd;
    r = guest_machine_new(cfg, incoming, &m, err);
    if (r < 0)
        return r;
    log_info("guest.started", LI("pid", getpid()), LI("memory_bytes", cfg->memory_bytes),
             LI("vcpus", incoming ? 0 : cfg->vcpus),
             LS("workload", incoming ? "incoming" : guest_workload_names[cfg->workload]));
    tell_ready(ready_fd, "ok");
    r = guest_control_run(m, listen_fd, signal_fd, err);
    if (!guest_machine_free(m))
        log_warn("guest.vcpu.stuck", LI("pid", getpid()));
    return r;
}

int
guest_main(int argc, char **argv)
{
    AUTO_OPTIONS struct options *o = NULL;
    AUTO_FD int dir_fd = -1;
    AUTO_FD int ready_fd = -1;
    struct guest_config cfg;
    struct err err = {0};
    char text[64] = "as asked";
    int r = options_parse(&program, argc, argv, &o, &err);

    if (r == 0 && options_help_wanted(o)) {
        AUTO_SB struct sb sb = SB_INIT;

        options_help(&program, &sb);
        fputs(sb_str(&sb), stdout);
        return 0;
    }
    if (r < 0) {
        fprintf(stderr, "%s\n", err_msg(&err));
        return 1;
    }
    log_init("drover-guest", LOG_LEVEL_INFO, false);
    prctl(PR_SET_NAME, "drover-guest");
    ready_fd = (int)options_int(o, "ready-fd");
    if (ready_fd >= 0 && fcntl(ready_fd, F_SETFD, FD_CLOEXEC) < 0) {
        r = err_set(&err, -errno, "--ready-fd %d: %s", ready_fd, strerror(errno));
        ready_fd = -1;
    }
    dir_fd = open(options_string(o, "dir"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (r == 0 && dir_fd < 0)
        r = err_set(&err, -errno, "%s: %s", options_string(o, "dir"), strerror(errno));
    if (dir_fd >= 0)
        guest_exit_init(dir_fd);
    if (r == 0)
        r = read_config(o, &cfg, &err);
    if (r == 0)
        r = run(&cfg, options_bool(o, "incoming"), dir_fd, &ready_fd, &err);
    if (r < 0) {
        tell_ready(&ready_fd, err_msg(&err));
        fprintf(stderr, "drover-guest: %s\n", err_msg(&err));
        if (dir_fd >= 0)
            guest_exit_record(GUEST_EXIT_FAILED, err_msg(&err));
        return 1;
    }
    if (r > 0)
        snprintf(text, sizeof(text), "by signal %d", r);
    guest_exit_record(GUEST_EXIT_QUIT, text);
    log_info("guest.ended", LS("why", text));
    return 0;
}
