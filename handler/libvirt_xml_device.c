/* Controllers and all devices but disks and interfaces; see libvirt_xml.h. Sockets and the log are in the
 * guest's directory, so that lv_xml_relocate can take them to another host. */
#include "handler/libvirt_xml_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void write_console(struct lv_xml *x);
static void write_agent(struct lv_xml *x);
static void write_inputs(struct lv_xml *x);
static bool has_usb_input(struct lv_xml *x);
static void write_tpm(struct lv_xml *x);
static void write_graphics(struct lv_xml *x);
static void write_sound(struct lv_xml *x);
static void write_watchdog(struct lv_xml *x);
static void write_balloon(struct lv_xml *x);
static void write_rng(struct lv_xml *x);
static void write_panics(struct lv_xml *x);
static bool flag(struct lv_xml *x, const char *key, bool dflt);
static bool boot_order_taken(const struct tree *list, const struct tree *order);

void
lv_xml_controllers(struct lv_xml *x)
{
    bool usb = x->needs_usb || has_usb_input(x);

    xw_leaf(&x->w, "controller", "type", "usb", "index", "0", "model", usb ? "qemu-xhci" : "none",
            NULL);
    if (x->needs_scsi) {
        xw_begin(&x->w, "controller", "type", "scsi", "index", "0", "model",
                 x->transitional ? "virtio-transitional" : "virtio-scsi", NULL);
        if (x->io_shared)
            xw_leaf(&x->w, "driver", "iothread", "1", NULL);
        xw_end(&x->w, "controller");
    }
    xw_leaf(&x->w, "controller", "type", "virtio-serial", "index", "0", "model",
            x->transitional ? "virtio-transitional" : NULL, NULL);
}

void
lv_xml_devices(struct lv_xml *x)
{
    write_console(x);
    write_agent(x);
    write_inputs(x);
    write_tpm(x);
    write_graphics(x);
    write_sound(x);
    write_watchdog(x);
    write_balloon(x);
    write_rng(x);
    write_panics(x);
}

void
lv_xml_boot_order(struct lv_xml *x, const struct tree *order, const char *path)
{
    int64_t n = tree_get_int(order, 0);

    if (!order)
        return;
    if (n < 1 || n > UINT16_MAX)
        lv_refuse(x, LV_INVALID, "%s: want 1 to %d", path, UINT16_MAX);
    if (boot_order_taken(tree_get(x->devices, "disks"), order) ||
        boot_order_taken(tree_get(x->devices, "interfaces"), order))
        lv_refuse(x, LV_INVALID, "%s: %" PRId64 " is another device's, too", path, n);
    xw_leaf(&x->w, "boot", "order", XW_NUM((uint64_t)n), NULL);
}

void
lv_xml_pci(struct lv_xml *x, const struct tree *text, const char *path)
{
    const char *s = tree_get_string(text, "");
    unsigned part[4];
    char domain[8], bus[8], slot[8], function[8];
    int end = 0;

    if (sscanf(s, "%4x:%2x:%2x.%1x%n", &part[0], &part[1], &part[2], &part[3], &end) != 4 ||
        s[end] || part[2] > 31 || part[3] > 7) {
        lv_refuse(x, LV_INVALID, "%s: \"%.32s\": want a PCI address such as 0000:03:00.0", path, s);
        return;
    }
    snprintf(domain, sizeof domain, "0x%04x", part[0]);
    snprintf(bus, sizeof bus, "0x%02x", part[1]);
    snprintf(slot, sizeof slot, "0x%02x", part[2]);
    snprintf(function, sizeof function, "0x%x", part[3]);
    xw_leaf(&x->w, "address", "type", "pci", "domain", domain, "bus", bus, "slot", slot, "function",
            function, NULL);
}

static void
write_console(struct lv_xml *x)
{
    static const char *const elements[] = {"serial", "console"};
    AUTO_FREE char *socket = xasprintf("%s/console.sock", x->c->dir);
    AUTO_FREE char *log = xasprintf("%s/console.log", x->c->dir);

    if (!flag(x, "autoattachSerialConsole", true))
        return;
    for (size_t i = 0; i < ARRAY_LEN(elements); i++) { /* the console is the same device again */
        xw_begin(&x->w, elements[i], "type", "unix", NULL);
        xw_leaf(&x->w, "source", "mode", "bind", "path", socket, NULL);
        if (flag(x, "logSerialConsole", true))
            xw_leaf(&x->w, "log", "file", log, "append", "on", NULL);
        xw_leaf(&x->w, "target", "type", i == 0 ? "isa-serial" : "serial", "port", "0", NULL);
        xw_end(&x->w, elements[i]);
    }
}

