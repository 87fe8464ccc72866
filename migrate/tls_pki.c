/* A small certification authority; see tls_pki.h. RFC 5280 has the extensions. */
#include "migrate/tls_pki.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fs.h"
#include "base/rng.h"
#include "base/sb.h"
#include "migrate/tls_impl.h"

#define PATH_SIZE  4096
#define SKEW_S     300 /* the clocks of nodes differ */
#define MAX_FILE   65536
#define NAME_BYTES 63 /* of a commonName: X.520 allows 64 */

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static int new_cert(struct pair *p, const char *name, int days, struct err *err);
static int extend(X509 *cert, X509 *issuer, int nid, const char *value, struct err *err);
static int name_node(X509 *cert, const char *node, struct err *err);
static int sign(struct pair *p, const struct pair *by, struct err *err);
static int load(const char *dir, struct pair *p, struct err *err);
static int save(const char *dir, const char *name, X509 *cert, EVP_PKEY *key, struct err *err);
static int path_of(char buf[PATH_SIZE], const char *dir, const char *name, struct err *err);
static void clean_pair(struct pair *p);

int
tls_pki_ca(const char *dir, struct err *err)
{
    CLEANUP(clean_pair) struct pair ca = {0};
    char path[PATH_SIZE];
    struct stat st;
    int rc = path_of(path, dir, "ca.key", err);

    ERR_clear_error();
    if (rc == 0 && stat(path, &st) == 0)
        return err_set(err, -EEXIST, "%s: there is a CA already", path);
    if (rc == 0)
        rc = fs_mkdirs(dir, 0755, err);
    if (rc == 0)
        rc = new_cert(&ca, "drover migration CA", TLS_PKI_CA_DAYS, err);
    if (rc == 0)
        rc = extend(ca.cert, ca.cert, NID_basic_constraints, "critical,CA:TRUE,pathlen:0", err);
    if (rc == 0)
        rc = extend(ca.cert, ca.cert, NID_key_usage, "critical,keyCertSign,cRLSign", err);
    if (rc == 0)
        rc = extend(ca.cert, ca.cert, NID_subject_key_identifier, "hash", err);
    if (rc == 0)
        rc = sign(&ca, &ca, err);
    if (rc == 0)
        rc = save(dir, "ca.key", NULL, ca.key, err);
    return rc ? rc : save(dir, "ca.crt", ca.cert, NULL, err);
}

int
tls_pki_node(const char *ca_dir, const char *node, const char *out_dir, int days, struct err *err)
{
    CLEANUP(clean_pair) struct pair ca = {0}, own = {0};
    int rc;

    ERR_clear_error();
    if (!*node || strlen(node) >= TLS_NODE_SIZE ||
        strspn(node, "abcdefghijklmnopqrstuvwxyz0123456789-.") != strlen(node))
        return err_set(err, -EINVAL,
                       "node name '%s': want a DNS name: a-z, 0-9, '-' and '.', at most %d", node,
                       TLS_NODE_SIZE - 1);
    rc = load(ca_dir, &ca, err);
    if (rc == 0)
        rc = fs_mkdirs(out_dir, 0755, err);
    if (rc == 0)
        rc = new_cert(&own, node, days, err);
    if (rc == 0)
        rc = extend(own.cert, ca.cert, NID_basic_constraints, "critical,CA:FALSE", err);
    if (rc == 0)
        rc = extend(own.cert, ca.cert, NID_key_usage, "critical,digitalSignature", err);
    if (rc == 0)
        rc = extend(own.cert, ca.cert, NID_ext_key_usage, "serverAuth,clientAuth", err);
    if (rc == 0)
        rc = extend(own.cert, ca.cert, NID_authority_key_identifier, "keyid", err);
    if (rc == 0)
        rc = name_node(own.cert, node, err);
    if (rc == 0)
        rc = sign(&own, &ca, err);
    if (rc == 0)
        rc = save(out_dir, "ca.crt", ca.cert, NULL, err);
    if (rc == 0)
        rc = save(out_dir, "tls.key", NULL, own.key, err);
    return rc ? rc : save(out_dir, "tls.crt", own.cert, NULL, err);
}

