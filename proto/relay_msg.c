/* The messages of a relayed migration, packed and unpacked; see relay_msg.h. */
#include "proto/relay_msg.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "proto/relay_msg.pb-c.h"

static int get_disks(const Drover__RelayMessage *p, struct relay_msg *m, struct err *err);
static int get_xml(const char *s, struct relay_msg *m, struct err *err);
static int check(const struct relay_msg *m, struct err *err);

static const char *const names[RELAY_MSG_TYPES] = {
    [RELAY_MSG_CHECK] = "CHECK",     [RELAY_MSG_READY] = "READY",       [RELAY_MSG_REFUSED] = "REFUSED",
    [RELAY_MSG_FINISH] = "FINISH",   [RELAY_MSG_PREPARED] = "PREPARED", [RELAY_MSG_COMMIT] = "COMMIT",
    [RELAY_MSG_RUNNING] = "RUNNING", [RELAY_MSG_ABORT] = "ABORT",       [RELAY_MSG_QUESTION] = "QUESTION",
    [RELAY_MSG_ANSWER] = "ANSWER",   [RELAY_MSG_COMPLETE] = "COMPLETE", [RELAY_MSG_ERROR] = "ERROR",
};

/* Every string of bounded size: where it is in both structs. */
#define WORDS(X)                         \
    X(virt_type, RELAY_MSG_WORD_SIZE)    \
    X(arch, RELAY_MSG_WORD_SIZE)         \
    X(machine, RELAY_MSG_WORD_SIZE)      \
    X(data_path, RELAY_MSG_PATH_SIZE)    \
    X(directory, RELAY_MSG_DIR_SIZE)     \
    X(host, RELAY_MSG_WORD_SIZE)         \
    X(disk_address, RELAY_MSG_ADDR_SIZE) \
    X(reason, RELAY_MSG_WORD_SIZE)

const char *
relay_msg_name(enum relay_msg_type t)
{
    return (unsigned)t < RELAY_MSG_TYPES && names[t] ? names[t] : "?";
}

void
relay_msg_encode(const struct relay_msg *m, struct sb *out)
{
    Drover__RelayMessage p;
    struct relay_msg c = *m; /* protobuf-c takes no const */
    char *disks[RELAY_MSG_MAX_DISKS];
    size_t size;

    assert(m->disks_len <= RELAY_MSG_MAX_DISKS);
    drover__relay_message__init(&p);
    for (size_t i = 0; i < m->disks_len; i++)
        disks[i] = c.disks[i];
    for (char *t = c.text; *t; t++)
        *t = (unsigned char)*t < ' ' || *t == 0x7f ? ' ' : *t;
    p.version = RELAY_MSG_VERSION;
    p.type = m->type;
    p.generation = m->generation;
    p.cpu_xml = c.cpu_xml ? c.cpu_xml : p.cpu_xml;
    p.memory_bytes = m->memory_bytes;
    p.disks = disks;
    p.n_disks = m->disks_len;
    p.post_copy = m->post_copy;
    p.paused = m->paused;
    p.libvirt_version = m->libvirt_version;
    p.hypervisor_version = m->hypervisor_version;
    p.text = c.text;
    p.withdraw = m->withdraw;
    p.answer = m->answer;
    p.incomplete = m->incomplete;
    p.commit_us = m->commit_us;
    p.resume_us = m->resume_us;
#define X(field, bytes) p.field = c.field;
    WORDS(X)
#undef X
    size = drover__relay_message__get_packed_size(&p);
    assert(size <= RELAY_MSG_MAX);

    AUTO_FREE uint8_t *buf = xmalloc(size + 1);

    drover__relay_message__pack(&p, buf);
    sb_add(out, buf, size);
}

static int
get_word(const char *s, char *out, size_t size, const char *field, struct err *err)
{
    size_t n = strlen(s);

    if (n >= size)
        return err_set(err, -EPROTO, "%s: %zu bytes: at most %zu", field, n, size - 1);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            return err_set(err, -EPROTO, "%s: not printable", field);
    memcpy(out, s, n + 1);
    return 0;
}

