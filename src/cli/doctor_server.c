/* cli/doctor_server.c - the state directory, and the server that runs with it. See cli/doctor.h. */
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "base/limits.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/probe.h"
#include "store/store.h"

#define DAY_S 86400
/* A request with its trace takes a few KB; below the first the ledger is about to fail. */
#define DISK_BAD_BYTES  MIB(64)
#define DISK_WARN_BYTES MIB(1024)

/* --- state directory -------------------------------------------------------------------------- */

static void check_space(struct doctor *d, const char *have)
{
    struct statvfs v;
    if (statvfs(have, &v) != 0)
        return;
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    enum doctor_status s = free_bytes < DISK_BAD_BYTES    ? DOCTOR_BAD
                           : free_bytes < DISK_WARN_BYTES ? DOCTOR_WARN
                                                          : DOCTOR_OK;
    doctor_add(d, s, "disk space", "%llu MiB free in %s", (unsigned long long)(free_bytes >> 20),
               have);
    if (s != DOCTOR_OK)
        doctor_fix(d, "make room, or move the state with `state_dir`; no call is made once the "
                      "ledger cannot be written");
}

/* SQLite's WAL keeps its index in memory that all processes of one machine share. */
static void check_file_system(struct doctor *d, const char *have)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } remote[] = {{NFS_SUPER_MAGIC, "NFS"}, {SMB_SUPER_MAGIC, "SMB"}, {0xFF534D42, "CIFS"},
                  {0xFE534D42, "SMB2"},     {0x00C36400, "Ceph"},     {AFS_SUPER_MAGIC, "AFS"},
                  {V9FS_MAGIC, "9P"}};
    struct statfs f;
    if (statfs(have, &f) != 0)
        return;
    for (size_t i = 0; i < COUNT_OF(remote); i++)
        if ((uint32_t)f.f_type == remote[i].magic) {
            doctor_add(d, DOCTOR_WARN, "file system",
                       "%s is on %s: a ledger there may be damaged when two machines open it", have,
                       remote[i].name);
            doctor_fix(d, "name a directory of a local disk in `state_dir`");
        }
}

void doctor_state_dir(struct doctor *d)
{
    static const char name[] = "state directory";
    struct span dir = d->config->state_dir;
    char have[PATH_MAX], path[108];
    struct stat st;
    struct err e = {0};
    if (!store_dir_check(dir.p, have, &e)) {
        doctor_add(d, DOCTOR_BAD, name, "%s", e.msg);
        doctor_fix(d, "name a directory that you may write in with `state_dir` or $XDG_STATE_HOME");
        return;
    }
    bool there = span_eq(span_of(have), dir) && stat(have, &st) == 0;
    if (!app_socket_path(d->config, path, sizeof path)) {
        doctor_add(d, DOCTOR_BAD, name, "%s: the path is too long for the socket in it", dir.p);
        doctor_fix(d, "name a directory of at most %zu bytes in `state_dir`",
                   sizeof path - sizeof "/fusor.sock");
    } else if (there && (st.st_mode & 0077) != 0) {
        doctor_add(d, DOCTOR_WARN, name, "%s is open to others (mode %04o)", dir.p,
                   st.st_mode & 07777);
        doctor_fix(d, "chmod 700 %s", doctor_word(d, dir));
    } else {
        doctor_add(d, DOCTOR_OK, name, "%s%s", dir.p, there ? "" : ", which the first start makes");
    }
    check_space(d, have);
    check_file_system(d, have);
}

/* --- the running server ----------------------------------------------------------------------- */

/* One GET. False: *e says what came instead. */
static bool get(const struct cli_server *s, const char *path, struct buf *out, struct err *e)
{
    struct fetch f = {.url = span_of(s->url),
                      .path = span_of(path),
                      .whole_path = true,
                      .key = s->key,
                      .timeouts = {.total_us = PROBE_TIMEOUT_US},
                      .out = out};
    struct probe p;
    fetch_all(&f, 1);
    if (f.status == 200)
        return true;
    probe_read(&f, &p);
    return err_set(e, ERR_UNAVAILABLE, "%s", p.text);
}

