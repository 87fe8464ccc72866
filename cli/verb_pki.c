/* `drover pki init|node`: certificates for migrations, for people without a PKI of their own. The
 * work is migrate/tls_pki.h's. */
#include <stdio.h>
#include <string.h>

#include "api/selector.h"
#include "base/options.h"
#include "base/sb.h"
#include "cli/verbs.h"
#include "migrate/tls_pki.h"

#define OPT_CA                                                              \
    {                                                                       \
        .name = "dir", .type = OPTIONS_STRING, .arg = "DIR", .dflt = "pki", \
        .help = "the CA's certificate and key lie here"                     \
    }

static const struct options_def init_defs[] = {OPT_CA, {0}};
static const struct options_def node_defs[] = {
    OPT_CA,
    {.name = "out",
     .type = OPTIONS_STRING,
     .arg = "DIR",
     .help = "where ca.crt, tls.crt and tls.key go; NAME below --dir unless given"},
    {.name = "days",
     .type = OPTIONS_INT,
     .min = 1,
     .max = TLS_PKI_CA_DAYS,
     .dflt = "365",
     .help = "how long the certificate is good"},
    {0},
};

static const struct options_program init_program = {
    .name = "drover pki init",
    .usage = "[--dir DIR]",
    .about = "Makes a CA for the migrations of one cluster: DIR/ca.crt and DIR/ca.key. The key\n"
             "signs every node: keep it off the nodes.",
    .defs = init_defs,
};
static const struct options_program node_program = {
    .name = "drover pki node",
    .usage = "NAME [--dir DIR] [--out DIR] [--days N]",
    .about = "Makes the certificate and key of the node NAME, for drover-handler --tls-dir. Run\n"
             "again before it ends: a handler takes the new one without a restart.",
    .defs = node_defs,
    .min_args = 1,
    .max_args = 1,
};

static const char usage[] =
    "drover pki init|node [OPTIONS]\n"
    "\n"
    "Certificates for encrypted migrations. `drover pki node --help` and so on.\n";

static int
pki_init(const struct options *o, struct err *err)
{
    const char *dir = options_string(o, "dir");
    int rc = tls_pki_ca(dir, err);

    if (rc == 0)
        printf("%s/ca.crt and %s/ca.key made: a CA for %d days\n", dir, dir, TLS_PKI_CA_DAYS);
    return rc;
}

static int
pki_node(const struct options *o, struct err *err)
{
    const char *dir = options_string(o, "dir"), *out = options_string(o, "out");
    const char *const *args;
    int rc;

    options_args(o, &args);
    rc = name_check(args[0], err);
    if (rc != 0)
        return err_prefix(err, rc, "node %s", args[0]);

    AUTO_FREE char *below = xasprintf("%s/%s", dir, args[0]);

    out = out ? out : below;
    rc = tls_pki_node(dir, args[0], out, (int)options_int(o, "days"), err);
    if (rc == 0)
        printf("%s: certificate of node %s for %lld days\n", out, args[0],
               (long long)options_int(o, "days"));
    return rc;
}

int
verb_pki(int argc, char **argv)
{
    static const struct {
        const char *name;
        const struct options_program *program;
        int (*run)(const struct options *o, struct err *err);
    } verbs[] = {
        {"init", &init_program, pki_init},
        {"node", &node_program, pki_node},
    };
    struct err err = {0};

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return EXIT_DONE;
    }
    for (size_t i = 0; argc > 1 && i < ARRAY_LEN(verbs); i++) {
        AUTO_OPTIONS struct options *o = NULL;

        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;

        int rc = options_parse(verbs[i].program, argc - 1, argv + 1, &o, &err);

        if (rc == 0 && options_help_wanted(o)) {
            AUTO_SB struct sb help = SB_INIT;

            options_help(verbs[i].program, &help);
            fputs(sb_str(&help), stdout);
            return EXIT_DONE;
        }
        if (rc != 0) { /* names the program itself */
            fprintf(stderr, "%s\n", err_msg(&err));
            return EXIT_ERROR;
        }
        rc = verbs[i].run(o, &err);
        if (rc != 0)
            fprintf(stderr, "drover pki %s: %s\n", argv[1], err_msg(&err));
        return rc ? EXIT_ERROR : EXIT_DONE;
    }
    fputs(usage, stderr);
    return EXIT_ERROR;
}
