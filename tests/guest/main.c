/* The test guest: a bare-metal x86-64 program that QEMU boots with -kernel (libvirt: <kernel>, a manifest:
 * kernelBoot), under KVM and TCG. It keeps memory busy, checks it, and says so once in a while on ttyS0:
 *
 *   HB 12 t=1203 gap=101 dirtied=4096 bad=0 pass=1 checked=3
 *
 * HB: number of the line, from 0, none left out. t: milliseconds of the guest's clock. gap: longest time
 * between two lines in the last 50. dirtied: pages written. bad: pages found other than written. pass: rounds
 * of writing over the working memory; checked: rounds of only looking at it.
 *
 * Options on the command line, separated by spaces:
 *   ws=MIB        working memory (32; as much as there is at most)
 *   fill=random   or zero: what it holds at first
 *   rate=MIBPS    pages written a second, checked before; 0 (the default): none; -1: as fast as it can
 *   full=1        write whole pages, not only two words of each
 *   check=MIBPS   pages that are only looked at (16)
 *   hb=MS         time between two HB lines (100)
 *   button=ignore the power button (and a shutdown through ACPI) does nothing
 *   after=crash:N or poweroff:N, reboot:N: do so after HB number N
 *
 * Typed at the console, a line each: ping (pong), stat (a HB line out of turn), rate N, poweroff, reboot,
 * crash. A guest that is asked to power off says "BYE".
 *
 * Memory under TCG: QEMU before 9.0 loses dirty bits of TCG guests whose RAM is a multiple of 256 KiB (fixed by
 * commit 03bfc2188f, "physmem: Fix migration dirty bitmap coherency with TCG memory access"), and this guest
 * sees it as bad=1. handler/libvirt_xml.h (odd_memory) gives such guests 8 KiB more; a QEMU started by
 * hand needs -m 65544K instead of -m 64M. Under KVM any size will do. */
#include "tests/guest/io.h"
#include "tests/guest/memory.h"

#define RAM_TOP    0xb0000000ul /* below the PCI hole of pc and q35 */
#define LINE_BYTES 32
#define BATCH      32 /* pages between two looks at the clock */
#define IDLE_MS    20

/* xen/include/public/arch-x86/hvm/start_info.h, version 1 */
struct hvm_start_info {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};
struct hvm_memmap {
    uint64_t addr, size;
    uint32_t type, reserved;
};

struct guest {
    const char *cmdline;
    uint64_t ws_pages, hb_ms;
    int64_t rate, check; /* MiB a second; rate -1: no limit */
    bool full, button_works;
    enum { LIVE_ON, CRASH, POWER_OFF, REBOOT } then;
    uint64_t then_at;

    uint64_t beats, next_ms, last_ms, gap_ms;
    uint64_t dirtied, passes, checks;
    uint64_t work_from_ms, work_pages, check_pages; /* since the rate was set */
    char line[LINE_BYTES];
    unsigned line_len;
};

extern char guest_end[];
void guest_main(const struct hvm_start_info *info);

/* --- options --- */

static bool
begins(const char *s, const char *with)
{
    while (*with && *s == *with)
        s++, with++;
    return !*with;
}

/* What follows "name=" on the command line; NULL when it is not there. */
static const char *
option(const char *cmdline, const char *name)
{
    for (const char *p = cmdline; p && *p; p++) {
        const char *q = p, *n = name;

        if (p != cmdline && p[-1] != ' ')
            continue;
        while (*n && *q == *n)
            q++, n++;
        if (!*n && *q == '=')
            return q + 1;
    }
    return 0;
}

static int64_t
number(const char *s, int64_t dflt)
{
    int64_t v = 0;
    bool minus = s && *s == '-';

    if (!s)
        return dflt;
    for (s += minus; *s >= '0' && *s <= '9'; s++)
        v = v * 10 + (*s - '0');
    return minus ? -v : v;
}

static void
read_options(struct guest *g, const char *cmdline)
{
    static const struct {
        const char *name;
        int what;
    } ends[] = {{"crash:", CRASH}, {"poweroff:", POWER_OFF}, {"reboot:", REBOOT}};
    const char *button = option(cmdline, "button"), *after = option(cmdline, "after");

    g->cmdline = cmdline;
    g->ws_pages = (uint64_t)number(option(cmdline, "ws"), 32) << 8;
    g->rate = number(option(cmdline, "rate"), 0);
    g->check = number(option(cmdline, "check"), 16);
    g->full = number(option(cmdline, "full"), 0) != 0;
    g->hb_ms = (uint64_t)number(option(cmdline, "hb"), 100);
    if (g->hb_ms == 0)
        g->hb_ms = 100;
    g->button_works = !button || !begins(button, "ignore");
    for (unsigned i = 0; after && i < sizeof ends / sizeof *ends; i++) {
        const char *n = ends[i].name;

        if (!begins(after, n))
            continue;
        g->then = ends[i].what;
        while (*n)
            n++, after++;
        g->then_at = (uint64_t)number(after, 0);
        break;
    }
}

