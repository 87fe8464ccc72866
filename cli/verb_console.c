/* drover console: a VM's serial console, as virtctl's. docs/console.md. */
#include "cli/verbs.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "api/quantity.h"
#include "base/clock.h"
#include "cli/client_verb.h"
#include "cli/console.h"

#define WAIT_US (300 * 1000000LL) /* as virtctl */

static const struct options_def defs[] = {
    VERB_OPTION_NAMESPACE,
    {.name = "timeout",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .help = "how long to wait for the VM to run (exit 2); 5m when not given, 0 waits for ever"},
    {.name = "take-over", .type = OPTIONS_BOOL, .help = "disconnect another user who has it now"},
    {.name = "for",
     .type = OPTIONS_STRING,
     .arg = "DURATION",
     .help = "leave after this long, such as 5s: for scripts"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover console",
    .usage = "VM | NS/VM [OPTIONS]",
    .about =
        "Connects the terminal with a VM's serial console. ^] (Control and ]) leaves it.\n"
        "Off a terminal, input is copied to the console as it is, and the console to the output\n"
        "until it ends, also after the input's end.",
    .defs = defs,
    .min_args = 1,
    .max_args = 1,
};

struct session {
    struct verb *v;
    char *ns, *name, *path;
    int64_t timeout_us, for_us;
    bool terminal, waiting_said;
};

/* Whether there may be a console later: the VM does not run yet. */
static bool
worth_waiting(struct session *s, int status)
{
    AUTO_TREE struct tree *vm = NULL;

    if (status == 400)
        return true;
    return status == 404 &&
           client_get(s->v->client, kind_info(KIND_VM), s->ns, s->name, &vm, NULL) == 0;
}

/* 0, or what the verb exits with. */
static int
connect_to(struct session *s, struct console *ret)
{
    uint64_t start_us = clock_mono_us();

    for (;;) {
        struct err err = {0};
        int status, rc = console_connect(client_url(s->v->client), s->path, ret, &status, &err);

        if (rc == 0)
            return 0;
        if (atomic_load(&client_stop))
            return verb_errorf(s->v, "interrupted");
        if (!worth_waiting(s, status))
            return status == 409 && strstr(err_msg(&err), "in use")
                       ? verb_errorf(s->v,
                                     "%s/%s: its console is in use; --take-over disconnects its "
                                     "user",
                                     s->ns, s->name)
                       : verb_errorf(s->v, "%s", err_msg(&err));
        if (s->timeout_us > 0 && clock_mono_us() - start_us >= (uint64_t)s->timeout_us)
            return verb_no(s->v, "%s/%s: %s", s->ns, s->name, err_msg(&err));
        if (!s->waiting_said)
            fprintf(stderr, "Waiting for VM %s/%s to run\n", s->ns, s->name);
        s->waiting_said = true;
        client_sleep(CLIENT_POLL_MS);
    }
}

static int
use(struct session *s)
{
    for (;;) {
        struct console c;
        struct termios before, raw;
        enum console_end end;
        char reason[256];
        int exit_code = connect_to(s, &c);

        if (exit_code != 0)
            return exit_code;
        fprintf(stderr, "Connected to the console of %s/%s%s\n", s->ns, s->name,
                s->terminal ? "; ^] leaves it" : "");
        if (s->terminal && tcgetattr(STDIN_FILENO, &before) == 0) {
            raw = before;
            cfmakeraw(&raw);
            tcsetattr(STDIN_FILENO, TCSANOW, &raw);
        }
        end = console_copy(&c, STDIN_FILENO, STDOUT_FILENO, s->terminal, s->for_us, reason,
                           sizeof(reason));
        if (s->terminal) {
            tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
            fputc('\n', stderr);
        }
        console_close(&c);
        if (end == CONSOLE_LEFT)
            return EXIT_DONE;
        if (end == CONSOLE_CLOSED)
            return verb_errorf(s->v, "%s/%s: %s", s->ns, s->name,
                               *reason ? reason : "the console was closed");
        fprintf(stderr, "%s/%s: %s: connecting again\n", s->ns, s->name, reason);
    }
}

static int
duration(struct verb *v, const char *option, int64_t *ret_us)
{
    const char *text = options_string(v->options, option);
    int rc;

    if (!text)
        return 0;
    rc = duration_parse(text, ret_us, &v->err);
    if (rc == 0 && *ret_us <= 0)
        rc = err_set(&v->err, -EINVAL, "want more than 0");
    return rc < 0 ? err_prefix(&v->err, rc, "--%s %s", option, text) : 0;
}

int
verb_console(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_FREE char *ns = NULL, *name = NULL;
    AUTO_SB struct sb path = SB_INIT;
    struct session s = {.v = &v, .terminal = isatty(STDIN_FILENO) == 1};
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    client_catch_signals();
    signal(SIGPIPE, SIG_IGN);
    if (verb_timeout_us(&v, WAIT_US, &s.timeout_us) < 0 || duration(&v, "for", &s.for_us) < 0 ||
        verb_split_name(&v, v.args[0], &ns, &name, &v.err) < 0)
        return verb_error(&v);
    client_action_path(ns, "virtualmachineinstances", name, "console", &path);
    if (options_bool(v.options, "take-over"))
        sb_puts(&path, "?takeOver=true");
    s.ns = ns;
    s.name = name;
    s.path = path.buf;
    return use(&s);
}
