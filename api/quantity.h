/* Kubernetes quantities, durations and times as text and numbers. Pure. Messages of the parsers say
 * what is wrong and what is allowed; they do not repeat the text, which the caller names. */
#ifndef API_QUANTITY_H
#define API_QUANTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A quantity, rounded up: units (bytes, cores, pods, ...) and thousandths. Both saturate at
 * INT64_MAX / INT64_MIN. set = false means that the field was absent. */
struct quantity {
    bool set;
    int64_t units;
    int64_t milli;
};

/* Grammar of apimachinery's resource.Quantity: sign, digits with one dot, then one of
 * n u m "" k M G T P E, Ki Mi Gi Ti Pi Ei, or an exponent e3/E3. No blanks ("64 Mi" is an error). Values beyond
 * int64 are an error here (we refuse them at the API). */
int quantity_parse(const char *s, struct quantity *ret, struct err *err);
/* Shortest binary form for people: "64Mi", "1536Mi", "2Gi", "1000". */
void quantity_format_bytes(int64_t bytes, char *buf, size_t size);
/* "1.5 GiB", "312 MiB": three significant digits. */
void quantity_format_human(uint64_t bytes, char *buf, size_t size);
/* Canonical CPU text from thousandths: "1500m", "2". */
void quantity_format_cpu(int64_t milli, char *buf, size_t size);

/* Go's time.ParseDuration: "1h2m3.5s", "150ms", "0". Result in microseconds. */
int duration_parse(const char *s, int64_t *ret_us, struct err *err);
/* "2m5s" style, as kubectl prints ages; buf of 32 is enough. */
void duration_format_age(int64_t us, char *buf, size_t size);

/* RFC 3339 with optional fraction and any offset; microseconds since 1970. */
int time_parse(const char *s, int64_t *ret_us, struct err *err);
/* "2026-11-21T13:04:05Z"; buf of 32 is enough. micro: with six digits of fraction (MicroTime). */
void time_format(int64_t us, bool micro, char *buf, size_t size);

#endif
