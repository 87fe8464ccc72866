/* XXH3-64 checksums (xxhash.com, "XXH3"), in the widest form that this processor has. They find
 * broken memory, cards and cables; they are no protection against an adversary (TLS is). */
#ifndef PROTO_SUM_H
#define PROTO_SUM_H

#include <stddef.h>
#include <stdint.h>

/* Sum of len bytes, started with seed: to sum several pieces, pass the sum of the ones before.
 * Same result on every machine. Any thread. */
uint64_t sum_bytes(const void *p, size_t len, uint64_t seed);

/* The portable form, for the test that compares all. */
uint64_t sum_bytes_plain(const void *p, size_t len, uint64_t seed);

/* sum.c and its test only: each form in a file of its own. Only where the processor has it. */
uint64_t sum_bytes_avx2(const void *p, size_t len, uint64_t seed);
uint64_t sum_bytes_avx512(const void *p, size_t len, uint64_t seed);

#endif
