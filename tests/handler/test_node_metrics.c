/* The handler's metrics: what they say of migrations that have ended, for how long, that a strict
 * reader takes them, what the small HTTP server answers, and that the documentation is up to
 * date. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fs.h"
#include "handler/handler.h"
#include "handler/limits.h"
#include "netpolicy/nl_link.h"
#include "netpolicy/nl_shape.h"
#include "tests/exposition.h"

static const struct mig_stats one = {
    .round = 3,
    .total_bytes = 64 << 20,
    .sent_bytes = 5000,
    .started_us = 1000000,
    .finished_us = 3000000,
    .downtime_us = 4000,
    .downtime = {.stop_us = 100, .pages_us = 3000},
    .cpu_us = 500000,
    .shaping_wait_us = 1500000,
    .limit_bytes_per_s = 1000,
    .predicted_downtime_us = 5000,
    .enc_pages = {[MIG_ENC_LZ4] = 7},
    .enc_bytes = {[MIG_ENC_LZ4] = 900},
    .transport = MIG_TRANSPORT_RDMA,
    .placed_pages = 40,
    .registered_bytes = 1 << 20,
};

struct rig {
    struct handler h;
};

static void
begin(struct rig *r)
{
    struct err err;

    memset(r, 0, sizeof *r);
    r->h.l = loop_sim_new(1);
    r->h.vms = strmap_new();
    r->h.share = share_new();
    r->h.writer = writer_new(r->h.l, "unix:/nonexistent", &err);
    r->h.metrics = node_metrics_new();
    r->h.rdma = node_rdma_new(r->h.l, NULL, "", false, 1 << 30, NULL, NULL);
    assert_non_null(r->h.writer);
}

static void
end(struct rig *r)
{
    writer_free(r->h.writer);
    node_metrics_free(r->h.metrics);
    node_rdma_free(r->h.rdma);
    share_free(r->h.share);
    strmap_free(r->h.vms, NULL);
    loop_free(r->h.l);
}

static void
read_now(struct rig *r, struct exposition *e)
{
    AUTO_SB struct sb out = SB_INIT;

    node_metrics_text(&r->h, &out);
    if (!exposition_read(e, sb_str(&out)))
        fail_msg("%s", e->error);
}

static void
check(const struct exposition *e, const char *series, const char *want)
{
    const char *got = exposition_get(e, series);

    if (want ? !got || strcmp(got, want) != 0 : got != NULL)
        fail_msg("%s: %s, want %s", series, got ? got : "not there", want ? want : "not there");
}

#define VM "|namespace=shop|name=db"

static void
test_ended(void **state)
{
    struct mig_stats failed = one, target = {.sent_bytes = 70, .cpu_us = 250000};
    struct exposition e;
    struct rig r;

    (void)state;
    begin(&r);
    failed.downtime_us = 0;
    failed.downtime = (struct mig_downtime){0};
    failed.transport = MIG_TRANSPORT_AUTO; /* it never had a connection */
    failed.placed_pages = 0;
    target.read_faults = 3;
    target.downtime.resume_us = 90;
    target.fault_us[6] = 3;
    target.fault_us[10] = 1;
    node_metrics_source_ended(r.h.metrics, "shop", "db", MIG_MOVED, MIG_CAUSE_PEER, &one,
                              loop_wall_us(r.h.l));
    node_metrics_source_ended(r.h.metrics, "shop", "web", MIG_FAILED, MIG_CAUSE_CANCELLED, &failed,
                              loop_wall_us(r.h.l));
    node_metrics_target_ended(r.h.metrics, &target);
    read_now(&r, &e);
    check(&e, "kubevirt_vmi_migration_data_bytes_total" VM, "67108864");
    check(&e, "kubevirt_vmi_migration_data_processed_bytes" VM, "5000");
    check(&e, "drover_migration_round|namespace=shop|name=web", "3");
    check(&e, "drover_migration_limit_bytes_per_second" VM, "1000");
    check(&e, "drover_migration_predicted_downtime_seconds" VM "|percentile=50", "0.005");
    check(&e, "drover_migration_pages" VM "|encoding=lz4", "7");
    check(&e, "drover_migration_pages" VM "|encoding=raw", NULL);
    check(&e, "drover_outgoing_migrations_total|outcome=moved|cause=", "1");
    check(&e, "drover_outgoing_migrations_total|outcome=failed|cause=cancelled", "1");
    check(&e, "drover_migration_sent_bytes_total", "10000");
    check(&e, "drover_migration_received_bytes_total", "70");
    check(&e, "drover_migration_payload_bytes_total|encoding=lz4", "1800");
    check(&e, "drover_migration_cpu_seconds_total|side=source", "1");
    check(&e, "drover_migration_shaping_wait_seconds_total", "3");
    check(&e, "drover_migration_cpu_seconds_total|side=target", "0.25");
    check(&e, "drover_migration_downtime_seconds_count|phase=total", "1");
    check(&e, "drover_migration_downtime_seconds_sum|phase=pages", "0.003");
    check(&e, "drover_migration_downtime_seconds_count|phase=resume", "1");
    check(&e, "drover_postcopy_fault_seconds_count", "4");
    check(&e, "drover_bandwidth_sharers", "0");
    check(&e, "drover_migration_placed_pages" VM, "40");
    check(&e, "drover_migration_registered_bytes" VM, "1048576");
    check(&e, "drover_migration_transports_total|transport=rdma", "1");
    check(&e, "drover_migration_transports_total|transport=auto", NULL);
    check(&e, "drover_migration_placed_pages_total", "40");
    check(&e, "drover_postcopy_read_faults_total", "3");
    exposition_done(&e);
    end(&r);
}

