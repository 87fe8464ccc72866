/* OpenAPI documents, as small as kubectl accepts: enough to know the resources and that they check
 * fields (fieldValidation), nothing about their inside; the server itself refuses what is unknown.
 * v2 as protobuf is what kubectl up to 1.26 insists on before it applies anything. See
 * api_call.h. */
#include <string.h>

#include "control/api_call.h"
#include "control/api_subresource.h"

/* The type under which older clients ask for it has an '@', which Go's own parser refuses in an
 * answer; upstream sends it as plain bytes, too. */
#define V2_ACCEPT     "application/com.github.proto-openapi.spec.v2"
#define V2_PROTO_TYPE "application/octet-stream"

static int send_v2(struct api_call *c);
static int send_v3_index(struct api_call *c);
static int send_v3(struct api_call *c, const char *group, const char *version);
static void add_path(const struct kind_info *k, const char *version, bool *first, struct sb *out);
static void add_schema(const struct kind_info *k, const char *version, bool *first, struct sb *out);

int
api_openapi(struct api_call *c)
{
    const char **seg = c->request->segments;
    size_t n = c->request->segments_len;

    if (n == 2 && strcmp(seg[1], "v2") == 0)
        return send_v2(c);
    if (n < 2 || strcmp(seg[1], "v3") != 0)
        return api_err_no_resource(c);
    if (n == 2)
        return send_v3_index(c);
    if (n == 4 && strcmp(seg[2], "api") == 0)
        return send_v3(c, "", seg[3]);
    if (n == 5 && strcmp(seg[2], "apis") == 0)
        return send_v3(c, seg[3], seg[4]);
    return api_err_no_resource(c);
}

/* --- v2 as protobuf: gnostic's openapi.v2.Document, by its field numbers --- */
static void
add_field(struct sb *out, unsigned number, const void *data, size_t len)
{
    size_t n = len;

    sb_putc(out, (char)(number << 3 | 2));
    for (; n >= 128; n >>= 7) /* the length, seven bits at a time */
        sb_putc(out, (char)(n | 128));
    sb_putc(out, (char)n);
    sb_add(out, data, len);
}

static void
add_text(struct sb *out, unsigned number, const char *text)
{
    add_field(out, number, text, strlen(text));
}

/* Puts a message into a field of another, and empties it. */
static void
add_message(struct sb *out, unsigned number, struct sb *message)
{
    add_field(out, number, sb_str(message), message->len);
    sb_done(message);
}

/* A path with a PATCH that takes dryRun: kubectl up to 1.26 looks there before it dares one. */
static void
add_v2_path(const struct kind_info *k, struct sb *paths)
{
    struct sb param = SB_INIT, wrap = SB_INIT, any = SB_INIT, extension = SB_INIT;
    struct sb operation = SB_INIT, item = SB_INIT, named = SB_INIT;
    AUTO_FREE char *gvk = xasprintf("{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}",
                                    k->group, k->name, k->version);
    AUTO_FREE char *path =
        xasprintf("/%s%s/%s/%s%s/{name}", *k->group ? "apis/" : "api", k->group, k->version,
                  k->namespaced ? "namespaces/{namespace}/" : "", k->plural);

    add_text(&param, 2, "query");
    add_text(&param, 4, "dryRun");
    add_text(&param, 6, "string");
    add_message(&wrap, 3, &param);     /* NonBodyParameter.query_parameter_sub_schema */
    add_message(&param, 2, &wrap);     /* Parameter.non_body_parameter */
    add_message(&wrap, 1, &param);     /* ParametersItem.parameter */
    add_message(&operation, 8, &wrap); /* Operation.parameters */
    add_text(&any, 2, gvk);            /* Any.yaml */
    add_text(&extension, 1, "x-kubernetes-group-version-kind");
    add_message(&extension, 2, &any);
    add_message(&operation, 13, &extension);
    add_message(&item, 8, &operation); /* PathItem.patch */
    add_text(&named, 1, path);
    add_message(&named, 2, &item);
    add_message(paths, 2, &named); /* Paths.path */
}

static int
send_v2(struct api_call *c)
{
    const char *accept = http_header(c->request, "accept");
    struct sb out = SB_INIT, info = SB_INIT, paths = SB_INIT;

    if (!accept || !strstr(accept, V2_ACCEPT)) {
        sb_puts(&out, "{\"swagger\":\"2.0\",\"info\":{\"title\":\"drover\",\"version\":\"v1\"},"
                      "\"paths\":{},\"definitions\":{}}\n");
        api_send_json(c, 200, &out);
        return 0;
    }
    add_text(&out, 1, "2.0"); /* swagger */
    add_text(&info, 1, "drover");
    add_text(&info, 2, "v1");
    add_message(&out, 2, &info);
    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++)
        if (!kind_info((enum kind)k)->unserved)
            add_v2_path(kind_info((enum kind)k), &paths);
    add_message(&out, 8, &paths);
    add_text(&out, 9, ""); /* definitions */
    api_send_typed(c, 200, V2_PROTO_TYPE, &out);
    return 0;
}

