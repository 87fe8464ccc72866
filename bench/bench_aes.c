/* See bench_aes.h. */
#include "bench/bench_aes.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/sb.h"

#define HEADER 5u
#define TAG    16u

struct bench_aes {
    EVP_CIPHER_CTX *ctx;
    uint8_t nonce[12]; /* a counter */
};

static void
must(int ok)
{
    if (!ok)
        abort(); /* OpenSSL without AES-GCM, or out of memory */
}

struct bench_aes *
bench_aes_new(bool seals)
{
    static const uint8_t key[16] = "drover-bench-key";
    struct bench_aes *a = xcalloc(1, sizeof *a);

    a->ctx = EVP_CIPHER_CTX_new();
    must(a->ctx != NULL);
    must(seals ? EVP_EncryptInit_ex(a->ctx, EVP_aes_128_gcm(), NULL, key, a->nonce)
               : EVP_DecryptInit_ex(a->ctx, EVP_aes_128_gcm(), NULL, key, a->nonce));
    return a;
}

void
bench_aes_free(struct bench_aes *a)
{
    if (a)
        EVP_CIPHER_CTX_free(a->ctx);
    free(a);
}

static void
next_nonce(struct bench_aes *a)
{
    for (size_t i = sizeof a->nonce; i-- > 0 && ++a->nonce[i] == 0;)
        continue;
}

void
bench_aes_seal(struct bench_aes *a, const uint8_t *in, size_t len, uint8_t *out)
{
    int n;

    out[0] = 23; /* application data, as TLS says it */
    out[1] = out[2] = 3;
    out[3] = (uint8_t)((len + TAG) >> 8);
    out[4] = (uint8_t)(len + TAG);
    next_nonce(a);
    must(EVP_EncryptInit_ex(a->ctx, NULL, NULL, NULL, a->nonce));
    must(EVP_EncryptUpdate(a->ctx, NULL, &n, out, HEADER));
    must(EVP_EncryptUpdate(a->ctx, out + HEADER, &n, in, (int)len));
    must(EVP_EncryptFinal_ex(a->ctx, out + HEADER + n, &n));
    must(EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_GCM_GET_TAG, TAG, out + HEADER + len));
}

bool
bench_aes_open(struct bench_aes *a, const uint8_t *in, size_t len, uint8_t *out)
{
    uint8_t tag[TAG];
    int n;

    memcpy(tag, in + HEADER + len, TAG);
    next_nonce(a);
    must(EVP_DecryptInit_ex(a->ctx, NULL, NULL, NULL, a->nonce));
    must(EVP_DecryptUpdate(a->ctx, NULL, &n, in, HEADER));
    must(EVP_DecryptUpdate(a->ctx, out, &n, in + HEADER, (int)len));
    must(EVP_CIPHER_CTX_ctrl(a->ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag));
    return EVP_DecryptFinal_ex(a->ctx, out + n, &n) == 1;
}
