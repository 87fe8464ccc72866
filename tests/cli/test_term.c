/* Tables, bars, and the live view of migrations: what is drawn on a terminal and what is said
 * elsewhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cli/print_table.h"
#include "cli/term.h"
#include "cli/term_migrations.h"

static struct term
terminal(FILE *out)
{
    return (struct term){.out = out, .tty = true, .utf8 = true, .columns = 100, .rows = 24};
}

static void
table_pads_and_flushes_numbers_right(void **state)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    table_column(t, "NAME", false);
    table_column(t, "BYTES", true);
    table_column(t, "WHY", false);
    table_cell(t, "a");
    table_cell(t, "1");
    table_cell(t, "");
    table_cell(t, "long-name");
    table_cell(t, "123456");
    table_cell(t, "x");
    table_flush(t, 2, &out);
    assert_string_equal(sb_str(&out), "  NAME         BYTES   WHY\n"
                                      "  a                1\n"
                                      "  long-name   123456   x\n");
}

static void
table_goes_on_without_headings_and_never_shrinks(void **state)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    table_column(t, "A", false);
    table_column(t, "B", false);
    table_cell(t, "wide-cell");
    table_cell(t, "1");
    table_flush(t, 0, &out);
    table_cell(t, "x");
    table_cell(t, "2");
    table_flush(t, 0, &out);
    assert_string_equal(sb_str(&out), "A           B\nwide-cell   1\nx           2\n");
    assert_int_equal(table_rows(t), 2);
}

static void
table_makes_control_characters_visible(void **state)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    table_column(t, "M", false);
    table_no_headings(t);
    table_cell(t, "a\033[2Jb\tc\r");
    table_cell(t, "first\nsecond");
    table_flush(t, 0, &out);
    assert_string_equal(sb_str(&out), "a^[[2Jb^Ic^M\nfirst...\n");
}

static void
table_counts_characters_not_bytes(void **state)
{
    AUTO_TABLE struct table *t = table_new();
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    table_set_tight(t);
    table_column(t, "A", false);
    table_column(t, "B", false);
    table_no_headings(t);
    table_cell(t, "n1 → n2");
    table_cell(t, "x");
    table_cell(t, "n1 -> n2");
    table_cell(t, "y");
    table_flush(t, 0, &out);
    assert_string_equal(sb_str(&out), "n1 → n2   x\nn1 -> n2  y\n");
}

struct bar_row {
    const char *name;
    int permille;
    bool utf8;
    const char *want;
};

static const struct bar_row bars[] = {
    {"empty", 0, true, "░░░░"},          {"full", 1000, true, "████"},
    {"half", 500, true, "██░░"},         {"an eighth of a cell", 32, true, "▏░░░"},
    {"below nothing", -5, true, "░░░░"}, {"beyond everything", 2000, true, "████"},
    {"ASCII half", 500, false, "##.."},  {"ASCII full", 1000, false, "####"},
};

static void
bar_is_drawn(void **state)
{
    const struct bar_row *r = *state;
    struct term t = {.utf8 = r->utf8};
    AUTO_SB struct sb out = SB_INIT;

    term_bar(&t, &out, 4, r->permille);
    assert_string_equal(sb_str(&out), r->want);
}

static void
cell_is_cut_and_padded(void **state)
{
    struct term t = {.utf8 = true};
    AUTO_SB struct sb out = SB_INIT;

    (void)state;
    term_cell(&t, &out, "abc", 5, false);
    sb_putc(&out, '|');
    term_cell(&t, &out, "abc", 5, true);
    sb_putc(&out, '|');
    term_cell(&t, &out, "häuser", 4, false);
    sb_putc(&out, '|');
    t.utf8 = false;
    term_cell(&t, &out, "abcdef", 4, false);
    assert_string_equal(sb_str(&out), "abc  |  abc|häu…|abc~");
}

static void
width_leaves_escapes_out(void **state)
{
    (void)state;
    assert_int_equal(term_width("\033[32m✓\033[0m ok"), 4);
    assert_int_equal(term_width(""), 0);
    assert_int_equal(term_width("\033["), 0);
}

static void
long_lines_are_folded_below_their_last_cell(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", ""},
        {"short\n\nlines\n", "short\n\nlines\n"},
        {"Label:      one two three four five six seven\n",
         "Label:      one two three four\n            five six seven\n"},
        {"  0/3 nodes are available: 3 Insufficient memory.\n",
         "  0/3 nodes are available: 3\n    Insufficient memory.\n"},
        {"  n1   no   a b c d e f g h i j k l m n o p\n",
         "  n1   no   a b c d e f g h i j\n            k l m n o p\n"},
        {"a cell of its own width   a second one that is long\n", /* no room for the last cell */
         "a cell of its own width   a\n  second one that is long\n"},
        {"  Ünï   ünï ünï ünï ünï ünï ünï ünï ünï\n",
         "  Ünï   ünï ünï ünï ünï ünï ünï\n        ünï ünï\n"},
        {"averylongwordthatdoesnotfitintothelineatall and more\n",
         "averylongwordthatdoesnotfitintothelineatall\n  and more\n"},
        {"x yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
         "x\n  yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        AUTO_SB struct sb out = SB_INIT;

        term_fold(&out, rows[i].text, 32);
        assert_string_equal(sb_str(&out), rows[i].want);
    }
}

