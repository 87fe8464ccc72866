/* Structured log: a constant event name with typed fields, one line each, to stderr as logfmt or
 * JSON. Daemons and tools log; library code (sched, netpolicy, migrate's pure parts, api) does not.
 * Thread-safe: one write(2) a line.
 *
 *   log_info("migration.started", LS("vmi", name), LI("bytes", n), LD("seconds", 1.5));
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR = 1, LOG_LEVEL_WARN = 2, LOG_LEVEL_INFO = 3, LOG_LEVEL_DEBUG = 4 };

struct log_field {
    const char *key; /* NULL ends the list */
    char type;       /* 's' 'i' 'd' */
    const char *s;
    int64_t i;
    double d;
};

#define LS(k, v) ((struct log_field){.key = (k), .type = 's', .s = (v)})
#define LI(k, v) ((struct log_field){.key = (k), .type = 'i', .i = (int64_t)(v)})
#define LD(k, v) ((struct log_field){.key = (k), .type = 'd', .d = (v)})

/* component is borrowed for ever (a literal). json false = logfmt. */
void log_init(const char *component, enum log_level level, bool json);
bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_AT(lv, event, ...)                                                                     \
    do {                                                                                           \
        if (log_enabled(lv))                                                                       \
            log_write(lv, event,                                                                   \
                      (const struct log_field[]){{.key = ""}, ##__VA_ARGS__, {.key = NULL}} + 1);  \
    } while (0)
#define log_error(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, ##__VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, ##__VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, ##__VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, ##__VA_ARGS__)

#endif
