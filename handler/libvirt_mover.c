/* Domains are moved by relaying libvirt's and QEMU's own migration; see libvirt_mover.h. */
#include "handler/libvirt_mover.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "handler/libvirt_source_int.h"
#include "handler/libvirt_target_int.h"

int
lv_make_dir(struct err *err)
{
    static const char *const dirs[] = {"/run/drover", LV_MIGRATE_DIR};

    for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
        if (mkdir(dirs[i], 0711) != 0 && errno != EEXIST)
            return err_set(err, -errno, "%s: %s", dirs[i], strerror(errno));
    return 0;
}

const struct mover mover_relay = {
    .method = "relay",
    .source_new = lv_source_new,
    .source_run = lv_source_run,
    .source_cancel = lv_source_cancel,
    .source_stop = lv_source_stop,
    .source_redirect = lv_source_redirect,
    .source_rebind = lv_source_rebind,
    .source_set_bandwidth = lv_source_set_bandwidth,
    .source_stats = lv_source_stats,
    .source_free = lv_source_free,
    .source_resolve = lv_source_resolve,
    .target_new = lv_target_new,
    .target_address = lv_target_address,
    .target_fallback_address = lv_target_fallback_address,
    .target_run = lv_target_run,
    .target_relisten = lv_target_relisten,
    .target_stop = lv_target_stop,
    .target_source_lost = lv_target_source_lost,
    .target_damage = lv_target_damage,
    .target_stats = lv_target_stats,
    .target_free = lv_target_free,
};