static void
live_lines_are_cut_and_redrawn_in_place(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct term t = terminal(f);
    struct term_live l = {.term = &t};

    (void)state;
    t.columns = 5;
    t.rows = 3;
    term_live_draw(&l, "1234567\nb\nc\nd\n");
    assert_int_equal(l.drawn, 2); /* what does not fit into the height is left out */
    term_live_draw(&l, "x\n");
    assert_int_equal(l.drawn, 1);
    term_live_end(&l);
    fclose(f);
    assert_string_equal(text, "\033[?25l\r12345\033[K\nb\033[K\n\033[J"
                              "\033[?25l\033[2A\rx\033[K\n\033[J"
                              "\033[?25h");
    free(text);
}

static const struct migration moving = {
    .namespace_ = "default",
    .name = "m",
    .uid = "u1",
    .vm = "web",
    .phase = "Running",
    .source = "n1",
    .target = "n2",
    .address = "10.0.0.2:1",
    .policy = "p",
    .waiting = "",
    .failure = "",
    .cause = "",
    .mode = "",
    .encodings = "",
    .privacy = "plaintext",
    .transport = "",
    .downtime_phases = "",
    .started_us = 1,
    .has_progress = true,
    .round = 2,
    .total_bytes = 1 << 30,
    .remaining_bytes = 256 << 20,
    .rate_bytes_per_s = 1LL << 30,
    .dirty_bytes_per_s = 40 << 20,
    .guest_downtime_ms = -1,
};

static const struct migration waiting = {
    .namespace_ = "default",
    .name = "w",
    .uid = "u2",
    .vm = "db",
    .phase = "Pending",
    .source = "",
    .target = "",
    .address = "",
    .policy = "",
    .failure = "",
    .cause = "",
    .mode = "",
    .encodings = "",
    .privacy = "plaintext",
    .transport = "",
    .downtime_phases = "",
    .waiting = "2 of 2 outbound migrations of n1 run",
    .guest_downtime_ms = -1,
};

/* Shows the given states one after the other and returns what was written. */
static char *
shown(bool tty, const struct migration *m, size_t len)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    struct term t = terminal(f);
    struct migrations_view *v;

    t.tty = t.utf8 = tty;
    v = migrations_view_new(&t, 2);
    for (size_t i = 0; i < len; i++)
        migrations_view_show(v, &m[i], 1, NULL);
    migrations_view_free(v);
    fclose(f);
    return text;
}

