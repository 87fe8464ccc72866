/* Reads files; see labeller_files.h. */
#include "sched/labeller_files.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/sb.h"

static int read_text(const char *path, struct labeller_text *ret, struct arena *a, struct err *err);
static int is_map_file(const struct dirent *e);

int
labeller_files_read(const struct labeller_files *f, struct labeller_input *in, struct arena *a,
                    struct err *err)
{
    int rc = read_text(f->domcapabilities, &in->domcapabilities, a, err);

    if (rc == 0)
        rc = read_text(f->capabilities, &in->capabilities, a, err);
    if (rc == 0)
        rc = read_text(f->supported_features, &in->supported_features, a, err);
    return rc == 0 && f->cpu_map ? labeller_files_map(f->cpu_map, &in->models, a, err) : rc;
}

int
labeller_files_map(const char *folder, struct labeller_models *models, struct arena *a,
                   struct err *err)
{
    struct dirent **entries;
    int n = scandir(folder, &entries, is_map_file, alphasort), rc = 0;

    if (n < 0)
        return err_set(err, -errno, "%s: %s", folder, strerror(errno));
    if (n == 0)
        rc = err_set(err, -ENOENT, "%s: no file x86_*.xml: want a folder such as %s", folder,
                     LABELLER_CPU_MAP);
    else if (n > LABELLER_MAX_MAP_FILES)
        rc = err_set(err, -E2BIG, "%s: %d files x86_*.xml, the most is %d", folder, n,
                     LABELLER_MAX_MAP_FILES);
    for (int i = 0; i < n; i++) {
        struct labeller_text text = {0};

        if (rc == 0)
            rc = read_text(arena_printf(a, "%s/%s", folder, entries[i]->d_name), &text, a, err);
        if (rc == 0)
            rc = labeller_read_map(&text, models, a, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int
read_text(const char *path, struct labeller_text *ret, struct arena *a, struct err *err)
{
    AUTO_FREE char *buf = NULL;
    const char *name = path && strcmp(path, "-") == 0 ? "standard input" : path;
    size_t len;
    int rc = path ? fs_read_all(path, LABELLER_MAX_BYTES, &buf, &len, err) : 0;

    if (!path || rc != 0)
        return rc;
    if (strlen(buf) != len)
        return err_set(err, -EINVAL, "%s: a byte 0 is in it: want XML in UTF-8", name);
    *ret = (struct labeller_text){arena_strdup(a, name), arena_strndup(a, buf, len)};
    return 0;
}

/* The features' own definitions (x86_features.xml) name no models. */
static int
is_map_file(const struct dirent *e)
{
    size_t len = strlen(e->d_name);

    return strncmp(e->d_name, "x86_", 4) == 0 && len > 8 &&
           strcmp(e->d_name + len - 4, ".xml") == 0 && strcmp(e->d_name, "x86_features.xml") != 0;
}
