/* Cloud-init data of a volume: see libvirt_disk_seed.h. The image is libvirt_disk_seed_image.c's. */
#include "handler/libvirt_disk_seed.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "handler/libvirt_disk_int.h"
#include "handler/limits.h"

#define HOSTNAME_MAX 63

/* The texts of one kind of data: as it is, in base64, or in a Secret. */
struct seed_keys {
    const char *text, *base64, *secret;
};
static const struct seed_keys user_keys = {"userData", "userDataBase64", "secretRef"};
static const struct seed_keys network_keys = {"networkData", "networkDataBase64",
                                              "networkDataSecretRef"};

static int only_known(const char *volume, const struct tree *source, struct hv_refusal *why);
static int take(const char *volume, const struct tree *source, const struct seed_keys *k,
                char **ret, size_t *ret_len, struct hv_refusal *why);
static char *meta_data(const struct tree *vmi, bool config_drive);
static int decode(const char *text, char **ret, size_t *ret_len);
static int digit(char c);
static void add(struct lv_seed *s, const char *path, char *data, size_t len);

int
lv_seed_new(const struct tree *vmi, const char *volume, const struct tree *source,
            bool config_drive, struct lv_seed **ret, struct hv_refusal *why)
{
    AUTO_FREE char *user = NULL, *network = NULL;
    size_t user_len = 0, network_len = 0;
    struct lv_seed *s;
    char *meta;

    if (only_known(volume, source, why) ||
        take(volume, source, &user_keys, &user, &user_len, why) ||
        take(volume, source, &network_keys, &network, &network_len, why))
        return -EINVAL;
    if (!user && !network)
        return lv_disk_refuse(why, LV_INVALID,
                              "volume %s: cloud-init without data: want userData, userDataBase64, "
                              "networkData or networkDataBase64",
                              volume);
    if (user_len + network_len > HANDLER_MAX_SEED_BYTES)
        return lv_disk_refuse(why, LV_INVALID,
                              "volume %s: %zu bytes of cloud-init data: at most %u are allowed",
                              volume, user_len + network_len, HANDLER_MAX_SEED_BYTES);
    s = xcalloc(1, sizeof(*s));
    meta = meta_data(vmi, config_drive);
    s->label = config_drive ? "config-2" : "cidata";
    add(s, config_drive ? "openstack/latest/meta_data.json" : "meta-data", meta, strlen(meta));
    /* NoCloud is found only where user-data is there, be it empty */
    add(s, config_drive ? "openstack/latest/user_data" : "user-data",
        user ? TAKE_PTR(user) : xstrdup(""), user_len);
    if (network)
        add(s, config_drive ? "openstack/latest/network_data.json" : "network-config",
            TAKE_PTR(network), network_len);
    *ret = s;
    return 0;
}

void
lv_seed_free(struct lv_seed *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->len; i++)
        free(s->files[i].data);
    free(s);
}

static int
only_known(const char *volume, const struct tree *source, struct hv_refusal *why)
{
    const struct seed_keys *const all[] = {&user_keys, &network_keys};

    for (size_t i = 0; i < tree_len(source); i++) {
        const char *key = tree_key_at(source, i);
        bool known = false;

        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            if (strcmp(key, all[k]->secret) == 0)
                return lv_disk_refuse(why, LV_FIELD,
                                      "volume %s: %s: there are no Secrets here: want %s or %s",
                                      volume, key, all[k]->text, all[k]->base64);
            known |= strcmp(key, all[k]->text) == 0 || strcmp(key, all[k]->base64) == 0;
        }
        if (!known)
            return lv_disk_refuse(why, LV_FIELD,
                                  "volume %s: %s is not supported: want userData, userDataBase64, "
                                  "networkData or networkDataBase64",
                                  volume, key);
    }
    return 0;
}

/* *ret stays NULL where nothing is said; the plain text wins, as upstream. */
static int
take(const char *volume, const struct tree *source, const struct seed_keys *k, char **ret,
     size_t *ret_len, struct hv_refusal *why)
{
    const char *text = tree_get_string(tree_get(source, k->text), "");
    const char *base64 = tree_get_string(tree_get(source, k->base64), "");

    if (*text) {
        *ret = xstrdup(text);
        *ret_len = strlen(text);
    } else if (*base64 && decode(base64, ret, ret_len)) {
        return lv_disk_refuse(why, LV_INVALID, "volume %s: %s is not base64 (RFC 4648)", volume,
                              k->base64);
    }
    return 0;
}

static char *
meta_data(const struct tree *vmi, bool config_drive)
{
    const char *name = tree_find_string(vmi, "", "metadata", "name", NULL);
    const char *ns = tree_find_string(vmi, "default", "metadata", "namespace", NULL);
    const char *uuid = tree_find_string(vmi, "", "spec", "domain", "firmware", "uuid", NULL);
    const char *hostname = tree_find_string(vmi, "", "spec", "hostname", NULL);
    AUTO_TREE struct tree *t = tree_map();
    AUTO_FREE char *id = *uuid ? xstrdup(uuid) : xasprintf("%s.%s", name, ns);
    AUTO_FREE char *label = NULL;
    AUTO_SB struct sb text = SB_INIT;
    size_t len;

    if (!*hostname)
        hostname = name;
    len = strcspn(hostname, ".");
    label = xstrndup(hostname, len < HOSTNAME_MAX ? len : HOSTNAME_MAX);
    if (config_drive) {
        tree_set(t, "instance_id", tree_stringf("%s.%s", name, ns));
        tree_set(t, "local_hostname", tree_string(label));
        tree_set(t, "hostname", tree_string(label));
        tree_set(t, "uuid", tree_string(id)); /* what cloud-init takes as the instance id */
    } else {
        tree_set(t, "instance-id", tree_string(id));
        tree_set(t, "local-hostname", tree_string(label));
    }
    tree_to_json(t, 0, &text);
    sb_putc(&text, '\n');
    return sb_steal(&text);
}

/* RFC 4648 with padding; line ends are passed over, as Go's decoder does. */
static int
decode(const char *text, char **ret, size_t *ret_len)
{
    AUTO_SB struct sb out = SB_INIT;
    unsigned bits = 0, have = 0, digits = 0, pads = 0;

    for (; *text; text++) {
        int d = digit(*text);

        if (*text == '\n' || *text == '\r')
            continue;
        if (*text == '=' && (digits + pads) % 4 >= 2) {
            pads++;
            continue;
        }
        if (d < 0 || pads)
            return -EINVAL;
        bits = (bits << 6 | (unsigned)d) & 0xfff;
        have += 6;
        digits++;
        if (have >= 8) {
            have -= 8;
            sb_putc(&out, (char)(bits >> have));
        }
    }
    if ((digits + pads) % 4 != 0 || pads > 2)
        return -EINVAL;
    *ret_len = out.len;
    *ret = sb_steal(&out);
    return 0;
}

static int
digit(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = strchr(alphabet, c);

    return at && c ? (int)(at - alphabet) : -1;
}

static void
add(struct lv_seed *s, const char *path, char *data, size_t len)
{
    s->files[s->len++] = (struct lv_seed_file){.path = path, .data = data, .len = len};
}