int64_t doctor_number(json_val *v)
{
    int64_t n = 0;
    return json_i64(v, &n) ? n : 0;
}

static const char *uptime(int64_t s, char *out, size_t cap)
{
    if (s < 60)
        (void)snprintf(out, cap, "%lld s", (long long)s);
    else if (s < 3600)
        (void)snprintf(out, cap, "%lld min", (long long)s / 60);
    else if (s < 2 * DAY_S)
        (void)snprintf(out, cap, "%lld h", (long long)s / 3600);
    else
        (void)snprintf(out, cap, "%lld days", (long long)s / DAY_S);
    return out;
}

static void no_server(struct doctor *d)
{
    long pid = 0;
    if (!store_dir_is_held(d->config->state_dir.p, &pid)) {
        doctor_add(d, DOCTOR_OK, "server", "none runs with this state directory");
        return;
    }
    doctor_add(
        d, DOCTOR_WARN, "server",
        "process %ld holds the state directory and answers at no socket: a command that runs, "
        "or a server that starts or ends",
        pid);
    doctor_fix(d, "wait for its end, or end it: kill %ld", pid);
}

static void check_version(struct doctor *d)
{
    struct span version = json_str(json_get(d->state, "version"));
    if (span_eq(version, SPAN(FUSOR_VERSION)))
        return;
    doctor_add(d, DOCTOR_WARN, "server version", "%.*s runs, this program is %s", SPAN_ARG(version),
               FUSOR_VERSION);
    doctor_fix(d, "start it again: kill %lld, then fusor serve",
               (long long)doctor_number(json_get(d->state, "pid")));
}

static void check_store(struct doctor *d)
{
    struct span said = json_str(json_get(d->state, "store_message"));
    int64_t dropped = doctor_number(json_get(d->state, "archive_dropped"));
    if (!json_true(json_get(d->state, "ledger_ok"))) {
        doctor_add(d, DOCTOR_BAD, "ledger", "it cannot be written, so no call is made: %.*s",
                   SPAN_ARG(said));
        doctor_fix(d, "put that right, then start the server again: kill %lld, then fusor serve",
                   (long long)doctor_number(json_get(d->state, "pid")));
    }
    if (!json_true(json_get(d->state, "archive_ok")) || dropped > 0) {
        doctor_add(d, DOCTOR_WARN, "archive", "%lld rows of the request log were lost: %.*s",
                   (long long)dropped, SPAN_ARG(said));
        doctor_fix(d, "see that the disk of the state directory has room and is fast enough");
    }
}

/* The words of route/health.h. */
static void check_upstream(struct doctor *d, json_val *v)
{
    const char *name = doctor_name(d, "model", json_str(json_get(v, "model")));
    struct span state = json_str(json_get(v, "state"));
    long long wait = (long long)doctor_number(json_get(v, "wait_s"));
    long long failures = (long long)doctor_number(json_get(v, "failures"));
    if (span_eq(state, SPAN("resting"))) {
        doctor_add(d, DOCTOR_WARN, name, "its provider limits the rate; not asked for %lld s",
                   wait);
        doctor_fix(d, "give its alias a `fallback`, or a lower `max_concurrency` to the model");
    } else if (span_eq(state, SPAN("key_refused"))) {
        doctor_add(d, DOCTOR_WARN, name,
                   "its provider has refused the key, or wants to be paid; asked last for %lld s",
                   wait);
        doctor_fix(d, "correct `key` of the provider, or its account; then: fusor reload");
    } else {
        doctor_add(d, DOCTOR_WARN, name,
                   "%lld failures in a row; others are asked first, and it again in %lld s",
                   failures, wait);
        doctor_fix(d, "see below what its provider answers now");
    }
}

