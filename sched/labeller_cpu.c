/* The host model as a <cpu> element; see labeller_host_cpu in labeller.h. */
#include <string.h>

#include "base/sb.h"
#include "sched/labeller_xml.h"

static bool is_plain(const char *s);

const char *
labeller_host_cpu(const struct labeller_text *domcapabilities, struct arena *a)
{
    struct xml_element *root;
    const struct xml_element *mode, *model, *vendor;
    AUTO_SB struct sb out = SB_INIT;

    if (xml_parse(domcapabilities, "domainCapabilities", &root, a, NULL) != 0)
        return NULL;
    mode = xml_child(xml_child(root, "cpu"), "mode");
    while (mode && strcmp(xml_attr(mode, "name"), "host-model") != 0)
        mode = xml_again(mode);
    model = xml_child(mode, "model");
    vendor = xml_child(mode, "vendor");
    if (!model || !is_plain(model->text))
        return NULL;
    sb_printf(&out, "<cpu mode='custom' match='exact'><model fallback='forbid'>%s</model>",
              model->text);
    if (vendor && is_plain(vendor->text))
        sb_printf(&out, "<vendor>%s</vendor>", vendor->text);
    for (const struct xml_element *f = xml_child(mode, "feature"); f; f = xml_again(f))
        if (is_plain(xml_attr(f, "name")) && is_plain(xml_attr(f, "policy")))
            sb_printf(&out, "<feature policy='%s' name='%s'/>", xml_attr(f, "policy"),
                      xml_attr(f, "name"));
    sb_puts(&out, "</cpu>");
    return arena_strdup(a, sb_str(&out));
}

/* Needs no escaping. */
static bool
is_plain(const char *s)
{
    return *s &&
           !s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")];
}
