/* Structured log lines to stderr; see log.h. */
#include "base/log.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/sb.h"

static const char *log_component = "drover";
static atomic_int log_level = LOG_LEVEL_WARN;
static bool log_json;

static void add_value(struct sb *sb, const struct log_field *f);
static void add_quoted(struct sb *sb, const char *s);
static bool plain(const char *s);

void
log_init(const char *component, enum log_level level, bool json)
{
    log_component = component;
    log_json = json;
    atomic_store(&log_level, (int)level);
}

bool
log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

void
log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    static const char *const names[] = {"", "error", "warn", "info", "debug"};
    AUTO_SB struct sb sb = SB_INIT;
    int64_t now = clock_wall_us();
    time_t secs = (time_t)(now / 1000000);
    struct tm tm;
    char ts[48];

    gmtime_r(&secs, &tm);
    strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%S", &tm);
    if (log_json)
        sb_printf(
            &sb, "{\"timestamp\":\"%s.%06dZ\",\"level\":\"%s\",\"component\":\"%s\",\"msg\":\"%s\"",
            ts, (int)(now % 1000000), names[level], log_component, event);
    else
        sb_printf(&sb, "%s.%06dZ level=%s component=%s msg=%s", ts, (int)(now % 1000000),
                  names[level], log_component, event);
    for (const struct log_field *f = fields; f->key; f++) {
        if (log_json)
            sb_printf(&sb, ",\"%s\":", f->key);
        else
            sb_printf(&sb, " %s=", f->key);
        add_value(&sb, f);
    }
    sb_puts(&sb, log_json ? "}\n" : "\n");
    (void)!write(STDERR_FILENO, sb.buf, sb.len);
}

static void
add_value(struct sb *sb, const struct log_field *f)
{
    switch (f->type) {
    case 'i':
        sb_printf(sb, "%lld", (long long)f->i);
        break;
    case 'd':
        sb_printf(sb, "%.6g", f->d);
        break;
    default:
        if (!f->s)
            sb_puts(sb, log_json ? "null" : "-");
        else if (!log_json && plain(f->s))
            sb_puts(sb, f->s);
        else
            add_quoted(sb, f->s);
    }
}

static bool
plain(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' ||
            (unsigned char)*s >= 127)
            return false;
    return true;
}

static void
add_quoted(struct sb *sb, const char *s)
{
    sb_putc(sb, '"');
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '"' || c == '\\')
            sb_printf(sb, "\\%c", c);
        else if (c == '\n')
            sb_puts(sb, "\\n");
        else if (c < ' ' || c == 127)
            sb_printf(sb, "\\u%04x", c);
        else
            sb_putc(sb, (char)c);
    }
    sb_putc(sb, '"');
}
