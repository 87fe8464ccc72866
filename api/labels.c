/* Syntax of names and labels, after apimachinery's validation package (RFC 1123). Part of
 * selector.h. */
#include "api/selector.h"

#include <errno.h>
#include <string.h>

#include "api/limits.h"

#define LABEL_MAX 63

static bool is_lower_alnum(char c);
static bool is_alnum(char c);
static bool qualified_part(const char *s, size_t len);

int
label_key_check(const char *key, struct err *err)
{
    const char *slash = strchr(key, '/');
    const char *name = slash ? slash + 1 : key;
    size_t len = strlen(name);

    if (slash) {
        char prefix[API_MAX_NAME_BYTES + 1];
        size_t prefix_len = (size_t)(slash - key);

        if (strchr(name, '/'))
            return err_set(err, -EINVAL,
                           "a qualified name must consist of alphanumeric characters, '-', '_' or "
                           "'.', and must start and end with an alphanumeric character, with an "
                           "optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
        if (prefix_len == 0)
            return err_set(err, -EINVAL, "prefix part must be non-empty");
        if (prefix_len > API_MAX_NAME_BYTES)
            return err_set(err, -EINVAL, "prefix part must be no more than %d characters",
                           API_MAX_NAME_BYTES);
        memcpy(prefix, key, prefix_len);
        prefix[prefix_len] = '\0';
        if (name_check(prefix, err) != 0)
            return err_prefix(err, -EINVAL, "prefix part");
    }
    if (len == 0)
        return err_set(err, -EINVAL, "name part must be non-empty");
    if (len > API_MAX_LABEL_NAME_BYTES)
        return err_set(err, -EINVAL, "name part must be no more than %d characters",
                       API_MAX_LABEL_NAME_BYTES);
    if (!qualified_part(name, len))
        return err_set(
            err, -EINVAL,
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start "
            "and end with an alphanumeric character (e.g. 'MyName', or 'my.name', or '123-abc')");
    return 0;
}

int
label_value_check(const char *value, struct err *err)
{
    size_t len = strlen(value);

    if (len > LABEL_MAX)
        return err_set(err, -EINVAL, "must be no more than %d characters", LABEL_MAX);
    if (len > 0 && !qualified_part(value, len))
        return err_set(
            err, -EINVAL,
            "a valid label must be an empty string or consist of alphanumeric characters, '-', "
            "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue', "
            "or 'my_value', or '12345')");
    return 0;
}

int
name_check(const char *name, struct err *err)
{
    size_t len = strlen(name);
    bool ok = len > 0;

    if (len > API_MAX_NAME_BYTES)
        return err_set(err, -EINVAL, "must be no more than %d characters", API_MAX_NAME_BYTES);
    for (size_t i = 0; i < len && ok; i++) {
        bool edge = i == 0 || i + 1 == len || name[i - 1] == '.' || name[i + 1] == '.';

        ok = is_lower_alnum(name[i]) || (!edge && name[i] == '-') ||
             (name[i] == '.' && i > 0 && i + 1 < len && name[i - 1] != '.');
    }
    if (!ok)
        return err_set(err, -EINVAL,
                       "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric "
                       "characters, '-' or '.', and must start and end with an alphanumeric "
                       "character (e.g. 'example.com')");
    return 0;
}

int
name_label_check(const char *name, struct err *err)
{
    size_t len = strlen(name);
    bool ok = len > 0;

    if (len > LABEL_MAX)
        return err_set(err, -EINVAL, "must be no more than %d characters", LABEL_MAX);
    for (size_t i = 0; i < len && ok; i++)
        ok = is_lower_alnum(name[i]) || (name[i] == '-' && i > 0 && i + 1 < len);
    if (!ok)
        return err_set(err, -EINVAL,
                       "a lowercase RFC 1123 label must consist of lower case alphanumeric "
                       "characters or '-', and must start and end with an alphanumeric character "
                       "(e.g. 'my-name')");
    return 0;
}

static bool
is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool
is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

/* ([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9] */
static bool
qualified_part(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_alnum(s[i]) && (i == 0 || i + 1 == len || !strchr("-_.", s[i])))
            return false;
    return true;
}
