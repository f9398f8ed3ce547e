/* cli/doctor_host.c - what a server needs of its machine: an address, a certificate, files, time.
 * See cli/doctor.h. */
#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "http/server.h"
#include "http/tls.h"

/* Who renews by itself does so weeks before the end. */
#define CERT_SOON_S (14 * 86400)
/* What Linux gives a shell; a server of many streams needs more, and less is somebody's setting. */
#define FILES_WARN 1024
/* Clocks without a battery begin at 1970 or at the day of their firmware. */
#define CLOCK_FIRST_YEAR 2024

/* --- listen, TLS ------------------------------------------------------------------------------ */

static void check_address(struct doctor *d)
{
    const struct config_listen *l = &d->config->listen;
    struct err e = {0};
    if (d->state && doctor_number(json_get(d->state, "port")) == l->port &&
        span_eq(json_str(json_get(d->state, "address")), span_of(l->address))) {
        doctor_add(d, DOCTOR_OK, "listen", "%s port %d, held by the running server", l->address,
                   l->port);
        return;
    }
    int fd = http_listen_tcp(l->address, l->port, NULL, &e);
    if (fd >= 0) {
        (void)close(fd);
        doctor_add(d, DOCTOR_OK, "listen", "%s port %d is free", l->address, l->port);
        return;
    }
    doctor_add(d, DOCTOR_BAD, "listen", "%s", e.msg);
    doctor_fix(d, "end what holds it, or let `listen` name an address of this machine (ip address) "
                  "with a free port");
}

static const char *date(int64_t s, char *out, size_t cap)
{
    time_t t = (time_t)s;
    struct tm tm;
    if (!gmtime_r(&t, &tm) || strftime(out, cap, "%Y-%m-%d %H:%M UTC", &tm) == 0)
        (void)snprintf(out, cap, "%lld", (long long)s);
    return out;
}

static void check_validity(struct doctor *d, const struct tls *t)
{
    static const char name[] = "tls";
    int64_t from = 0, until = 0, now = clock_wall_ms() / 1000;
    char day[40];
    struct span cert = d->config->tls_cert;
    if (!tls_validity(t, &from, &until)) {
        doctor_add(d, DOCTOR_BAD, name, "%.*s: its dates cannot be read", SPAN_ARG(cert));
    } else if (now < from) {
        doctor_add(d, DOCTOR_BAD, name, "%.*s holds only from %s on", SPAN_ARG(cert),
                   date(from, day, sizeof day));
    } else if (now > until) {
        doctor_add(d, DOCTOR_BAD, name, "%.*s has expired on %s", SPAN_ARG(cert),
                   date(until, day, sizeof day));
    } else {
        doctor_add(d, until - now < CERT_SOON_S ? DOCTOR_WARN : DOCTOR_OK, name,
                   "%.*s holds until %s", SPAN_ARG(cert), date(until, day, sizeof day));
        if (until - now >= CERT_SOON_S)
            return;
    }
    doctor_fix(d, "get a new one (such as: certbot renew), then: fusor reload");
}

static void check_tls(struct doctor *d)
{
    struct span cert = d->config->tls_cert, key = d->config->tls_key;
    struct err e = {0};
    if (cert.n == 0)
        return;
    AUTO(tls) t = tls_server_new(cert.p, key.p, &e);
    if (t) {
        check_validity(d, t);
        return;
    }
    doctor_add(d, DOCTOR_BAD, "tls", "%s", e.msg);
    doctor_fix(d, "these two must print the same: openssl x509 -noout -pubkey -in %s",
               doctor_word(d, cert));
    doctor_fix(d, "and: openssl pkey -pubout -in %s", doctor_word(d, key));
}

void doctor_listen(struct doctor *d)
{
    check_address(d);
    check_tls(d);
    if (!d->config->insecure)
        return;
    doctor_add(d, DOCTOR_WARN, "insecure",
               "keys and prompts may travel in the clear, and anybody who reaches the port may "
               "spend");
    doctor_fix(d, "take `insecure: true` out; fusor config check then says what is missing");
}