static void check_upstreams(struct doctor *d)
{
    struct span key;
    json_val *list = json_get(d->state, "health"), *v;
    size_t n = 0;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &v); n++)
        check_upstream(d, v);
    if (n == 0)
        doctor_add(d, DOCTOR_OK, "upstreams", "no model is passed over");
}

/* Where port 0 was asked for, the real one takes its place: the snapshot is ours alone. */
static void take_port(struct doctor *d)
{
    struct config_listen *l = &d->config->listen;
    if (l->port == 0 && span_eq(json_str(json_get(d->state, "address")), span_of(l->address)))
        l->port = (int)doctor_number(json_get(d->state, "port"));
}

static void check_in_force(struct doctor *d, const struct cli_server *s)
{
    struct err e = {0};
    struct buf theirs, ours;
    buf_init(&theirs, PROBE_BODY_BYTES);
    buf_init(&ours, LIMIT_CONFIG_BYTES * 2);
    bool known = get(s, "/admin/config", &theirs, &e) && config_show(d->config, &ours, &e);
    if (known && !span_eq(buf_span(&theirs), buf_span(&ours))) {
        doctor_add(d, DOCTOR_WARN, "server configuration",
                   "the server runs with another one than what is read here");
        doctor_fix(d, "fusor reload lets it read its file again; a changed environment, `listen`, "
                      "`state_dir`, `tls` or `log` needs a new start");
    }
    buf_done(&ours);
    buf_done(&theirs);
}

static bool read_state(struct doctor *d, const struct cli_server *s, struct err *e)
{
    struct buf b;
    buf_init(&b, MIB(4));
    bool ok = get(s, "/admin/state", &b, e) && json_parse(d->arena, buf_span(&b), &d->state, e);
    buf_done(&b);
    return ok;
}

static void local_server(struct doctor *d, const struct cli_server *s)
{
    struct err e = {0};
    char took[32];
    long pid = 0;
    if (!read_state(d, s, &e)) {
        (void)store_dir_is_held(d->config->state_dir.p, &pid);
        doctor_add(d, DOCTOR_BAD, "server", "it is there (process %ld), but: %s", pid, e.msg);
        doctor_fix(d, "start it again: kill %ld, then fusor serve", pid);
        return;
    }
    struct span file = json_str(json_get(d->state, "config"));
    doctor_add(d, DOCTOR_OK, "server", "runs as process %lld for %s, configuration %.*s",
               (long long)doctor_number(json_get(d->state, "pid")),
               uptime(doctor_number(json_get(d->state, "uptime_s")), took, sizeof took),
               SPAN_ARG(file));
    take_port(d);
    check_version(d);
    check_store(d);
    check_upstreams(d);
    check_in_force(d, s);
}

static void remote_server(struct doctor *d)
{
    struct cli_server s;
    struct err e = {0};
    struct buf b;
    json_val *models;
    buf_init(&b, PROBE_BODY_BYTES);
    bool there = cli_find_server(d->config, &s, &e);
    if (there && !d->offline)
        there = get(&s, "/v1/models", &b, &e) && json_parse(d->arena, buf_span(&b), &models, &e);
    if (there) {
        doctor_add(d, DOCTOR_OK, "$FUSOR_URL", "commands ask %s", s.url);
    } else {
        doctor_add(d, DOCTOR_BAD, "$FUSOR_URL", "commands ask %s, but: %s", getenv("FUSOR_URL"),
                   e.msg);
        doctor_fix(d, "correct $FUSOR_URL and $FUSOR_KEY, or ask the server of this machine: unset "
                      "FUSOR_URL");
    }
    cli_server_done(&s);
    buf_done(&b);
}

void doctor_server(struct doctor *d)
{
    const char *url = getenv("FUSOR_URL");
    struct cli_server s;
    if (url && *url)
        remote_server(d);
    if (cli_find_local(d->config, &s))
        local_server(d, &s);
    else
        no_server(d);
}