int
relay_msg_decode(const void *data, size_t len, struct relay_msg *ret, struct err *err)
{
    struct relay_msg m = {0};
    Drover__RelayMessage *p;
    int rc = 0;

    if (len > RELAY_MSG_MAX)
        return err_set(err, -EPROTO, "relay message of %zu bytes: at most %u", len, RELAY_MSG_MAX);
    p = drover__relay_message__unpack(NULL, len, data);
    if (!p)
        return err_set(err, -EPROTO, "relay message cannot be unpacked");
    if (p->version != RELAY_MSG_VERSION)
        rc = err_set(err, -EPROTO, "relay message of version %u: want %u", p->version,
                     RELAY_MSG_VERSION);
    else if (p->type == 0 || p->type >= RELAY_MSG_TYPES)
        rc = err_set(err, -EPROTO, "relay message of unknown type %u", p->type);
    if (rc == 0) {
        m.type = (enum relay_msg_type)p->type;
        m.generation = p->generation;
        m.memory_bytes = p->memory_bytes;
        m.post_copy = p->post_copy;
        m.paused = p->paused;
        m.libvirt_version = p->libvirt_version;
        m.hypervisor_version = p->hypervisor_version;
        m.withdraw = p->withdraw;
        m.answer = (enum relay_msg_answer)p->answer;
        m.incomplete = p->incomplete;
        m.commit_us = p->commit_us;
        m.resume_us = p->resume_us;
        rc = get_word(p->text, m.text, sizeof m.text, "text", err);
    }
#define X(field, bytes) \
    if (rc == 0)        \
        rc = get_word(p->field, m.field, bytes, #field, err);
    WORDS(X)
#undef X
    if (rc == 0)
        rc = get_disks(p, &m, err);
    if (rc == 0)
        rc = check(&m, err);
    if (rc == 0)
        rc = get_xml(p->cpu_xml, &m, err);
    drover__relay_message__free_unpacked(p, NULL);
    if (rc != 0)
        return m.type ? err_prefix(err, rc, "relay message %s", relay_msg_name(m.type)) : rc;
    *ret = m;
    return 0;
}

static int
get_disks(const Drover__RelayMessage *p, struct relay_msg *m, struct err *err)
{
    if (p->n_disks > RELAY_MSG_MAX_DISKS)
        return err_set(err, -EPROTO, "%zu disks: at most %u", p->n_disks, RELAY_MSG_MAX_DISKS);
    for (size_t i = 0; i < p->n_disks; i++) {
        int rc = get_word(p->disks[i], m->disks[i], RELAY_MSG_DISK_SIZE, "disks", err);

        if (rc != 0)
            return rc;
    }
    m->disks_len = p->n_disks;
    return 0;
}

static int
get_xml(const char *s, struct relay_msg *m, struct err *err)
{
    size_t n = strlen(s);

    if (n > RELAY_MSG_MAX_XML)
        return err_set(err, -EPROTO, "cpu_xml: %zu bytes: at most %u", n, RELAY_MSG_MAX_XML);
    m->cpu_xml = n ? xstrdup(s) : NULL;
    return 0;
}

/* What a type cannot be without. */
static int
check(const struct relay_msg *m, struct err *err)
{
    switch (m->type) {
    case RELAY_MSG_CHECK:
        if (m->memory_bytes == 0 || m->memory_bytes > RELAY_MSG_MAX_MEMORY)
            return err_set(err, -EPROTO, "memory_bytes %llu: want 1 to %llu",
                           (unsigned long long)m->memory_bytes, RELAY_MSG_MAX_MEMORY);
        return m->data_path[0] == '/' ? 0 : err_set(err, -EPROTO, "data_path is not absolute");
    case RELAY_MSG_READY:
        return m->directory[0] == '/' ? 0 : err_set(err, -EPROTO, "directory is not absolute");
    case RELAY_MSG_ANSWER:
        if (m->answer < RELAY_MSG_ANSWER_RUNNING || m->answer > RELAY_MSG_ANSWER_WAIT)
            return err_set(err, -EPROTO, "answer %u: want 1 to %u", m->answer, RELAY_MSG_ANSWER_WAIT);
        return 0;
    default:
        return 0;
    }
}

void
relay_msg_done(struct relay_msg *m)
{
    free(m->cpu_xml);
    *m = (struct relay_msg){0};
}