static void
test_rdma(void **state)
{
    const struct mignet net = {.state = MIGNET_BROKEN, .ref = "ns/net", .code = "LinkDown"};
    struct exposition e;
    struct rig r;

    (void)state;
    begin(&r);
    read_now(&r, &e);
    check(&e, "drover_migration_rdma_ready|network=management|device=|reason=NotLooked", NULL);
    exposition_done(&e);
    r.h.net = net;
    node_rdma_network(r.h.rdma, &net);
    read_now(&r, &e);
    check(&e, "drover_migration_rdma_ready|network=ns/net|device=|reason=NetworkNotReady", "0");
    exposition_done(&e);
    end(&r);
}

/* What has ended is shown for a while; a VM that migrates again is shown once. */
static void
test_a_while(void **state)
{
    struct mig_stats again = one;
    struct exposition e;
    struct rig r;

    (void)state;
    begin(&r);
    again.sent_bytes = 6000;
    node_metrics_source_ended(r.h.metrics, "shop", "db", MIG_MOVED, MIG_CAUSE_NONE, &one,
                              loop_wall_us(r.h.l));
    node_metrics_source_ended(r.h.metrics, "shop", "db", MIG_MOVED, MIG_CAUSE_NONE, &again,
                              loop_wall_us(r.h.l));
    read_now(&r, &e);
    check(&e, "kubevirt_vmi_migration_data_processed_bytes" VM, "6000");
    exposition_done(&e);
    loop_sim_run_until(r.h.l, loop_now_us(r.h.l) + HANDLER_RECENT_US + 1);
    read_now(&r, &e);
    check(&e, "kubevirt_vmi_migration_data_processed_bytes" VM, NULL);
    check(&e, "drover_migration_sent_bytes_total", "11000");
    exposition_done(&e);
    for (int i = 0; i < 3 * HANDLER_RECENT_MIGRATIONS; i++) { /* bounded, whatever happens */
        char name[16];

        snprintf(name, sizeof name, "vm-%d", i);
        node_metrics_source_ended(r.h.metrics, "shop", name, MIG_MOVED, MIG_CAUSE_NONE, &one,
                                  loop_wall_us(r.h.l));
    }
    read_now(&r, &e);
    check(&e, "drover_migration_round|namespace=shop|name=vm-0", NULL);
    check(&e, "drover_migration_round|namespace=shop|name=vm-191", "3");
    assert_true(e.lines < 64 * 25 + 200);
    exposition_done(&e);
    end(&r);
}

/* --- networks, in a namespace of their own --- */

#define REF     "|network=cnv/fast"
#define ON_VLAN REF "|interface=migration0"

struct network_case {
    struct rig r;
    struct sb text[2]; /* while the link is up, and down */
    bool shaped;
    struct err err;
};