/* --- files ------------------------------------------------------------------------------------ */

/* True when nobody has any of the forbidden rights. */
static bool check_mode(struct doctor *d, struct span path, mode_t forbidden, const char *risk,
                       const char *mode)
{
    struct stat st;
    struct span file = arena_dup(d->arena, path);
    if (!file.p || stat(file.p, &st) != 0 || (st.st_mode & forbidden) == 0)
        return true;
    doctor_add(d, DOCTOR_WARN, "files", "%s %s (mode %04o)", file.p, risk, st.st_mode & 07777);
    doctor_fix(d, "chmod %s %s", mode, doctor_word(d, path));
    return false;
}

/* A group may read a key: that is how services share one. */
static bool check_key(struct doctor *d, struct span path)
{
    return check_mode(d, path, S_IRWXO | S_IWGRP, "holds a key and is open to others", "600");
}

static bool check_key_ref(struct doctor *d, struct span ref, size_t *n)
{
    static const struct span scheme = SPAN_INIT("file:");
    if (!span_starts(ref, scheme))
        return true;
    (*n)++;
    return check_key(d, span_from(ref, scheme.n));
}

static void check_log(struct doctor *d)
{
    struct span path = d->config->log_file;
    if (path.n == 0)
        return;
    size_t slash = span_rindex(path, SPAN("/"));
    struct span dir = slash == path.n ? SPAN(".") : span_upto(path, slash > 0 ? slash : 1);
    struct span folder = arena_dup(d->arena, dir);
    bool ok = access(path.p, F_OK) == 0 ? access(path.p, W_OK) == 0
                                        : folder.p && access(folder.p, W_OK | X_OK) == 0;
    if (ok) {
        doctor_add(d, DOCTOR_OK, "log", "%s", path.p);
        return;
    }
    doctor_add(d, DOCTOR_BAD, "log", "%s cannot be written: %s", path.p, strerror(errno));
    doctor_fix(d, "mkdir -p %s, or name another file in `log`", doctor_word(d, dir));
}

void doctor_files(struct doctor *d)
{
    const struct config *c = d->config;
    size_t n = 0;
    bool ok = check_mode(d, c->source, S_IWOTH, "may be changed by others", "o-w");
    for (size_t i = 0; i < c->n_providers; i++) {
        ok &= check_key_ref(d, c->providers[i].key_ref, &n);
        ok &= check_key_ref(d, c->providers[i].proxy_auth_ref, &n);
    }
    ok &= check_key_ref(d, c->api_key_ref, &n);
    if (c->tls_key.n > 0) {
        n++;
        ok &= check_key(d, c->tls_key);
    }
    if (ok && n > 0)
        doctor_add(d, DOCTOR_OK, "files", "%zu file%s with a key, closed to others", n,
                   n == 1 ? "" : "s");
    check_log(d);
}

/* --- the machine ------------------------------------------------------------------------------ */

static void check_clock(struct doctor *d)
{
    char day[40];
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm;
    bool right = gmtime_r(&now, &tm) && tm.tm_year + 1900 >= CLOCK_FIRST_YEAR;
    doctor_add(d, right ? DOCTOR_OK : DOCTOR_BAD, "clock", "%s%s", date(now, day, sizeof day),
               right ? "" : ": with a wrong time no certificate is accepted");
    if (!right)
        doctor_fix(d, "timedatectl set-ntp true");
}

static void check_open_files(struct doctor *d)
{
    struct rlimit r;
    pid_t pid =
        (pid_t)doctor_number(json_get(d->state, "pid")); /* 0: this process, as a new one would */
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return;
    bool low = r.rlim_cur < FILES_WARN;
    doctor_add(d, low ? DOCTOR_WARN : DOCTOR_OK, "open files",
               "at most %llu: a connection takes one, and each call of a fusion another",
               (unsigned long long)r.rlim_cur);
    if (low)
        doctor_fix(d, "ulimit -n 65536 before fusor serve; for a service of systemd: "
                      "LimitNOFILE=65536");
}

void doctor_machine(struct doctor *d)
{
    check_clock(d);
    check_open_files(d);
}
