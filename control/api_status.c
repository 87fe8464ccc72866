/* Errors as Kubernetes answers them: v1 Status objects with upstream's reasons and words
 * (apimachinery, pkg/api/errors). See api_call.h. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "control/api_call.h"

static int err_v(struct api_call *c, int code, const char *reason, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));
static struct tree *details(const struct api_error *e);
static const char *reason_of(int status);

int
api_err(struct api_call *c, int code, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_v(c, code, reason, fmt, ap);
    va_end(ap);
    return -1;
}

int
api_err_bad(struct api_call *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    err_v(c, 400, "BadRequest", fmt, ap);
    va_end(ap);
    return -1;
}

static int
err_v(struct api_call *c, int code, const char *reason, const char *fmt, va_list ap)
{
    struct sb text = SB_INIT;

    sb_vprintf(&text, fmt, ap);
    c->error = (struct api_error){
        .code = code, .reason = reason, .message = arena_strdup(c->arena, sb_str(&text))};
    sb_done(&text);
    return -1;
}

static void
set_details(struct api_call *c, const struct kind_info *k, const char *name)
{
    c->error.name = arena_strdup(c->arena, name);
    c->error.group = k->group;
    c->error.kind = k->plural;
}

int
api_err_forbidden(struct api_call *c, const struct kind_info *k, const char *name, const char *fmt,
                  ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    api_err(c, 403, "Forbidden", "%s \"%s\" is forbidden: %s", api_resource(c, k), name,
            sb_str(&text));
    set_details(c, k, name);
    return -1;
}

int
api_err_conflict(struct api_call *c, const char *name, const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    api_err(c, 409, "Conflict", "Operation cannot be fulfilled on %s \"%s\": %s",
            api_resource(c, c->kind), name, sb_str(&text));
    set_details(c, c->kind, name);
    return -1;
}

int
api_err_not_found(struct api_call *c, const struct kind_info *k, const char *name)
{
    api_err(c, 404, "NotFound", "%s \"%s\" not found", api_resource(c, k), name);
    set_details(c, k, name);
    return -1;
}

int
api_err_no_resource(struct api_call *c)
{
    return api_err(c, 404, "NotFound", "the server could not find the requested resource");
}

int
api_err_method(struct api_call *c)
{
    return api_err(c, 405, "MethodNotAllowed",
                   "the server does not allow this method on the requested resource");
}

/* --- invalid objects --- */
static int
strict_decoding_error(struct api_call *c, const struct field_errors *errs)
{
    AUTO_SB struct sb text = SB_INIT;

    for (size_t i = 0; i < errs->len; i++)
        sb_printf(&text, "%sunknown field \"%s\"", i ? ", " : "", errs->items[i].path);
    return api_err(c, 400, "BadRequest",
                   "%s in version \"%s\" cannot be handled as a %s: strict decoding error: %s",
                   c->kind->name, c->version, c->kind->name, sb_str(&text));
}

int
api_err_invalid(struct api_call *c, const char *name, const struct field_errors *errs)
{
    AUTO_SB struct sb text = SB_INIT;
    bool all_unknown = true;

    for (size_t i = 0; i < errs->len; i++)
        all_unknown = all_unknown && strcmp(errs->items[i].type, "UnknownField") == 0;
    if (all_unknown)
        return strict_decoding_error(c, errs);
    if (errs->len > 1)
        sb_putc(&text, '[');
    for (size_t i = 0; i < errs->len; i++)
        sb_printf(&text, "%s%s: %s", i ? ", " : "", errs->items[i].path, errs->items[i].message);
    if (errs->len > 1)
        sb_putc(&text, ']');
    api_err(c, 422, "Invalid", "%s%s%s \"%s\" is invalid: %s", c->kind->name,
            *c->kind->group ? "." : "", c->kind->group, name, sb_str(&text));
    set_details(c, c->kind, name);
    c->error.kind = c->kind->name;
    c->error.causes = arena_calloc(c->arena, errs->len, sizeof(*c->error.causes));
    c->error.causes_len = errs->len;
    for (size_t i = 0; i < errs->len; i++)
        c->error.causes[i] = (struct api_cause){
            .reason = arena_strdup(c->arena, errs->items[i].type),
            .message = arena_strdup(c->arena, errs->items[i].message),
            .field = arena_strdup(c->arena, errs->items[i].path),
        };
    return -1;
}