static int
send_v3_index(struct api_call *c)
{
    struct sb out = SB_INIT;
    bool first = true;

    sb_puts(&out, "{\"paths\":{");
    for (size_t i = 0; api_group_at(i); i++) {
        const char *group = api_group_at(i);

        if (strcmp(group, SUBRESOURCE_GROUP) == 0)
            continue;
        for (size_t v = 0; api_version_at(group, v); v++) {
            AUTO_FREE char *path = *group ? xasprintf("apis/%s/%s", group, api_version_at(group, v))
                                          : xasprintf("api/%s", api_version_at(group, v));

            /* The hash tells when to ask again; the documents change with the program only. */
            sb_printf(&out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=1\"}",
                      first ? "" : ",", path, path);
            first = false;
        }
    }
    sb_puts(&out, "}}\n");
    api_send_json(c, 200, &out);
    return 0;
}

static int
send_v3(struct api_call *c, const char *group, const char *version)
{
    struct sb out = SB_INIT, schemas = SB_INIT;
    bool first_path = true, first_schema = true;

    sb_puts(&out, "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"drover\",\"version\":\"v1\"},"
                  "\"paths\":{");
    for (int k = KIND_NONE + 1; k < KIND_COUNT; k++) {
        const struct kind_info *ki = kind_info((enum kind)k);

        if (kind_by_resource(group, version, ki->plural) != ki)
            continue;
        add_path(ki, version, &first_path, &out);
        add_schema(ki, version, &first_schema, &schemas);
    }
    if (first_path) {
        sb_done(&out);
        return api_err_no_resource(c);
    }
    sb_printf(&out, "},\"components\":{\"schemas\":{%s}}}\n", sb_str(&schemas));
    sb_done(&schemas);
    api_send_json(c, 200, &out);
    return 0;
}

static void
add_gvk(const struct kind_info *k, const char *version, struct sb *out)
{
    sb_printf(out, "{\"group\":\"%s\",\"version\":\"%s\",\"kind\":\"%s\"}", k->group, version,
              k->name);
}

static void
add_path(const struct kind_info *k, const char *version, bool *first, struct sb *out)
{
    static const char params[] =
        "\"parameters\":["
        "{\"name\":\"dryRun\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}},"
        "{\"name\":\"fieldManager\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}},"
        "{\"name\":\"fieldValidation\",\"in\":\"query\",\"schema\":{\"type\":\"string\"}}]";
    AUTO_FREE char *base =
        xasprintf("/%s%s/%s/%s%s", *k->group ? "apis/" : "api", k->group, version,
                  k->namespaced ? "namespaces/{namespace}/" : "", k->plural);
    static const char *const ops[][2] = {{"get", "get"}, {"put", "put"}, {"patch", "patch"}};

    sb_printf(out, "%s\"%s\":{\"post\":{%s,\"x-kubernetes-action\":\"post\",", *first ? "" : ",",
              base, params);
    sb_puts(out, "\"responses\":{\"201\":{\"description\":\"Created\"}},"
                 "\"x-kubernetes-group-version-kind\":");
    add_gvk(k, version, out);
    sb_printf(out, "}},\"%s/{name}\":{", base);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        sb_printf(out, "%s\"%s\":{", i ? "," : "", ops[i][0]);
        if (i > 0)
            sb_printf(out, "%s,", params);
        if (strcmp(ops[i][0], "patch") == 0)
            sb_puts(out, "\"requestBody\":{\"content\":{\"application/json-patch+json\":{},"
                         "\"application/merge-patch+json\":{}}},");
        sb_printf(out,
                  "\"x-kubernetes-action\":\"%s\",\"responses\":{\"200\":{\"description\":\"OK\"}},"
                  "\"x-kubernetes-group-version-kind\":",
                  ops[i][1]);
        add_gvk(k, version, out);
        sb_putc(out, '}');
    }
    sb_putc(out, '}');
    *first = false;
}

static void
add_schema(const struct kind_info *k, const char *version, bool *first, struct sb *out)
{
    sb_printf(out,
              "%s\"%s%s%s.%s\":{\"type\":\"object\",\"description\":\"%s, as upstream documents "
              "it. The server checks every field.\",\"properties\":{",
              *first ? "" : ",", k->group, *k->group ? "." : "", version, k->name, k->name);
    sb_puts(out, "\"apiVersion\":{\"type\":\"string\",\"description\":\"Version of the schema\"},"
                 "\"kind\":{\"type\":\"string\",\"description\":\"Name of the kind\"},"
                 "\"metadata\":{\"type\":\"object\",\"description\":\"Name, labels, annotations\"},"
                 "\"spec\":{\"type\":\"object\",\"description\":\"What is wanted\"},"
                 "\"status\":{\"type\":\"object\",\"description\":\"What is\"}},"
                 "\"x-kubernetes-group-version-kind\":[");
    add_gvk(k, version, out);
    sb_puts(out, "]}");
    *first = false;
}
