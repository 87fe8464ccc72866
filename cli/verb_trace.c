/* `drover trace record`: which pages a running VM writes, over a time, into a file that
 * `drover simulate migration --trace` replays. Its handler records; this asks it to and fetches the
 * file, which lies on the handler's host. */
#include "cli/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "cli/client_migration.h"
#include "cli/client_trace.h"
#include "cli/client_verb.h"
#include "migrate/trace.h"

#define ANSWER_US 20000000

static const struct options_def defs[] = {
    {.name = "seconds",
     .type = OPTIONS_INT,
     .min = 1,
     .max = 600,
     .dflt = "10",
     .arg = "N",
     .help = "how long to record"},
    {.name = "output",
     .letter = 'o',
     .type = OPTIONS_STRING,
     .required = true,
     .arg = "FILE",
     .help = "where to; a file that is there is replaced"},
    VERB_OPTION_NAMESPACE,
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover trace",
    .usage = "record VM | NS/VM --seconds N -o FILE",
    .about =
        "Records which pages of a running VM's memory are written, and when. The VM runs on; each\n"
        "page costs it one write fault in each tenth of a second. A migration ends the\n"
        "recording early. To be run on the VM's host: the file is made there.",
    .defs = defs,
    .min_args = 2,
    .max_args = 2,
};

/* A copy, whole or not there. */
static int
fetch(const char *from, const char *to, struct err *err)
{
    AUTO_FREE char *part = xasprintf("%s.part", to);
    AUTO_FD int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO_FD int out = -1;
    struct stat st;
    ssize_t n = 1;

    if (in < 0 || fstat(in, &st) < 0)
        return err_set(err, -errno, "%s: %s", from, strerror(errno));
    out = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (out < 0)
        return err_set(err, -errno, "%s: %s", part, strerror(errno));
    while (n > 0 || (n < 0 && errno == EINTR))
        n = sendfile(out, in, NULL, 1u << 20);
    if (n < 0 || rename(part, to) < 0) {
        int rc = err_set(err, -errno, "%s: %s", to, strerror(errno));

        unlink(part);
        return rc;
    }
    return 0;
}

int
verb_trace(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_FREE char *ns = NULL, *vm = NULL;
    AUTO_SB struct sb line = SB_INIT;
    struct trace_result r;
    struct trace *t = NULL;
    const char *to;
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    if (strcmp(v.args[0], "record") != 0)
        return verb_errorf(&v, "%s: want \"trace record\"", v.args[0]);
    to = options_string(v.options, "output");
    client_catch_signals();
    if (verb_split_name(&v, v.args[1], &ns, &vm, &v.err) < 0 ||
        trace_ask(v.client, ns, vm, options_int(v.options, "seconds") * 1000, ANSWER_US, &r,
                  &v.err) < 0)
        return verb_error(&v);
    if (!r.ok)
        return verb_errorf(&v, "%s/%s: %s", ns, vm, r.text);
    if (fetch(r.path, to, &v.err) != 0)
        return verb_errorf(&v, "recorded on node %s, but it cannot be fetched from here: %s",
                           r.node, err_msg(&v.err));
    if (trace_load(to, &t, &v.err) != 0)
        return verb_error(&v);
    sb_printf(&line, "%s: %.1f s, %u intervals, ", to, (double)r.ms / 1000, t->intervals_len);
    trace_free(t);
    human_bytes(&line, r.written_bytes);
    sb_puts(&line, " of ");
    human_bytes(&line, r.memory_bytes);
    sb_puts(&line, " written; fitted: ");
    human_rate(&line, r.dirty_bytes_per_s);
    sb_puts(&line, " to a set of ");
    human_bytes(&line, r.set_bytes);
    puts(sb_str(&line));
    return EXIT_DONE;
}
