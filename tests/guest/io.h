/* The test guest's ports, clock and serial line. No libc: everything here is the machine's. */
#ifndef TESTS_GUEST_IO_H
#define TESTS_GUEST_IO_H

#include <stdbool.h>
#include <stdint.h>

static inline void
outb(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void
outw(uint16_t port, uint16_t v)
{
    __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t
inb(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint16_t
inw(uint16_t port)
{
    uint16_t v;

    __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port) : "memory");
    return v;
}

static inline uint64_t
tsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

/* Serial line, clock, timer: once, first. */
void io_init(void);
uint64_t io_ms(void); /* since io_init; stands still while the machine is stopped */
/* Nothing to do for about this long: the CPU may sleep. */
void io_idle(unsigned ms);

void io_text(const char *s); /* to ttyS0; "\n" as it is */
void io_number(uint64_t v);
void io_hex(uint64_t v);
/* name, then the number: " bad=0" */
void io_field(const char *name, uint64_t v);
/* The next byte that somebody typed, -1: none. */
int io_typed(void);

/* Whether somebody pressed the machine's power button since the last look. */
bool io_power_button(void);
void io_power_off(void) __attribute__((noreturn));
void io_reboot(void) __attribute__((noreturn));
/* What a kernel does that is at its end: says so to a panic device if there is one, else a triple fault. */
void io_crash(void) __attribute__((noreturn));

#endif
