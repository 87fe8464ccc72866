PROGS += drover-bench
drover-bench_MAIN := bench/main_bench.c
drover-bench_LIBS := bench
