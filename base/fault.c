/* Fault points, armed through the environment; see fault.h. */
#include "base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/sb.h"

enum action { ACT_NONE, ACT_LOG, ACT_KILL, ACT_STOP, ACT_ERROR };

static const struct {
    const char *name, *text;
} points[FAULT_COUNT] = {
#define X(id, name, text) [FAULT_##id] = {name, text},
#include "base/faults.def"
#undef X
};

bool fault_armed;
static struct {
    atomic_ulong hits;
    unsigned long nth;
    enum action action;
    bool ever_after;
} armed[FAULT_COUNT];
static int log_fd = -1;
static void (*watcher)(enum fault_point p, bool acts);

int
fault_init(struct err *err)
{
    const char *spec = getenv("DROVER_FAULT"), *log = getenv("DROVER_FAULT_LOG");

    if (log && *log) {
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0)
            return err_set(err, -errno, "DROVER_FAULT_LOG: %s: %s", log, strerror(errno));
        fault_armed = true;
    }
    if (!spec || !*spec)
        return 0;

    AUTO_FREE char *copy = xstrdup(spec);
    char *save = NULL;

    for (char *s = strtok_r(copy, ",", &save); s; s = strtok_r(NULL, ",", &save)) {
        int rc = fault_arm(s, err);

        if (rc != 0)
            return rc;
    }
    return 0;
}

bool
fault_hit(enum fault_point p)
{
    unsigned long n = atomic_fetch_add(&armed[p].hits, 1) + 1;
    bool now = armed[p].action != ACT_NONE &&
               (n == armed[p].nth || (n > armed[p].nth && armed[p].ever_after));

    if (watcher)
        watcher(p, now && armed[p].action != ACT_LOG);
    if (n == 1 && log_fd >= 0)
        dprintf(log_fd, "%s\n", points[p].name);
    if (!now)
        return false;
    switch (armed[p].action) {
    case ACT_KILL:
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    case ACT_STOP:
        kill(getpid(), SIGSTOP);
        return false;
    case ACT_ERROR:
        return true;
    default:
        return false;
    }
}

int
fault_arm(const char *spec, struct err *err)
{
    static const char *const actions[] = {
        [ACT_LOG] = "log", [ACT_KILL] = "kill", [ACT_STOP] = "stop", [ACT_ERROR] = "error"};
    AUTO_FREE char *name = xstrdup(spec);
    char *action = strrchr(name, ':'), *nth = NULL;
    unsigned long n = 1;
    bool ever_after = false;

    if (!action)
        return err_set(err, -EINVAL, "DROVER_FAULT: %s: want NAME[@N[+]]:kill|error|stop|log",
                       spec);
    *action++ = '\0';
    nth = strrchr(name, '@');
    if (nth) {
        char *end;

        *nth++ = '\0';
        n = strtoul(nth, &end, 10);
        ever_after = *end == '+';
        end += ever_after;
        if (*end || n == 0)
            return err_set(err, -EINVAL, "DROVER_FAULT: %s: N in NAME@N counts from 1", spec);
    }
    for (size_t p = 0; p < FAULT_COUNT; p++) {
        if (strcmp(points[p].name, name) != 0)
            continue;
        for (size_t a = ACT_LOG; a < ARRAY_LEN(actions); a++) {
            if (strcmp(actions[a], action) == 0) {
                armed[p].action = (enum action)a;
                armed[p].nth = n;
                armed[p].ever_after = ever_after;
                fault_armed = true;
                return 0;
            }
        }
        return err_set(err, -EINVAL, "DROVER_FAULT: %s: action %s is not kill, error, stop or log",
                       spec, action);
    }
    return err_set(err, -EINVAL, "DROVER_FAULT: no fault point is named %s (see base/faults.def)",
                   name);
}

void
fault_clear(void)
{
    fault_armed = false;
    watcher = NULL;
    for (size_t p = 0; p < FAULT_COUNT; p++) {
        armed[p].action = ACT_NONE;
        atomic_store(&armed[p].hits, 0);
    }
}

void
fault_watch(void (*fn)(enum fault_point p, bool acts))
{
    watcher = fn;
    fault_armed = fault_armed || fn;
}

const char *
fault_name(enum fault_point p)
{
    return points[p].name;
}

const char *
fault_text(enum fault_point p)
{
    return points[p].text;
}
