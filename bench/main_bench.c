/* drover-bench: measures, side by side in one run. This file knows the names of the measurements
 * and their options. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/quantity.h"
#include "bench/bench_engine.h"

static const char usage[] =
    "drover-bench measures the engine against what the machine itself can do, in one run.\n\n"
    "Usage: drover-bench [engine] [OPTIONS]\n\n"
    "  --memory QUANTITY   guest memory (1Gi)\n"
    "  --repeat N          runs of each kind (5)\n"
    "  --channels N        of the engine (0: its own choice)\n"
    "  -o table|json\n\n"
    "Exit status: 0 done and what must hold does, 1 could not be done, 2 does not hold,\n"
    "77 this machine lacks something (root, a kernel feature).\n";

static int parse(int argc, char **argv, struct bench_engine_options *o, struct err *err);
static int parse_count(const char *option, const char *value, unsigned *ret, struct err *err);

int
main(int argc, char **argv)
{
    struct bench_engine_options o = {.bytes = 1u << 30, .repeat = 5};
    struct err err = {0};
    int rc;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return 0;
        }
    }
    rc = parse(argc, argv, &o, &err);
    if (rc == 0)
        rc = bench_engine(&o, &err);
    if (rc != 0)
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
    return rc == 0 ? 0 : rc == -ERANGE ? 2 : rc == -EPERM || rc == -ENOTSUP ? 77 : 1;
}

static int
parse(int argc, char **argv, struct bench_engine_options *o, struct err *err)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        struct quantity q;
        int rc = 0;

        if (i == 1 && strcmp(a, "engine") == 0)
            continue;
        if (strcmp(a, "--memory") != 0 && strcmp(a, "--repeat") != 0 &&
            strcmp(a, "--channels") != 0 && strcmp(a, "-o") != 0)
            return err_set(err, -EINVAL, "unknown argument '%s': see --help", a);
        if (!v)
            return err_set(err, -EINVAL, "%s: wants a value", a);
        i++;
        if (strcmp(a, "--memory") == 0) {
            rc = quantity_parse(v, &q, err);
            if (rc == 0 && (q.units < 4096 || q.units % 4096 != 0))
                rc = err_set(err, -EINVAL, "want a multiple of 4096 bytes, such as 1Gi");
            if (rc != 0)
                return err_prefix(err, rc, "--memory %s", v);
            o->bytes = (uint64_t)q.units;
        } else if (strcmp(a, "--repeat") == 0) {
            rc = parse_count(a, v, &o->repeat, err);
        } else if (strcmp(a, "--channels") == 0) {
            rc = parse_count(a, v, &o->channels, err);
        } else if (strcmp(v, "json") == 0 || strcmp(v, "table") == 0) {
            o->json = strcmp(v, "json") == 0;
        } else {
            return err_set(err, -EINVAL, "-o %s: want table or json", v);
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int
parse_count(const char *option, const char *value, unsigned *ret, struct err *err)
{
    char *end;
    unsigned long n = strtoul(value, &end, 10);

    if (!*value || *end || n > 99)
        return err_set(err, -EINVAL, "%s %s: want a number up to 99", option, value);
    *ret = (unsigned)n;
    return 0;
}
