/* See io.h. Ports: 16550 UART at 0x3f8, 8253 timer, 8259 interrupt controllers, the ACPI power management
 * block where SeaBIOS puts it on QEMU's pc and q35 (0x600), QEMU's ISA panic device. */
#include "tests/guest/io.h"

#define UART         0x3f8
#define LSR_READY    0x01
#define LSR_EMPTY    0x20
#define FIFO_BYTES   16
#define PIT_HZ       1193182
#define TICK_HZ      100
#define PM1_STATUS   0x600
#define PM1_ENABLE   0x602
#define PM1_CONTROL  0x604
#define POWER_BUTTON 0x0100
#define SLEEP_S5     0x2000 /* SLP_EN; QEMU's SLP_TYP of S5 is 0 */
#define PANIC        0x505

/* boot.S: */
extern volatile uint32_t idle;
extern const uint32_t can_sleep;

static uint64_t tsc_start, tsc_per_ms;
static unsigned room; /* in the UART's FIFO */

/* How fast the time stamp counter runs, by counter 2 of the timer: 20 ms. */
static void
measure_tsc(void)
{
    unsigned count = PIT_HZ / 50;
    uint64_t begin;

    outb(0x61, (inb(0x61) & ~2) | 1);
    outb(0x43, 0xb0); /* counter 2, both bytes, mode 0 */
    outb(0x42, (uint8_t)count);
    outb(0x42, (uint8_t)(count >> 8));
    begin = tsc();
    while (!(inb(0x61) & 0x20))
        continue;
    tsc_per_ms = (tsc() - begin) / 20;
    if (tsc_per_ms == 0)
        tsc_per_ms = 1000000;
    tsc_start = tsc();
}

static void
start_ticks(void)
{
    unsigned count = PIT_HZ / TICK_HZ;

    outb(0x20, 0x11); /* both controllers anew: vectors from 0x20 and 0x28, 8086 mode */
    outb(0xa0, 0x11);
    outb(0x21, 0x20);
    outb(0xa1, 0x28);
    outb(0x21, 4);
    outb(0xa1, 2);
    outb(0x21, 1);
    outb(0xa1, 1);
    outb(0x43, 0x34); /* counter 0, both bytes, mode 2 */
    outb(0x40, (uint8_t)count);
    outb(0x40, (uint8_t)(count >> 8));
    outb(0x21, 0xfe); /* only IRQ 0 */
    outb(0xa1, 0xff);
}

void
io_init(void)
{
    outb(UART + 1, 0);
    outb(UART + 3, 3);
    outb(UART + 2, 7); /* FIFOs on, and empty */
    outb(UART + 4, 3);
    measure_tsc();
    if (can_sleep)
        start_ticks();
    outw(PM1_ENABLE, POWER_BUTTON);
}

uint64_t
io_ms(void)
{
    return (tsc() - tsc_start) / tsc_per_ms;
}

void
io_idle(unsigned ms)
{
    if (can_sleep)
        idle = ms * TICK_HZ / 1000 + 1;
    else
        for (unsigned i = 0; i < 1000; i++)
            __asm__ volatile("pause");
    while (idle)
        __asm__ volatile("pause");
}

static void
put(char c)
{
    if (room == 0) {
        while (!(inb(UART + 5) & LSR_EMPTY))
            continue;
        room = FIFO_BYTES;
    }
    room--;
    outb(UART, (uint8_t)c);
}

void
io_text(const char *s)
{
    while (*s)
        put(*s++);
}

void
io_number(uint64_t v)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n)
        put(digits[--n]);
}

void
io_hex(uint64_t v)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        put("0123456789abcdef"[v >> shift & 15]);
}

void
io_field(const char *name, uint64_t v)
{
    put(' ');
    io_text(name);
    put('=');
    io_number(v);
}

int
io_typed(void)
{
    return inb(UART + 5) & LSR_READY ? inb(UART) : -1;
}

bool
io_power_button(void)
{
    if (!(inw(PM1_STATUS) & POWER_BUTTON))
        return false;
    outw(PM1_STATUS, POWER_BUTTON); /* writing a 1 clears it */
    return true;
}

void
io_power_off(void)
{
    for (;;)
        outw(PM1_CONTROL, SLEEP_S5);
}

void
io_reboot(void)
{
    for (;;)
        outb(0x64, 0xfe);
}

void
io_crash(void)
{
    if (inb(PANIC) != 0xff)
        outb(PANIC, 1);
    for (;;) /* no gate for it, nor for what follows */
        __asm__ volatile("ud2");
}
