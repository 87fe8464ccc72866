/* AES-128-GCM over records as TLS 1.3 makes them (16 KiB of content, a header of 5 bytes, a tag of
 * 16), by OpenSSL's EVP: the yardstick for encrypted streams. A fixed key: it is measured, nothing
 * is kept secret. One thread each. */
#ifndef BENCH_BENCH_AES_H
#define BENCH_BENCH_AES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_AES_RECORD 16384u
#define BENCH_AES_EXTRA  (5u + 16u)

struct bench_aes;

struct bench_aes *bench_aes_new(bool seals);
void bench_aes_free(struct bench_aes *a);
/* len: at most BENCH_AES_RECORD; out has len + BENCH_AES_EXTRA bytes. */
void bench_aes_seal(struct bench_aes *a, const uint8_t *in, size_t len, uint8_t *out);
/* The other way: out has len bytes. False when the record was changed or is not the next one. */
bool bench_aes_open(struct bench_aes *a, const uint8_t *in, size_t len, uint8_t *out);

#endif