int
api_err_field(struct api_call *c, const char *name, const char *field, const char *type,
              const char *fmt, ...)
{
    AUTO_SB struct sb text = SB_INIT;
    va_list ap;

    va_start(ap, fmt);
    sb_vprintf(&text, fmt, ap);
    va_end(ap);
    return api_err_invalid(
        c, name,
        &(struct field_errors){
            .items = &(struct field_error){.path = field, .type = type, .message = sb_str(&text)},
            .len = 1,
            .arena = c->arena,
        });
}

int
api_err_store(struct api_call *c, const struct store_result *res)
{
    if (c->error.code) /* one of our own functions refused inside the store */
        return -1;
    switch (res->rc) {
    case -ENOENT:
        api_err(c, 404, "NotFound", "%s", err_msg(res->err));
        break;
    case -EEXIST:
        api_err(c, 409, "AlreadyExists", "%s", err_msg(res->err));
        break;
    case -EAGAIN:
        api_err(c, 409, "Conflict", "%s", err_msg(res->err));
        break;
    case -EINVAL:
        api_err(c, 422, "Invalid", "%s", err_msg(res->err));
        break;
    case -EFBIG:
        api_err(c, 413, "RequestEntityTooLarge", "%s", err_msg(res->err));
        break;
    case -ENOSPC:
        api_err(c, 507, "InternalError", "the store has no room: %s", err_msg(res->err));
        break;
    default:
        api_err(c, 500, "InternalError", "Internal error occurred: %s", err_msg(res->err));
        break;
    }
    if (c->kind)
        set_details(c, c->kind, c->name);
    return -1;
}

const char *
api_resource(struct api_call *c, const struct kind_info *k)
{
    return *k->group ? arena_printf(c->arena, "%s.%s", k->plural, k->group) : k->plural;
}

/* --- bodies --- */
void
api_status_json(const struct api_error *e, struct sb *out)
{
    AUTO_TREE struct tree *t = tree_map();

    tree_set(t, "kind", tree_string("Status"));
    tree_set(t, "apiVersion", tree_string("v1"));
    tree_set(t, "metadata", tree_map());
    tree_set(t, "status", tree_string("Failure"));
    tree_set(t, "message", tree_string(e->message));
    tree_set(t, "reason", tree_string(e->reason));
    tree_set(t, "details", details(e));
    tree_set(t, "code", tree_int(e->code));
    tree_to_json(t, 0, out);
    sb_putc(out, '\n');
}

static struct tree *
details(const struct api_error *e)
{
    const struct {
        const char *key, *value;
    } fields[] = {{"name", e->name}, {"group", e->group}, {"kind", e->kind}, {"uid", e->uid}};
    struct tree *d = tree_map(), *causes;

    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (fields[i].value && *fields[i].value)
            tree_set(d, fields[i].key, tree_string(fields[i].value));
    if (e->causes_len == 0)
        return d;
    causes = tree_list();
    for (size_t i = 0; i < e->causes_len; i++) {
        struct tree *cause = tree_map();

        tree_set(cause, "reason", tree_string(e->causes[i].reason));
        tree_set(cause, "message", tree_string(e->causes[i].message));
        tree_set(cause, "field", tree_string(e->causes[i].field));
        tree_append(causes, cause);
    }
    tree_set(d, "causes", causes);
    return d;
}

void
api_status_plain(int status, const char *message, struct sb *out)
{
    api_status_json(
        &(struct api_error){.code = status, .reason = reason_of(status), .message = message}, out);
}

static const char *
reason_of(int status)
{
    switch (status) {
    case 413:
        return "RequestEntityTooLarge";
    case 501:
        return "MethodNotAllowed";
    default:
        return "BadRequest";
    }
}