static void
write_agent(struct lv_xml *x)
{
    AUTO_FREE char *socket = xasprintf("%s/agent.sock", x->c->dir);

    xw_begin(&x->w, "channel", "type", "unix", NULL);
    xw_leaf(&x->w, "source", "mode", "bind", "path", socket, NULL);
    xw_leaf(&x->w, "target", "type", "virtio", "name", "org.qemu.guest_agent.0", NULL);
    xw_end(&x->w, "channel");
}

static void
write_inputs(struct lv_xml *x)
{
    const struct tree *inputs = tree_get(x->devices, "inputs");

    for (size_t i = 0; i < tree_len(inputs); i++) {
        const char *type = tree_find_string(tree_at(inputs, i), "", "type", NULL);
        const char *bus = tree_find_string(tree_at(inputs, i), "usb", "bus", NULL);
        bool virtio = strcmp(bus, "virtio") == 0;

        if (strcmp(type, "tablet") != 0)
            lv_refuse(x, LV_UNSUPPORTED,
                      "spec.domain.devices.inputs[%zu].type: \"%.32s\": want tablet", i, type);
        if (!virtio && strcmp(bus, "usb") != 0)
            lv_refuse(x, LV_INVALID,
                      "spec.domain.devices.inputs[%zu].bus: \"%.32s\": want usb or virtio", i, bus);
        xw_leaf(&x->w, "input", "type", "tablet", "bus", bus, "model",
                virtio && x->transitional ? "virtio-transitional" : NULL, NULL);
    }
    if (tree_len(inputs) == 0 && flag(x, "autoattachInputDevice", false))
        xw_leaf(&x->w, "input", "type", "tablet", "bus", "usb", NULL);
}

static bool
has_usb_input(struct lv_xml *x)
{
    const struct tree *inputs = tree_get(x->devices, "inputs");

    for (size_t i = 0; i < tree_len(inputs); i++)
        if (strcmp(tree_find_string(tree_at(inputs, i), "usb", "bus", NULL), "usb") == 0)
            return true;
    return tree_len(inputs) == 0 && flag(x, "autoattachInputDevice", false);
}

static void
write_tpm(struct lv_xml *x)
{
    const struct tree *tpm = tree_get(x->devices, "tpm");

    if (!lv_enabled(tpm))
        return;
    if (tree_get_bool(tree_get(tpm, "persistent"), false))
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.devices.tpm.persistent: a TPM's state lives as long as the instance "
                  "here, and moves with it: leave it out");
    if (!x->c->swtpm)
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.devices.tpm: this host has no swtpm: install it, or leave it out");
    xw_begin(&x->w, "tpm", "model", "tpm-crb", NULL);
    xw_leaf(&x->w, "backend", "type", "emulator", "version", "2.0", NULL);
    xw_end(&x->w, "tpm");
}

/* VNC on a unix socket: nobody reaches it over a network. */
static void
write_graphics(struct lv_xml *x)
{
    static const char *const types[] = {"vga", "cirrus", "virtio", "bochs", NULL};
    const char *type = tree_find_string(x->devices, "vga", "video", "type", NULL);
    AUTO_FREE char *socket = xasprintf("%s/vnc.sock", x->c->dir);

    if (!lv_is_one_of(type, types))
        lv_refuse(x, LV_UNSUPPORTED,
                  "spec.domain.devices.video.type: \"%.32s\": want vga, cirrus, virtio or bochs",
                  type);
    if (!flag(x, "autoattachGraphicsDevice", true)) {
        if (tree_get(x->devices, "video"))
            lv_refuse(x, LV_INVALID,
                      "spec.domain.devices.video: not with autoattachGraphicsDevice: false");
        xw_begin(&x->w, "video", NULL);
        xw_leaf(&x->w, "model", "type", "none", NULL);
        xw_end(&x->w, "video");
        return;
    }
    xw_begin(&x->w, "graphics", "type", "vnc", NULL);
    xw_leaf(&x->w, "listen", "type", "socket", "socket", socket, NULL);
    xw_end(&x->w, "graphics");
    xw_begin(&x->w, "video", NULL);
    xw_leaf(&x->w, "model", "type", type, "heads", "1", "vram",
            strcmp(type, "virtio") == 0 ? NULL : "16384", NULL);
    xw_end(&x->w, "video");
}