/* A key, and a certificate of it that nobody has signed yet. */
static int
new_cert(struct pair *p, const char *name, int days, struct err *err)
{
    uint8_t serial[16];
    char cn[NAME_BYTES + 1];
    BIGNUM *n = NULL;
    X509_NAME *subject;
    bool ok;

    snprintf(cn, sizeof cn, "%s", name);
    if (rng_secret(serial, sizeof serial) != 0)
        return err_set(err, -EIO, "no random numbers");
    serial[0] &= 0x7f; /* positive, and of 16 bytes */
    serial[0] |= 0x40;
    p->key = EVP_EC_gen("P-256");
    p->cert = X509_new();
    n = BN_bin2bn(serial, sizeof serial, NULL);
    ok = p->key && p->cert && n && X509_set_version(p->cert, X509_VERSION_3) &&
         BN_to_ASN1_INTEGER(n, X509_get_serialNumber(p->cert)) &&
         X509_gmtime_adj(X509_getm_notBefore(p->cert), -SKEW_S) &&
         X509_gmtime_adj(X509_getm_notAfter(p->cert), (long)days * 86400) &&
         X509_set_pubkey(p->cert, p->key);
    BN_free(n);
    subject = ok ? X509_get_subject_name(p->cert) : NULL;
    ok = ok &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0);
    return ok ? 0 : tls_err(err, -EIO, "certificate of %s", name);
}

static int
extend(X509 *cert, X509 *issuer, int nid, const char *value, struct err *err)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;
    bool ok;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ok = e && X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
    return ok ? 0 : tls_err(err, -EIO, "certificate: %s", value);
}

static int
name_node(X509 *cert, const char *node, struct err *err)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    bool ok = names && name && text && ASN1_STRING_set(text, node, -1);

    if (ok) {
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        text = NULL;
        ok = sk_GENERAL_NAME_push(names, name) > 0;
    }
    if (ok) {
        name = NULL;
        ok = X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0);
    }
    ASN1_IA5STRING_free(text);
    GENERAL_NAME_free(name);
    GENERAL_NAMES_free(names);
    return ok ? 0 : tls_err(err, -EIO, "certificate of %s", node);
}

static int
sign(struct pair *p, const struct pair *by, struct err *err)
{
    if (!X509_set_issuer_name(p->cert, X509_get_subject_name(by->cert)) ||
        !X509_sign(p->cert, by->key, EVP_sha256()))
        return tls_err(err, -EIO, "certificate");
    return 0;
}

static int
load(const char *dir, struct pair *p, struct err *err)
{
    char path[PATH_SIZE];
    AUTO_FREE char *cert = NULL, *key = NULL;
    size_t cert_len = 0, key_len = 0;
    BIO *in;
    int rc = path_of(path, dir, "ca.crt", err);

    if (rc == 0)
        rc = fs_read_all(path, MAX_FILE, &cert, &cert_len, err);
    if (rc == 0)
        rc = path_of(path, dir, "ca.key", err);
    if (rc == 0)
        rc = fs_read_all(path, MAX_FILE, &key, &key_len, err);
    if (rc != 0)
        return rc;
    in = BIO_new_mem_buf(cert, (int)cert_len);
    p->cert = in ? PEM_read_bio_X509(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    in = BIO_new_mem_buf(key, (int)key_len);
    p->key = in ? PEM_read_bio_PrivateKey(in, NULL, NULL, NULL) : NULL;
    BIO_free(in);
    explicit_bzero(key, key_len);
    if (!p->cert || !p->key || X509_check_private_key(p->cert, p->key) != 1)
        return tls_err(err, -EINVAL, "CA in %s", dir);
    return 0;
}

/* One of the two, as PEM. */
static int
save(const char *dir, const char *name, X509 *cert, EVP_PKEY *key, struct err *err)
{
    BIO *out = BIO_new(BIO_s_secmem());
    char path[PATH_SIZE];
    char *buf = NULL;
    long len;
    int rc = path_of(path, dir, name, err);
    bool ok = out && (cert ? PEM_write_bio_X509(out, cert)
                           : PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL));

    if (rc == 0 && !ok)
        rc = tls_err(err, -EIO, "%s", path);
    if (rc == 0) {
        len = BIO_get_mem_data(out, &buf);
        rc = fs_replace(path, buf, (size_t)len, key ? 0600 : 0644, err);
    }
    BIO_free(out);
    return rc;
}

static int
path_of(char buf[PATH_SIZE], const char *dir, const char *name, struct err *err)
{
    int n = snprintf(buf, PATH_SIZE, "%s/%s", dir, name);

    return n > 0 && n < PATH_SIZE ? 0 : err_set(err, -ENAMETOOLONG, "%s/%s: too long", dir, name);
}

static void
clean_pair(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}