/* The end of the memory that begins at 1 MiB. */
static uint64_t
ram_end(const struct hvm_start_info *info)
{
    const struct hvm_memmap *m = (const struct hvm_memmap *)info->memmap;
    uint64_t end = 0;

    for (uint32_t i = 0; info->version >= 1 && i < info->memmap_entries; i++)
        if (m[i].type == 1 && m[i].addr <= 0x100000 && m[i].addr + m[i].size > 0x100000)
            end = m[i].addr + m[i].size;
    return end > RAM_TOP ? RAM_TOP : end;
}

/* --- what it does --- */

static void
say_beat(struct guest *g)
{
    io_text("HB ");
    io_number(g->beats);
    io_field("t", io_ms());
    io_field("gap", g->gap_ms);
    io_field("dirtied", g->dirtied);
    io_field("bad", memory_bad());
    io_field("pass", g->passes);
    io_field("checked", g->checks);
    io_text("\n");
}

static void
power_off(void)
{
    io_text("BYE\n");
    io_power_off();
}

static void
beat(struct guest *g, uint64_t now_ms)
{
    if (now_ms - g->last_ms > g->gap_ms)
        g->gap_ms = now_ms - g->last_ms;
    g->last_ms = now_ms;
    say_beat(g);
    if (g->then != LIVE_ON && g->beats >= g->then_at) {
        if (g->then == CRASH)
            io_crash();
        if (g->then == REBOOT)
            io_reboot();
        power_off();
    }
    if (g->beats++ % 50 == 49)
        g->gap_ms = 0;
    g->next_ms += g->hb_ms;
    if (g->next_ms <= now_ms)
        g->next_ms = now_ms + g->hb_ms;
}

static void
set_rate(struct guest *g, int64_t rate)
{
    g->rate = rate;
    g->work_from_ms = io_ms();
    g->work_pages = g->check_pages = 0;
}

static void
obey(struct guest *g)
{
    if (begins(g->line, "ping"))
        io_text("pong\n");
    else if (begins(g->line, "stat"))
        say_beat(g);
    else if (begins(g->line, "rate "))
        set_rate(g, number(g->line + 5, 0));
    else if (begins(g->line, "poweroff"))
        power_off();
    else if (begins(g->line, "reboot"))
        io_reboot();
    else if (begins(g->line, "crash"))
        io_crash();
    else if (g->line[0])
        io_text("?\n");
}

static void
listen(struct guest *g)
{
    int c;

    while ((c = io_typed()) >= 0) {
        if (c != '\n' && c != '\r') {
            if (g->line_len < LINE_BYTES - 1)
                g->line[g->line_len++] = (char)c;
            continue;
        }
        g->line[g->line_len] = '\0';
        g->line_len = 0;
        obey(g);
    }
}

static bool
due(int64_t rate, uint64_t done_pages, uint64_t ms)
{
    return rate < 0 || done_pages * 1000 < ms * (uint64_t)rate * 256;
}

/* Some pages, if it is time for them; false: nothing is due. */
static bool
work(struct guest *g, uint64_t now_ms)
{
    uint64_t ms = now_ms - g->work_from_ms;
    bool any = false;

    if (g->ws_pages == 0)
        return false;
    if (g->rate != 0 && due(g->rate, g->work_pages, ms)) {
        for (unsigned i = 0; i < BATCH; i++)
            g->passes += memory_write_next(g->full);
        g->work_pages += BATCH;
        g->dirtied += BATCH;
        any = true;
    }
    if (g->check > 0 && due(g->check, g->check_pages, ms)) {
        for (unsigned i = 0; i < BATCH; i++)
            g->checks += memory_check_next();
        g->check_pages += BATCH;
        any = true;
    }
    return any;
}

void
guest_main(const struct hvm_start_info *info)
{
    static struct guest g;
    const char *fill;
    uint64_t began, listened = 0;

    io_init();
    read_options(&g, (const char *)info->cmdline);
    io_text("INIT ram=");
    io_number(ram_end(info) >> 20);
    io_text("MiB ");
    io_text(g.cmdline ? g.cmdline : "");
    io_text("\n");
    fill = option(g.cmdline, "fill");
    began = io_ms();
    g.ws_pages = memory_fill(((uint64_t)guest_end + 4095) & ~4095ul, ram_end(info), g.ws_pages,
                             !fill || !begins(fill, "zero"));
    io_text("FILLED");
    io_field("pages", g.ws_pages);
    io_field("ms", io_ms() - began);
    io_text("\n");
    set_rate(&g, g.rate);
    g.next_ms = g.last_ms = io_ms();
    for (;;) {
        uint64_t now_ms = io_ms();

        if (now_ms >= g.next_ms)
            beat(&g, now_ms);
        if (now_ms != listened) { /* a look at a port is far dearer than one at the clock */
            listened = now_ms;
            listen(&g);
            if (io_power_button() && g.button_works)
                power_off();
        }
        if (!work(&g, now_ms)) {
            uint64_t left_ms = g.next_ms > now_ms ? g.next_ms - now_ms : 0;

            io_idle((unsigned)(left_ms < IDLE_MS ? left_ms : IDLE_MS));
        }
    }
}
