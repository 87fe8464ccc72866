/* What is known of a domain without libvirt: JSON in its directory; see libvirt_guest_int.h. */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "handler/libvirt_guest_int.h"
#include "handler/limits.h"

static const char *const exit_names[] = {
    [HV_EXIT_NONE] = "none",       [HV_EXIT_QUIT] = "quit",     [HV_EXIT_FAILED] = "failed",
    [HV_EXIT_CRASHED] = "crashed", [HV_EXIT_KILLED] = "killed", [HV_EXIT_MIGRATED] = "migrated",
};

static int copy_text(const struct tree *t, const char *key, char *dst, size_t size,
                     struct err *err);

bool
lv_uuid_parse(const char *text, unsigned char *ret)
{
    size_t n = 0;

    for (const char *c = text; *c && n < 2 * VIR_UUID_BUFLEN; c++) {
        const char *digits = "0123456789abcdef", *d;

        if (*c == '-')
            continue;
        d = strchr(digits, *c | 0x20);
        if (!d)
            return false;
        ret[n / 2] = (unsigned char)(n % 2 ? ret[n / 2] << 4 | (d - digits) : d - digits);
        n++;
    }
    return n == 2 * VIR_UUID_BUFLEN;
}

int
lv_record_check_uid(const char *uid, struct err *err)
{
    size_t len = uid ? strlen(uid) : 0;
    const char *allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

    if (len == 0 || len > 63 || uid[0] == '.' || strspn(uid, allowed) != len)
        return err_set(err, -EINVAL, "uid \"%.80s\": want 1 to 63 letters, digits, - . _",
                       uid ? uid : "");
    return 0;
}

int
lv_record_write(const char *dir, const struct lv_record *r, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, LV_RECORD_FILE);
    AUTO_TREE struct tree *t = tree_map();
    struct tree *copies = tree_list();
    AUTO_SB struct sb sb = SB_INIT;

    tree_set(t, "uid", tree_string(r->uid));
    tree_set(t, "namespace", tree_string(r->namespace_));
    tree_set(t, "name", tree_string(r->name));
    tree_set(t, "uuid", tree_string(r->uuid));
    tree_set(t, "domain", tree_string(r->domain));
    tree_set(t, "memoryBytes", tree_int((int64_t)r->memory_bytes));
    tree_set(t, "incoming", tree_bool(r->incoming));
    for (size_t i = 0; i < r->copies_len; i++)
        tree_append(copies, tree_string(r->copies[i]));
    tree_set(t, "copyDisks", copies);
    if (r->exit.kind != HV_EXIT_NONE) {
        tree_set(t, "exit", tree_string(exit_names[r->exit.kind]));
        tree_set(t, "exitText", tree_string(r->exit.text));
    }
    tree_to_json(t, 2, &sb);
    sb_putc(&sb, '\n');
    return fs_replace(path, sb.buf, sb.len, 0600, err);
}

int
lv_record_read(const char *dir, struct lv_record *ret, struct err *err)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, LV_RECORD_FILE);
    AUTO_FREE char *text = NULL;
    AUTO_TREE struct tree *t = NULL;
    struct lv_record r = {0};
    const struct tree *copies;
    const char *word;
    size_t len;
    int rc = fs_read_all(path, HANDLER_MAX_JOURNAL_BYTES, &text, &len, err);

    if (rc == 0)
        rc = tree_from_json(text, len, &t, err);
    if (rc != 0)
        return rc == -ENOENT ? rc : err_prefix(err, rc, "%s", path);
    if ((rc = copy_text(t, "uid", r.uid, sizeof r.uid, err)) != 0 ||
        (rc = copy_text(t, "namespace", r.namespace_, sizeof r.namespace_, err)) != 0 ||
        (rc = copy_text(t, "name", r.name, sizeof r.name, err)) != 0 ||
        (rc = copy_text(t, "uuid", r.uuid, sizeof r.uuid, err)) != 0 ||
        (rc = copy_text(t, "domain", r.domain, sizeof r.domain, err)) != 0)
        return err_prefix(err, rc, "%s", path);
    r.memory_bytes = (uint64_t)tree_get_int(tree_get(t, "memoryBytes"), 0);
    r.incoming = tree_get_bool(tree_get(t, "incoming"), false);
    copies = tree_get(t, "copyDisks");
    for (size_t i = 0; i < tree_len(copies) && r.copies_len < LV_MAX_COPIES; i++)
        snprintf(r.copies[r.copies_len++], LV_TARGET_NAME_SIZE, "%s",
                 tree_get_string(tree_at(copies, i), ""));
    word = tree_get_string(tree_get(t, "exit"), "none");
    for (size_t i = 0; i < ARRAY_LEN(exit_names); i++)
        if (strcmp(exit_names[i], word) == 0)
            r.exit.kind = (enum hv_exit_kind)i;
    snprintf(r.exit.text, sizeof r.exit.text, "%s", tree_get_string(tree_get(t, "exitText"), ""));
    *ret = r;
    return 0;
}

static int
copy_text(const struct tree *t, const char *key, char *dst, size_t size, struct err *err)
{
    const char *s = tree_get_string(tree_get(t, key), "");

    if (strlen(s) == 0 || strlen(s) >= size)
        return err_set(err, -EINVAL, "%s: want 1 to %zu characters", key, size - 1);
    memcpy(dst, s, strlen(s) + 1);
    return 0;
}
