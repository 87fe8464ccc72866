/* What every verb that talks to a controller begins and ends with: its options, its namespace,
 * its connection, its one line of error; and the ways in which people name objects on a command
 * line. */
#ifndef CLI_CLIENT_VERB_H
#define CLI_CLIENT_VERB_H

#include <stdint.h>

#include "base/options.h"
#include "cli/client.h"
#include "cli/verbs.h"

/* Rows for a verb's option table. */
#define VERB_OPTION_SERVER                                                                       \
    {                                                                                            \
        .name = "server", .letter = 's', .type = OPTIONS_STRING, .arg = "URL",                   \
        .help = "the controller: http://HOST:PORT or unix:PATH (else $DROVER_SERVER, a running " \
                "dev cluster, " CLIENT_DEFAULT_URL ")"                                           \
    }
#define VERB_OPTION_NAMESPACE                                                    \
    {                                                                            \
        .name = "namespace", .letter = 'n', .type = OPTIONS_STRING, .arg = "NS", \
        .dflt = "default", .help = "the namespace"                               \
    }
#define VERB_OPTION_ALL_NAMESPACES                                                              \
    {                                                                                           \
        .name = "all-namespaces", .letter = 'A', .type = OPTIONS_BOOL, .help = "all namespaces" \
    }
#define VERB_OPTION_SELECTOR                                                          \
    {                                                                                 \
        .name = "selector", .letter = 'l', .type = OPTIONS_STRING, .arg = "SELECTOR", \
        .help = "only objects with these labels: a=b,c!=d,e,!f,g in (x,y)"            \
    }
#define VERB_OPTION_FILES                                                          \
    {                                                                              \
        .name = "filename", .letter = 'f', .type = OPTIONS_STRING, .repeat = true, \
        .arg = "FILE|DIR|-", .help = "manifests; may be given again"               \
    }
#define VERB_OPTION_TIMEOUT                                                                     \
    {                                                                                           \
        .name = "timeout", .type = OPTIONS_STRING, .arg = "DURATION",                           \
        .help = "give up waiting after this long, such as 90s or 5m (exit 2); 0 waits for ever" \
    }

struct verb {
    const char *name; /* "drover get": begins every error */
    struct options *options;
    struct client *client;
    const char *namespace_; /* NULL with --all-namespaces */
    const char *const *args;
    size_t args_len;
    struct err err;
};

/* Parses argv and (unless --help was asked for, which it prints) opens the client. True: go on.
 * False: the verb returns *ret_exit. Always followed by verb_done. */
bool verb_begin(struct verb *v, const struct options_program *program, int argc, char **argv,
                int *ret_exit);
void verb_done(struct verb *v);
#define AUTO_VERB CLEANUP(verb_done)

/* Prints v->err as one line on stderr and returns EXIT_ERROR. */
int verb_error(struct verb *v);
/* The same with a message of its own. */
int verb_errorf(struct verb *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The answer is no: one line on stderr, EXIT_NO. */
int verb_no(struct verb *v, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* --timeout in microseconds; dflt_us when it was not given. */
int verb_timeout_us(struct verb *v, int64_t dflt_us, int64_t *ret_us);

/* A verb whose arguments are VMs, "NS/NAME" or "NAME", and that waits for each (--timeout, else dflt_us):
 * one is called for each in turn and returns an exit code; EXIT_ERROR outweighs EXIT_NO. */
typedef int (*verb_vm_fn)(struct verb *v, const char *ns, const char *name, int64_t timeout_us,
                          void *ctx);
int verb_each_vm(const struct options_program *program, int argc, char **argv, int64_t dflt_us,
                 verb_vm_fn one, void *ctx);

/* --- objects as people name them --- */
struct verb_target {
    const struct kind_info *ki;
    const char *name; /* NULL: all of that kind */
};

struct verb_targets {
    struct verb_target *items;
    size_t len;
    size_t used; /* arguments that were taken */
    struct arena *arena;
};

/* "TYPE[,TYPE...] [NAME...]" or "TYPE/NAME..."; args up to the first one that contains '=' or ends
 * with '-' or ':' are taken when stop_at_pairs (label, annotate, taint). */
int verb_targets_parse(const char *const *args, size_t len, bool stop_at_pairs,
                       struct verb_targets *ret, struct err *err);
void verb_targets_done(struct verb_targets *t);
/* "NS/NAME" or "NAME" (then in v's namespace); the parts are the caller's. */
int verb_split_name(const struct verb *v, const char *text, char **ret_ns, char **ret_name,
                    struct err *err);

#endif