static void
write_sound(struct lv_xml *x)
{
    const struct tree *sound = tree_get(x->devices, "sound");
    const char *model = tree_find_string(sound, "ich9", "model", NULL);

    if (!sound)
        return;
    if (strcmp(model, "ich9") != 0 && strcmp(model, "ac97") != 0)
        lv_refuse(x, LV_INVALID, "spec.domain.devices.sound.model: \"%.32s\": want ich9 or ac97",
                  model);
    xw_leaf(&x->w, "sound", "model", model, NULL);
    xw_leaf(&x->w, "audio", "id", "1", "type", "none", NULL); /* nobody listens on the host */
}

static void
write_watchdog(struct lv_xml *x)
{
    static const char *const actions[] = {"poweroff", "reset", "shutdown", NULL};
    const struct tree *dog = tree_get(x->devices, "watchdog"), *i6300 = tree_get(dog, "i6300esb");
    const char *action = tree_find_string(i6300, "reset", "action", NULL);

    if (!dog)
        return;
    if (!i6300)
        lv_refuse(x, LV_INVALID, "spec.domain.devices.watchdog: want i6300esb");
    if (!lv_is_one_of(action, actions))
        lv_refuse(
            x, LV_INVALID,
            "spec.domain.devices.watchdog.i6300esb.action: \"%.32s\": want poweroff, reset or "
            "shutdown",
            action);
    xw_leaf(&x->w, "watchdog", "model", "i6300esb", "action", action, NULL);
}

static void
write_balloon(struct lv_xml *x)
{
    if (!flag(x, "autoattachMemBalloon", true)) {
        xw_leaf(&x->w, "memballoon", "model", "none", NULL);
        return;
    }
    xw_begin(&x->w, "memballoon", "model", lv_virtio(x), NULL);
    xw_leaf(&x->w, "stats", "period", "10", NULL);
    xw_end(&x->w, "memballoon");
}

static void
write_rng(struct lv_xml *x)
{
    if (!tree_get(x->devices, "rng"))
        return;
    xw_begin(&x->w, "rng", "model", lv_virtio(x), NULL);
    xw_text(&x->w, "/dev/urandom", "backend", "model", "random", NULL);
    xw_end(&x->w, "rng");
}

static void
write_panics(struct lv_xml *x)
{
    const struct tree *panics = tree_get(x->devices, "panicDevices");

    for (size_t i = 0; i < tree_len(panics); i++) {
        const char *model = tree_find_string(tree_at(panics, i), "", "model", NULL);

        if (strcmp(model, "isa") != 0 && strcmp(model, "hyperv") != 0)
            lv_refuse(x, LV_UNSUPPORTED,
                      "spec.domain.devices.panicDevices[%zu].model: \"%.32s\": want isa or hyperv",
                      i, model);
        if (strcmp(model, "hyperv") == 0 && !x->c->kvm)
            lv_refuse(x, LV_UNSUPPORTED,
                      "spec.domain.devices.panicDevices[%zu].model: hyperv: needs KVM, and guests "
                      "are emulated on this host: want isa",
                      i);
        xw_leaf(&x->w, "panic", "model", model, NULL);
    }
}

static bool
flag(struct lv_xml *x, const char *key, bool dflt)
{
    return tree_get_bool(tree_get(x->devices, key), dflt);
}

static bool
boot_order_taken(const struct tree *list, const struct tree *order)
{
    for (size_t i = 0; i < tree_len(list); i++) {
        const struct tree *other = tree_get(tree_at(list, i), "bootOrder");

        if (other && other != order && tree_get_int(other, 0) == tree_get_int(order, 0))
            return true;
    }
    return false;
}
