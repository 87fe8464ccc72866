/* Runs a fuzz target over the files and folders named on the command line: the seed corpora are
 * replayed in every test run, with or without libFuzzer. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
static unsigned long replay(const char *path);

int
main(int argc, char **argv)
{
    unsigned long n = 0;

    for (int i = 1; i < argc; i++)
        n += replay(argv[i]);
    LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    printf("ok 1 - %s: %lu inputs\n1..1\n", argv[0], n);
    return n > 0 ? 0 : 1;
}

static unsigned long
replay(const char *path)
{
    struct stat st;
    unsigned long n = 0;

    if (stat(path, &st) != 0)
        return 0;
    if (S_ISDIR(st.st_mode)) {
        DIR *d = opendir(path);
        struct dirent *e;

        while (d && (e = readdir(d))) {
            char sub[4096];

            if (e->d_name[0] == '.')
                continue;
            snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
            n += replay(sub);
        }
        if (d)
            closedir(d);
        return n;
    }
    char *buf;
    size_t len;

    if (fs_read_all(path, 64u << 20, &buf, &len, NULL) != 0)
        return 0;
    LLVMFuzzerTestOneInput((const uint8_t *)buf, len);
    free(buf);
    return 1;
}
