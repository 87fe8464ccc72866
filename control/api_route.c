/* Which request means what: from the path and the method to one of the API's functions. See
 * api_call.h; the paths are those of the Kubernetes API conventions. */
#include <string.h>

#include "control/api_call.h"
#include "control/api_metrics.h"
#include "control/api_subresource.h"

static int route_resource(struct api_call *c, const char *group, const char *version, size_t at);
static int route_collection(struct api_call *c);
static int route_object(struct api_call *c);
static bool wants_watch(const struct api_call *c);
static bool is_get(const struct api_call *c);

int
api_route(struct api_call *c)
{
    const char **seg = c->request->segments;
    size_t n = c->request->segments_len;
    const char *pretty = http_param(c->request, "pretty");

    c->pretty = pretty && (strcmp(pretty, "true") == 0 || strcmp(pretty, "1") == 0 || !*pretty);
    if (n >= 3 && strcmp(seg[0], "api") == 0)
        return route_resource(c, "", seg[1], 2);
    if (n >= 4 && strcmp(seg[0], "apis") == 0)
        return route_resource(c, seg[1], seg[2], 3);
    if (!is_get(c))
        return n == 0 || strcmp(seg[0], "api") == 0 || strcmp(seg[0], "apis") == 0
                   ? api_err_method(c)
                   : api_err_no_resource(c);
    if (n > 0 && strcmp(seg[0], "openapi") == 0)
        return api_openapi(c);
    if (n > 0 && n <= 2 &&
        (strcmp(seg[0], "healthz") == 0 || strcmp(seg[0], "livez") == 0 ||
         strcmp(seg[0], "readyz") == 0)) {
        api_send_text(c, 200, "ok");
        return 0;
    }
    if (n == 1 && strcmp(seg[0], "metrics") == 0)
        return api_metrics(c);
    if (n == 3 && strcmp(seg[0], "apis") == 0)
        return api_discovery_gv(c);
    return api_discovery(c);
}

static int
route_resource(struct api_call *c, const char *group, const char *version, size_t at)
{
    const char **seg = c->request->segments;
    size_t n = c->request->segments_len;

    /* namespaces/NS/PLURAL..., but namespaces/NAME/status is an object */
    if (n - at >= 3 && strcmp(seg[at], "namespaces") == 0 &&
        !(n - at == 3 && strcmp(seg[at + 2], "status") == 0)) {
        c->ns = arena_strdup(c->arena, seg[at + 1]);
        at += 2;
    }
    if (n - at > 3 && !(n - at == 4 && strcmp(group, SUBRESOURCE_GROUP) == 0))
        return api_err_no_resource(c);
    if (n - at > 1)
        c->name = arena_strdup(c->arena, seg[at + 1]);
    if (n - at > 2)
        c->sub = n - at > 3 ? arena_printf(c->arena, "%s/%s", seg[at + 2], seg[at + 3])
                            : arena_strdup(c->arena, seg[at + 2]);
    c->version = arena_strdup(c->arena, version);
    if (strcmp(group, SUBRESOURCE_GROUP) == 0) {
        c->kind = kind_by_resource("kubevirt.io", version, seg[at]);
        return *c->ns && *c->name && *c->sub && c->kind ? api_subresource(c)
                                                        : api_err_no_resource(c);
    }
    c->kind = kind_by_resource(group, version, seg[at]);
    if (!c->kind || (*c->ns && !c->kind->namespaced) ||
        (*c->name && c->kind->namespaced && !*c->ns))
        return api_err_no_resource(c);
    if (*c->sub && (strcmp(c->sub, "status") != 0 || !c->kind->has_status))
        return api_err_no_resource(c);
    if (api_negotiate(c) != 0)
        return -1;
    if (!c->kind->stored && !is_get(c))
        return api_err_method(c);
    return *c->name ? route_object(c) : route_collection(c);
}

static int
route_collection(struct api_call *c)
{
    switch (c->request->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return wants_watch(c) ? api_watch(c) : api_list(c);
    case HTTP_POST:
        if (c->kind->namespaced && !*c->ns)
            return api_err_method(c);
        return api_create(c);
    case HTTP_DELETE:
        if (c->kind->namespaced && !*c->ns)
            return api_err_method(c);
        return api_delete_collection(c);
    default:
        return api_err_method(c);
    }
}

static int
route_object(struct api_call *c)
{
    switch (c->request->method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return wants_watch(c) && !*c->sub ? api_watch(c) : api_get(c);
    case HTTP_PUT:
        return api_update(c);
    case HTTP_PATCH:
        return api_patch(c);
    case HTTP_DELETE:
        return *c->sub ? api_err_method(c) : api_delete(c);
    default:
        return api_err_method(c);
    }
}

static bool
wants_watch(const struct api_call *c)
{
    const char *w = http_param(c->request, "watch");

    return w && (strcmp(w, "true") == 0 || strcmp(w, "1") == 0 || !*w);
}

static bool
is_get(const struct api_call *c)
{
    return c->request->method == HTTP_GET || c->request->method == HTTP_HEAD;
}
