/* drover-bench: measures, side by side in one run. */
#include <errno.h>

#include "bench/bench_args.h"
#include "bench/bench_house.h"

static int
run(void *ctx)
{
    return bench_run_all(ctx);
}

static int
run_in_house(struct bench_args *a, int *ret_status, struct err *err)
{
    int rc = mig_probe(err);

    return rc ? rc : bench_house_run(run, a, ret_status, err);
}

int
main(int argc, char **argv)
{
    struct bench_args *a = NULL;
    struct err err = {0};
    int status = 0, rc = bench_args_parse(argc, argv, &a, &err);

    if (rc != 0) {
        fprintf(stderr, "%s\n", err_msg(&err)); /* begins with the program's name */
        bench_args_free(a);
        return 1;
    }
    if (a->help)
        bench_args_print_help();
    else if (bench_args_need_house(a))
        rc = run_in_house(a, &status, &err);
    else
        status = bench_run_all(a);
    if (rc != 0)
        fprintf(stderr, "drover-bench: %s\n", err_msg(&err));
    bench_args_free(a);
    return rc == 0 ? status : rc == -EPERM || rc == -ENOTSUP ? 77 : 1;
}
