/* drover apply: makes objects as manifests say; drover delete lives in verb_delete.c. Everything is
 * read and checked before anything is sent. */
#include "cli/verbs.h"

#include <string.h>

#include "cli/client_apply.h"
#include "cli/client_manifest.h"
#include "cli/client_verb.h"
#include "cli/print.h"

static const struct options_def defs[] = {
    {.name = "filename",
     .letter = 'f',
     .type = OPTIONS_STRING,
     .repeat = true,
     .required = true,
     .arg = "FILE|DIR|-",
     .help = "manifests; may be given again"},
    VERB_OPTION_NAMESPACE,
    {.name = "dry-run", .type = OPTIONS_BOOL, .help = "look what would change, and change nothing"},
    VERB_OPTION_SERVER,
    {0},
};

static const struct options_program program = {
    .name = "drover apply",
    .usage = "-f FILE|DIR|- [-f ...] [OPTIONS]",
    .about =
        "Creates objects or changes them to what manifests say. Takes turns with kubectl apply.",
    .defs = defs,
};

int
verb_apply(int argc, char **argv)
{
    AUTO_VERB struct verb v = {0};
    AUTO_TREE struct tree *objects = NULL;
    AUTO_FREE const char **paths = NULL;
    size_t len;
    bool dry_run;
    int exit_code;

    if (!verb_begin(&v, &program, argc, argv, &exit_code))
        return exit_code;
    len = options_count(v.options, "filename");
    paths = xcalloc(len + 1, sizeof(*paths));
    for (size_t i = 0; i < len; i++)
        paths[i] = options_nth(v.options, "filename", i);
    if (client_manifests_load(paths, len, v.namespace_, options_given(v.options, "namespace"),
                              &objects, &v.err) < 0)
        return verb_error(&v);
    dry_run = options_bool(v.options, "dry-run");
    exit_code = EXIT_DONE;
    for (size_t i = 0; i < tree_len(objects); i++) {
        const struct tree *obj = tree_at(objects, i);
        AUTO_SB struct sb name = SB_INIT;
        enum apply_result result;
        int rc = apply_object(v.client, obj, dry_run, &result, &v.err);

        print_object_name(object_kind(obj), object_name(obj), &name);
        if (rc < 0) {
            err_prefix(&v.err, rc, "%s", sb_str(&name));
            exit_code = verb_error(&v);
            continue;
        }
        printf("%s %s%s\n", sb_str(&name), apply_result_name(result), dry_run ? " (dry run)" : "");
        fflush(stdout);
    }
    return exit_code;
}