static void
plain_view_says_what_is_new_once(void **state)
{
    struct migration m[7] = {moving, moving, moving, moving, moving, moving, moving};
    char *text;

    (void)state;
    m[0].round = 1;
    m[0].rate_bytes_per_s = 0; /* not measured yet */
    m[2].remaining_bytes /= 2; /* no news */
    m[3].elapsed_ms = 5100;    /* after that long it is */
    m[3].remaining_bytes /= 4;
    m[4].round = 3;
    m[5].phase = m[6].phase = "Succeeded";
    m[5].final = m[6].final = true;
    m[5].has_result = m[6].has_result = true;
    m[5].result_total_ms = m[6].result_total_ms = 1400;
    m[5].result_rounds = m[6].result_rounds = 3;
    m[5].result_sent_bytes = m[6].result_sent_bytes = 512 << 20;
    m[6].guest_downtime_ms = 12;
    text = shown(false, m, 7);
    assert_string_equal(
        text, "  web: n1 -> n2: round 1, 256 MiB left\n"
              "  web: n1 -> n2: round 2, 256 MiB left, 1 GiB/s, dirty 40 MiB/s, ETA 260 ms\n"
              "  web: n1 -> n2: round 2, 64 MiB left, 1 GiB/s, dirty 40 MiB/s, ETA 65 ms\n"
              "  web: n1 -> n2: round 3, 256 MiB left, 1 GiB/s, dirty 40 MiB/s, ETA 260 ms\n"
              "  web: n1 -> n2: moved in 1.4 s, 512 MiB in 3 rounds\n"
              "  web: n1 -> n2: moved in 1.4 s, 512 MiB in 3 rounds, downtime 12 ms\n");
    free(text);
}

static void
plain_view_has_no_control_characters(void **state)
{
    struct migration m[2] = {moving, waiting};
    char *text = shown(false, m, 2);

    (void)state;
    for (const char *p = text; *p; p++)
        assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
    assert_non_null(strstr(text, "db: 2 of 2 outbound migrations of n1 run\n"));
    free(text);
}

static void
live_view_fits_into_100_columns(void **state)
{
    struct migration m[2] = {moving, waiting};
    char *text;

    (void)state;
    m[0].vm = "a-rather-long-name-of-a-vm";
    m[0].source = "hypervisor-01";
    m[0].target = "hypervisor-02";
    m[0].rate_bytes_per_s = 999LL << 30;
    m[0].dirty_bytes_per_s = 999LL << 30;
    m[0].remaining_bytes = 999LL << 30;
    text = shown(true, m, 2);
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        assert_true(term_width(line) <= 101); /* 100 and the carriage return */
    }
    free(text);
}

/* The second line of one that runs, and the same words off a terminal. */
static void
details_say_how_it_goes(void **state)
{
    static const char *const want[] = {
        "downtime 12 ms (P90 20 ms) predicted, limit 64 MiB/s, throttled 20 %, missing at the "
        "target 1 "
        "MiB, reconnected 2 times\n",
        "Running, PostCopy, encrypted, raw 62%, lz4 38%, downtime 12 ms (P90 20 ms) predicted, "
        "limit",
    };
    struct migration m = moving;

    (void)state;
    m.mode = "PostCopy";
    m.privacy = "encrypted";
    m.encodings = "raw 62%, lz4 38%";
    m.predicted_downtime_ms = 12;
    m.predicted_downtime_p90_ms = 20;
    m.limit_bytes_per_s = 64 << 20;
    m.throttle_percent = 20;
    m.missing_bytes = 1 << 20;
    m.reconnects = 2;
    for (int tty = 0; tty < 2; tty++) {
        char *text = NULL;
        size_t size = 0;
        FILE *f = open_memstream(&text, &size);
        struct term t = terminal(f);
        struct migrations_view *v;

        t.tty = t.utf8 = tty;
        v = migrations_view_new(&t, 2);
        migrations_view_details(v);
        migrations_view_show(v, &m, 1, NULL);
        migrations_view_free(v);
        fclose(f);
        if (!strstr(text, want[tty]))
            fail_msg("no \"%s\" in\n%s", want[tty], text);
        free(text);
    }
}