/* eth1 and its peer, a macvlan on eth1 with an address: what a handler would have made. */
static int
make_networks(struct err *err)
{
    struct ip ip;
    int rc;

    ip_parse("198.18.0.11", &ip, NULL);
    if ((rc = nl_veth_add("mgmt0", "peer0", -1, err)) != 0 ||
        (rc = nl_addr_add("mgmt0", &ip, 24, err)) != 0 || (rc = nl_link_up("mgmt0", err)) != 0 ||
        (rc = nl_veth_add("eth1", "peer1", -1, err)) != 0 || (rc = nl_link_up("peer1", err)) != 0 ||
        (rc = nl_link_up("eth1", err)) != 0 ||
        (rc = nl_macvlan_add("migration0", "eth1", "bridge", err)) != 0)
        return rc;
    return nl_link_up("migration0", err);
}

static void *
scrape_networks(void *ctx)
{
    const struct net_shape limit = {.rate_bytes_per_s = 1000000, .burst_bytes = 100000};
    struct network_case *c = ctx;
    struct handler *h = &c->r.h;

    if (unshare(CLONE_NEWNET) != 0) {
        err_set(&c->err, -EPERM, "needs the right to make network namespaces");
        return NULL;
    }
    if (make_networks(&c->err) != 0)
        return NULL;
    c->shaped = nl_shape_set("migration0", &limit, NULL) == 0;
    h->cfg.node_name = "n1";
    h->cfg.address = "198.18.0.11";
    h->net.state = MIGNET_READY;
    snprintf(h->net.ref, sizeof h->net.ref, "cnv/fast");
    snprintf(h->net.ifname, sizeof h->net.ifname, "migration0");
    snprintf(h->net.code, sizeof h->net.code, "AddressFound");
    node_metrics_text(h, &c->text[0]);
    if (nl_link_down("peer1", &c->err) != 0)
        return NULL;
    h->net.state = MIGNET_BROKEN;
    snprintf(h->net.code, sizeof h->net.code, "LinkDown");
    for (int i = 0; i < 500; i++) { /* the kernel tells a macvlan of its carrier a little later */
        sb_reset(&c->text[1]);
        node_metrics_text(h, &c->text[1]);
        if (strstr(sb_str(&c->text[1]), "interface=\"migration0\"} 0\n# HELP drover_network_mtu"))
            break;
        poll(NULL, 0, 10);
    }
    return NULL;
}

static void
test_networks(void **state)
{
    struct network_case c = {.text = {SB_INIT, SB_INIT}};
    struct exposition e;
    pthread_t t;

    (void)state;
    begin(&c.r);
    assert_int_equal(pthread_create(&t, NULL, scrape_networks, &c), 0);
    pthread_join(t, NULL);
    if (c.err.code == -EPERM) {
        end(&c.r);
        skip();
    }
    if (c.err.code)
        fail_msg("%s", err_msg(&c.err));
    assert_true(exposition_read(&e, sb_str(&c.text[0])));
    check(&e, "drover_network_up" ON_VLAN, "1");
    check(&e, "drover_network_mtu_bytes" ON_VLAN, "1500");
    check(&e, "drover_network_mtu_bytes|network=management|interface=mgmt0", "1500");
    check(&e, "drover_migration_network_ready" REF "|reason=AddressFound", "1");
    assert_non_null(
        exposition_get(&e, "drover_network_bytes_total" REF "|interface=eth1|direction=sent"));
    check(&e, "drover_network_bytes_total" ON_VLAN "|direction=sent", NULL);
    check(&e, "drover_network_packets_dropped_total" ON_VLAN "|direction=received", "0");
    check(&e, "drover_network_speed_bytes_per_second" ON_VLAN, NULL);
    check(&e, "kubernetes_nmstate_network_interfaces|type=mac-vlan|node=n1", "1");
    check(&e, "kubernetes_nmstate_network_interfaces|type=ethernet|node=n1", "4");
    check(&e, "drover_network_limit_bytes_per_second" ON_VLAN, c.shaped ? "1000000" : NULL);
    check(&e, "drover_network_limit_dropped_total" ON_VLAN, c.shaped ? "0" : NULL);
    exposition_done(&e);
    assert_true(exposition_read(&e, sb_str(&c.text[1])));
    check(&e, "drover_network_up" ON_VLAN, "0");
    check(&e, "drover_migration_network_ready" REF "|reason=LinkDown", "0");
    check(&e, "drover_migration_network_ready" REF "|reason=AddressFound", NULL);
    check(&e, "kubernetes_nmstate_network_interfaces|type=mac-vlan|node=n1", "1");
    exposition_done(&e);
    sb_done(&c.text[0]);
    sb_done(&c.text[1]);
    end(&c.r);
}

