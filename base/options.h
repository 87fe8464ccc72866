/* Command-line options as a table: name, type, range, default and help stand in one place, and
 * parsing,
 * --help and its test are made from it. Long options (--name VALUE, --name=VALUE, --flag,
 * --flag=false), one-letter ones (-n VALUE, -nVALUE, -n=VALUE, -Aw), options and arguments in any
 * order, `--` ends the options.
 * --help and -h are always there. Pure but for memory; not thread-safe.
 *
 *   static const struct options_def defs[] = {
 *       {.name = "listen", .type = OPTIONS_STRING, .arg = "ADDR", .required = true, .help = "..."},
 *       {.name = "memory", .type = OPTIONS_SIZE, .dflt = "64Mi", .min = 4096, .help = "..."},
 *       {0},
 *   };
 */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sb.h"

enum options_type {
    OPTIONS_BOOL,   /* false unless given */
    OPTIONS_STRING, /* any text, or one of choices */
    OPTIONS_INT,    /* decimal, min..max */
    OPTIONS_SIZE    /* whole bytes with optional Ki Mi Gi Ti or k M G T, min..max */
};

struct options_def {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* -x, or 0 */
    enum options_type type;
    bool required;
    bool repeat;                /* may be given more than once: options_count, options_nth */
    int64_t min, max;           /* INT, SIZE; max 0 = no upper limit when min is 0 or more */
    const char *arg;            /* what --help calls the value; NULL: "TEXT", "N", "SIZE" */
    const char *dflt;           /* as it would be typed; NULL = none (options_given is false) */
    const char *const *choices; /* STRING: NULL-terminated list, or NULL */
    const char *help;           /* one sentence, lower case, no full stop */
};

struct options_program {
    const char *name;  /* "drover-guest": begins every error */
    const char *usage; /* after the name: "[OPTIONS] --dir DIR" */
    const char *about; /* one paragraph; '\n' between lines */
    const struct options_def *defs;
    size_t min_args, max_args; /* arguments that are no options */
};

struct options;

/* argv[0] is not looked at. *ret is the caller's (options_free) and points into argv and the
 * program, which must outlive it. Errors are one line: what was typed, what is wrong, what is
 * allowed. When --help is given nothing else is checked. -EINVAL on any error. */
int options_parse(const struct options_program *p, int argc, char *const *argv,
                  struct options **ret, struct err *err);
void options_free(struct options *o); /* NULL is fine */
void options_auto(struct options **o);
#define AUTO_OPTIONS CLEANUP(options_auto)

bool options_help_wanted(const struct options *o);
/* The text of --help, with every option, range, choice and default. */
void options_help(const struct options_program *p, struct sb *out);

/* Values by name; asking for a name or type that is not in the table is a bug (assert). The last
 * one that was given wins. Without one the default; without that "" is NULL, 0 or false. Strings
 * are borrowed. */
bool options_given(const struct options *o, const char *name); /* by the user, not by default */
bool options_bool(const struct options *o, const char *name);
const char *options_string(const struct options *o, const char *name);
int64_t options_int(const struct options *o, const char *name);  /* INT and SIZE */
size_t options_count(const struct options *o, const char *name); /* how often it was given */
const char *options_nth(const struct options *o, const char *name, size_t i); /* as typed */

/* Arguments that are no options, in order. Borrowed. */
size_t options_args(const struct options *o, const char *const **ret);

/* A size as typed: digits and one of the suffixes above. Used for OPTIONS_SIZE, and free for
 * others. */
int options_parse_size(const char *text, int64_t *ret, struct err *err);

#endif
