/* Last words of the native guest; see guest_exit.h. Everything below guest_exit_record is
 * async-signal-safe. */
#include "handler/guest_exit.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_TMP_FILE "exit.tmp"
#define LINE_SIZE     512

static int exit_dir = -1;
static atomic_flag recorded = ATOMIC_FLAG_INIT;

static const struct {
    int signo;
    const char *name;
} fatal[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"},
    {SIGFPE, "SIGFPE"},   {SIGABRT, "SIGABRT"},
};

static size_t
add(char *line, size_t len, const char *text)
{
    while (*text && len < LINE_SIZE - 1)
        line[len++] = *text == '\n' ? ' ' : *text, text++;
    return len;
}

static void
on_fatal(int signo, siginfo_t *info, void *context)
{
    char text[64] = "";
    uintptr_t addr = (uintptr_t)info->si_addr;
    size_t len = 0;

    (void)context;
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        if (fatal[i].signo == signo)
            len = add(text, len, fatal[i].name);
    if (signo != SIGABRT) {
        len = add(text, len, " at 0x");
        for (int shift = 60; shift >= 0; shift -= 4)
            text[len++] = "0123456789abcdef"[addr >> shift & 15];
    }
    text[len] = '\0';
    guest_exit_record(GUEST_EXIT_CRASHED, text);
    signal(signo, SIG_DFL);
    raise(signo);
}

void
guest_exit_init(int dir_fd)
{
    struct sigaction sa = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_NODEFER};

    exit_dir = dir_fd;
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        sigaction(fatal[i].signo, &sa, NULL);
}

void
guest_exit_record(const char *kind, const char *text)
{
    char line[LINE_SIZE];
    size_t len = 0;
    int fd;

    if (atomic_flag_test_and_set(&recorded))
        return;
    len = add(line, len, kind);
    len = add(line, len, " ");
    len = add(line, len, text);
    line[len++] = '\n';
    fd = openat(exit_dir, EXIT_TMP_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    if (write(fd, line, len) == (ssize_t)len)
        renameat(exit_dir, EXIT_TMP_FILE, exit_dir, GUEST_EXIT_FILE);
    close(fd);
}