/* Encryption is what people expect: that there is none is said on a terminal, off it and at the end. */
static void
rdma_says_that_it_is_in_the_clear(void **state)
{
    static const char *const want[2][2] = {
        {"ETA 260 ms, RDMA in the clear", "1 GiB in 3 rounds, RDMA in the clear"},
        {"PreCopy, RDMA in the clear", "1 GiB in 3 rounds, RDMA in the clear"}};

    (void)state;
    for (int tty = 0; tty < 2; tty++)
        for (int over = 0; over < 2; over++) {
            struct migration m = moving;
            char *text = NULL;
            size_t size = 0;
            FILE *f = open_memstream(&text, &size);
            struct term t = terminal(f);
            struct migrations_view *v;

            m.transport = "rdma";
            m.privacy = "RDMA in the clear";
            m.final = m.has_result = over;
            m.result_rounds = 3;
            m.result_sent_bytes = 1 << 30;
            t.tty = t.utf8 = tty;
            v = migrations_view_new(&t, 2);
            migrations_view_details(v);
            migrations_view_show(v, &m, 1, NULL);
            migrations_view_free(v);
            fclose(f);
            if (!strstr(text, want[tty][over]))
                fail_msg("no \"%s\" in\n%s", want[tty][over], text);
            free(text);
        }
}

static void
failed_one_says_why(void **state)
{
    struct migration m = moving;
    char *text;

    (void)state;
    m.final = m.failed = true;
    m.phase = "Failed";
    m.failure = "no progress for 150 s (progressTimeout)";
    text = shown(true, &m, 1);
    assert_non_null(strstr(text, "✗ failed: no progress for 150 s (progressTimeout)"));
    free(text);
}

struct eta_row {
    const char *name;
    int64_t remaining, rate, dirty, want_ms;
};

static const struct eta_row etas[] = {
    {"one second", 100, 100, 0, 1000},     {"slowed by writes", 100, 150, 50, 1000},
    {"nothing left", 0, 100, 0, 0},        {"written as fast as sent", 100, 100, 100, -1},
    {"written faster", 100, 100, 200, -1}, {"no rate yet", 100, 0, 0, -1},
    {"a stall", 1 << 30, 300, 0, -1},      {"most of a day", 86399, 1, 0, 86399000},
};

static void
eta_is(void **state)
{
    const struct eta_row *r = *state;
    struct migration m = moving;

    m.remaining_bytes = r->remaining;
    m.rate_bytes_per_s = r->rate;
    m.dirty_bytes_per_s = r->dirty;
    assert_int_equal(migration_eta_ms(&m), r->want_ms);
}

#define ROW(fn, r) ((struct CMUnitTest){(r)->name, fn, NULL, NULL, (void *)(uintptr_t)(r)})

int
main(void)
{
    struct CMUnitTest tests[32] = {
        cmocka_unit_test(table_pads_and_flushes_numbers_right),
        cmocka_unit_test(table_goes_on_without_headings_and_never_shrinks),
        cmocka_unit_test(table_makes_control_characters_visible),
        cmocka_unit_test(table_counts_characters_not_bytes),
        cmocka_unit_test(cell_is_cut_and_padded),
        cmocka_unit_test(width_leaves_escapes_out),
        cmocka_unit_test(live_lines_are_cut_and_redrawn_in_place),
        cmocka_unit_test(plain_view_says_what_is_new_once),
        cmocka_unit_test(plain_view_has_no_control_characters),
        cmocka_unit_test(live_view_fits_into_100_columns),
        cmocka_unit_test(failed_one_says_why),
        cmocka_unit_test(details_say_how_it_goes),
        cmocka_unit_test(rdma_says_that_it_is_in_the_clear),
        cmocka_unit_test(long_lines_are_folded_below_their_last_cell),
    };
    size_t n = 13;

    for (size_t i = 0; i < ARRAY_LEN(bars); i++)
        tests[n++] = ROW(bar_is_drawn, &bars[i]);
    for (size_t i = 0; i < ARRAY_LEN(etas); i++)
        tests[n++] = ROW(eta_is, &etas[i]);
    return _cmocka_run_group_tests("term", tests, n, NULL, NULL);
}