/* Without a dedicated network only that is said, and of a network nothing that is not known. */
static void
test_no_network(void **state)
{
    struct exposition e;
    struct rig r;

    (void)state;
    begin(&r);
    read_now(&r, &e);
    check(&e, "drover_migration_network_ready|network=management|reason=NotRead", NULL);
    exposition_done(&e);
    r.h.net.state = MIGNET_NONE;
    snprintf(r.h.net.code, sizeof r.h.net.code, "NoDedicatedNetwork");
    read_now(&r, &e);
    check(&e, "drover_migration_network_ready|network=management|reason=NoDedicatedNetwork", "1");
    exposition_done(&e);
    r.h.net.state = MIGNET_BROKEN;
    snprintf(r.h.net.ref, sizeof r.h.net.ref, "cnv/fast");
    snprintf(r.h.net.ifname, sizeof r.h.net.ifname, "none-such");
    snprintf(r.h.net.code, sizeof r.h.net.code, "InterfaceMissing");
    read_now(&r, &e);
    check(&e, "drover_migration_network_ready" REF "|reason=InterfaceMissing", "0");
    check(&e, "drover_network_up" REF "|interface=none-such", NULL);
    exposition_done(&e);
    end(&r);
}

/* --- over HTTP --- */

static void
fill(void *ctx, struct sb *out)
{
    sb_puts(out, ctx);
}

static void *
run_loop(void *l)
{
    loop_run(l);
    return NULL;
}

static void
stop_loop(void *l)
{
    loop_stop(l);
}

static void
ask(unsigned port, const char *request, char *ret, size_t size)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    AUTO_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval tv = {.tv_sec = 10};
    size_t len = 0;
    ssize_t n;

    inet_pton(AF_INET, "127.0.0.1", &sa.sin_addr);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    while (len + 1 < size && (n = recv(fd, ret + len, size - len - 1, 0)) > 0)
        len += (size_t)n;
    ret[len] = '\0';
}

static void
test_http(void **state)
{
    static const struct {
        const char *request, *want;
    } rows[] = {
        {"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
        {"GET /metrics HTTP/1.0\r\n\r\n", "\r\n\r\nx 1\n"},
        {"GET /metrics HTTP/1.0\r\n\r\n", "Content-Type: text/plain; version=0.0.4"},
        {"GET / HTTP/1.0\r\n\r\n", " 404 want /metrics\r\n"},
        {"POST /metrics HTTP/1.0\r\nContent-Length: 0\r\n\r\n", " 501 "},
        {"nonsense\r\n\r\n", " 400 "},
    };
    struct loop *l = loop_event_new();
    struct metrics_http *h = NULL;
    struct err err = {0};
    char answer[4096];
    pthread_t thread;

    (void)state;
    assert_int_equal(
        metrics_http_new(l, "127.0.0.1:0", fill, (void *)(uintptr_t) "x 1\n", &h, &err), 0);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, l), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ask(metrics_http_port(h), rows[i].request, answer, sizeof answer);
        if (!strstr(answer, rows[i].want))
            fail_msg("%s: %s", rows[i].request, answer);
    }
    loop_post(l, stop_loop, l);
    pthread_join(thread, NULL);
    metrics_http_free(h);
    loop_free(l);
}

static void
test_http_addresses(void **state)
{
    static const char *const bad[] = {"",
                                      ":1",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "127.0.0.1:-1",
                                      "256.0.0.1:1"};
    struct loop *l = loop_event_new();
    struct metrics_http *h = NULL;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err err = {0};

        if (metrics_http_new(l, bad[i], fill, NULL, &h, &err) == 0)
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(err_msg(&err), bad[i]));
    }
    loop_free(l);
}

/* docs/metrics.md has the table as the program prints it. */
static void
test_docs(void **state)
{
    AUTO_SB struct sb table = SB_INIT;
    AUTO_FREE char *text = NULL;
    size_t len;

    (void)state;
    node_metrics_docs(&table);
    assert_int_equal(fs_read_all("docs/metrics.md", 1 << 20, &text, &len, NULL), 0);
    if (!strstr(text, sb_str(&table)))
        fail_msg("docs/metrics.md is old: put the output of drover-handler --print-metrics in");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ended),          cmocka_unit_test(test_rdma),
        cmocka_unit_test(test_a_while),        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_no_network),     cmocka_unit_test(test_http),
        cmocka_unit_test(test_http_addresses), cmocka_unit_test(test_docs),
    };

    return cmocka_run_group_tests_name("metrics of a handler", tests, NULL, NULL);
}
