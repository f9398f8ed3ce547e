/* bench/load.c - a closed loop of clients that count an answer only when every byte of it was
 * right.
 *
 *   load --port 8420 --model n32 --conns 64 --ms 2000 --stream
 *
 * One JSON object on stdout: answers, failures, times, the longest gap inside a stream. Exit 1 when
 * an answer failed. With --hold, each connection's first piece is waited for; "held N" says so, and
 * the streams stay open until stdin ends. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "load_answer.h"
#include "load_request.h"

#define EVENTS     256
#define READ_BYTES KIB(256)
/* Connects under way at once: more would overflow a listener's queue, and the kernel's retry after
 * a second would be taken for the gateway's slowness. */
#define CONNECTS 128
#define FAULTS   20 /* then there is no point in going on */

struct options {
    struct load_request request;
    int64_t port, conns, seconds_ms, requests, timeout_s;
    const char *path, *expect, *key;
    bool hold;
};

struct samples {
    uint32_t *v; /* microseconds */
    size_t n, cap;
};

enum conn_state { CONN_NONE, CONN_CONNECTING, CONN_SENDING, CONN_READING, CONN_HELD, CONN_OVER };

struct conn {
    int fd;
    enum conn_state state;
    size_t sent;
    int64_t start_ns;
    struct answer answer;
};

struct load {
    struct options o;
    int epoll;
    struct buf request, want;
    struct conn *conns;
    size_t connecting, next, live, held;
    int64_t started, answers, failed, frames; /* started: requests */
    int64_t begin_ns, stop_ns, end_ns, progress_ns;
    struct samples total, first, gap;
    char why[200];
};

/* --- sums ------------------------------------------------------------------------------------- */

static void sample(struct samples *s, int64_t ns)
{
    if (s->n == s->cap) {
        s->cap = s->cap > 0 ? 2 * s->cap : 4096;
        s->v = mem_realloc(s->v, s->cap * sizeof *s->v);
        bench_must(s->v != NULL, "samples");
    }
    s->v[s->n++] = (uint32_t)(ns / 1000);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static unsigned at(const struct samples *s, unsigned percent)
{
    return s->n == 0 ? 0 : s->v[(s->n - 1) * percent / 100];
}

static void print_samples(const char *name, struct samples *s)
{
    if (s->n > 0)
        qsort(s->v, s->n, sizeof *s->v, by_value);
    printf(",\"%s_us\":{\"p50\":%u,\"p90\":%u,\"p99\":%u,\"max\":%u}", name, at(s, 50), at(s, 90),
           at(s, 99), at(s, 100));
}

static void print_result(struct load *l)
{
    double seconds = (double)(l->end_ns - l->begin_ns) / 1e9;
    printf("{\"answers\":%lld,\"failed\":%lld,\"seconds\":%.6f,\"per_second\":%.1f,"
           "\"frames\":%lld",
           (long long)l->answers, (long long)l->failed, seconds,
           seconds > 0 ? (double)l->answers / seconds : 0, (long long)l->frames);
    print_samples("total", &l->total);
    print_samples("first", &l->first);
    print_samples("gap", &l->gap);
    for (char *p = l->why; *p; p++) /* one JSON string */
        if (*p == '"' || *p == '\\' || (unsigned char)*p < ' ')
            *p = '\'';
    printf(",\"why\":\"%s\"}\n", l->why);
    fflush(stdout);
}

/* --- the request ------------------------------------------------------------------------------ */

static void make_request(struct load *l)
{
    const struct options *o = &l->o;
    struct buf body;
    buf_init(&body, MIB(64));
    buf_init(&l->request, MIB(65));
    load_request_body(&o->request, &body);
    bool ok =
        buf_addf(&l->request, NULL,
                 "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%lld\r\ncontent-type: application/json\r\n"
                 "accept: */*\r\nuser-agent: fusor-bench\r\ncontent-length: %zu\r\n",
                 o->path, (long long)o->port, body.n);
    if (o->key)
        ok = ok && buf_addf(&l->request, NULL, "authorization: Bearer %s\r\n", o->key);
    ok = ok && buf_add(&l->request, SPAN("\r\n"), NULL) &&
         buf_add(&l->request, buf_span(&body), NULL);
    bench_must(ok, "a request");
    buf_done(&body);
}

static void make_want(struct load *l)
{
    struct shape s;
    if (!shape_parse(span_of(l->o.expect), &s))
        bench_die("--expect %s is no shape (bench/shape.h)", l->o.expect);
    buf_init(&l->want, MIB(64));
    for (unsigned i = 0; i < shape_count(&s); i++)
        shape_piece(&s, i, &l->want);
    for (unsigned i = 0; i < s.args; i++)
        shape_args_piece(&s, i, &l->want);
}

/* --- connections ------------------------------------------------------------------------------ */

static void watch(struct load *l, struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    bench_must(epoll_ctl(l->epoll, op, c->fd, &ev) == 0, "epoll_ctl");
}

static void leave(struct load *l, struct conn *c, enum conn_state next)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    l->connecting -= c->state == CONN_CONNECTING;
    l->live -= c->state != CONN_NONE && c->state != CONN_OVER;
    c->state = next;
}

static bool may_start(const struct load *l, int64_t now_ns)
{
    if (l->failed >= FAULTS)
        return false;
    return l->o.requests > 0 ? l->started < l->o.requests : now_ns < l->stop_ns;
}

static void fail(struct load *l, struct conn *c, const char *why)
{
    if (l->failed++ == 0)
        snprintf(l->why, sizeof l->why, "%s", why);
    l->end_ns = bench_now_ns();
    leave(l, c, CONN_NONE);
}

static void send_request(struct load *l, struct conn *c)
{
    struct span all = buf_span(&l->request);
    while (c->sent < all.n) {
        ssize_t n = send(c->fd, all.p + c->sent, all.n - c->sent, MSG_NOSIGNAL);
        if (n < 0 && bench_later()) {
            if (c->state != CONN_SENDING)
                watch(l, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            c->state = CONN_SENDING;
            return;
        }
        if (n <= 0) {
            fail(l, c, "the request could not be sent");
            return;
        }
        c->sent += (size_t)n;
    }
    if (c->state == CONN_SENDING)
        watch(l, c, EPOLL_CTL_MOD, EPOLLIN);
    c->state = CONN_READING;
}

static void start(struct load *l, struct conn *c)
{
    answer_clear(&c->answer);
    c->sent = 0;
    c->start_ns = bench_now_ns();
    l->started++;
    send_request(l, c);
}

static void connect_one(struct load *l, struct conn *c)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)l->o.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bench_must(c->fd >= 0, "socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    bench_must(connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS,
               "connect");
    watch(l, c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    c->state = CONN_CONNECTING;
    l->connecting++;
    l->live++;
}

/* Opens connections as long as there is something for them to do. */
static void refill(struct load *l)
{
    int64_t now_ns = bench_now_ns();
    size_t n = (size_t)l->o.conns;
    for (size_t i = 0; i < n && l->live < n && l->connecting < CONNECTS; i++) {
        struct conn *c = &l->conns[(l->next + i) % n];
        bool waits = l->o.requests > 0 && l->started + (int64_t)l->connecting >= l->o.requests;
        if (waits || !may_start(l, now_ns))
            return;
        if (c->state == CONN_NONE)
            connect_one(l, c);
    }
    l->next = n > 0 ? l->next % n : 0;
}

/* --- events ----------------------------------------------------------------------------------- */

static void on_connected(struct load *l, struct conn *c)
{
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error) {
        fail(l, c, strerror(error));
        return;
    }
    l->connecting--;
    c->state = CONN_SENDING; /* EPOLLOUT is on: send_request() turns it off */
    start(l, c);
}

static void on_whole(struct load *l, struct conn *c, int64_t now_ns)
{
    const struct answer *a = &c->answer;
    l->answers++;
    l->frames += a->frames;
    l->end_ns = now_ns;
    sample(&l->total, now_ns - c->start_ns);
    if (a->first_ns > 0 && a->stream) {
        sample(&l->first, a->first_ns - c->start_ns);
        sample(&l->gap, a->gap_ns);
    }
    if (!may_start(l, now_ns))
        leave(l, c, CONN_OVER);
    else if (a->close)
        leave(l, c, CONN_NONE);
    else
        start(l, c);
}

static void on_bytes(struct load *l, struct conn *c, struct span bytes)
{
    int64_t now_ns = bench_now_ns();
    l->progress_ns = now_ns;
    switch (answer_feed(&c->answer, bytes, now_ns)) {
    case ANSWER_WRONG:
        fail(l, c, c->answer.why);
        return;
    case ANSWER_WHOLE:
        on_whole(l, c, now_ns);
        return;
    case ANSWER_MORE:
        if (l->o.hold && c->answer.frames > 0 && c->state == CONN_READING) {
            c->state = CONN_HELD;
            l->held++;
        }
        return;
    }
}

static void on_readable(struct load *l, struct conn *c)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && bench_later())
        return;
    if (n > 0)
        on_bytes(l, c, span_make(bytes, (size_t)n));
    else
        fail(l, c, n < 0 ? strerror(errno) : "the connection ended under an answer");
}

static void on_event(struct load *l, struct conn *c, uint32_t events)
{
    if (c->state == CONN_CONNECTING) {
        on_connected(l, c);
        return;
    }
    if ((events & EPOLLOUT) && c->state == CONN_SENDING)
        send_request(l, c);
    if (c->fd >= 0 && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        on_readable(l, c);
}

/* What is under way when nothing has come for too long has failed. */
static void check_stall(struct load *l)
{
    if (bench_now_ns() - l->progress_ns < l->o.timeout_s * 1000000000)
        return;
    for (int64_t i = 0; i < l->o.conns; i++)
        if (l->conns[i].state != CONN_NONE && l->conns[i].state != CONN_OVER)
            fail(l, &l->conns[i], "no byte came for too long");
    l->failed = l->failed > FAULTS ? l->failed : FAULTS;
}

static bool all_held(const struct load *l)
{
    return l->o.hold && l->held == (size_t)l->o.conns;
}

static void run(struct load *l)
{
    struct epoll_event evs[EVENTS];
    l->begin_ns = l->end_ns = l->progress_ns = bench_now_ns();
    l->stop_ns = l->begin_ns + l->o.seconds_ms * 1000000;
    refill(l);
    while (l->live > 0 && !all_held(l)) {
        int n = epoll_wait(l->epoll, evs, EVENTS, 1000);
        bench_must(n >= 0 || errno == EINTR, "epoll_wait");
        for (int i = 0; i < n; i++)
            on_event(l, evs[i].data.ptr, evs[i].events);
        if (n <= 0)
            check_stall(l);
        if (l->live < (size_t)l->o.conns)
            refill(l);
    }
}

static void hold(void)
{
    char byte;
    while (read(0, &byte, 1) > 0)
        ;
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct option long_options[] = {
    {"port", required_argument, NULL, 'p'},     {"path", required_argument, NULL, 'u'},
    {"model", required_argument, NULL, 'm'},    {"expect", required_argument, NULL, 'e'},
    {"conns", required_argument, NULL, 'c'},    {"ms", required_argument, NULL, 't'},
    {"requests", required_argument, NULL, 'n'}, {"body", required_argument, NULL, 'b'},
    {"messages", required_argument, NULL, 'M'}, {"tools", required_argument, NULL, 'L'},
    {"dialect", required_argument, NULL, 'd'},  {"key", required_argument, NULL, 'k'},
    {"timeout", required_argument, NULL, 'T'},  {"stream", no_argument, NULL, 's'},
    {"hold", no_argument, NULL, 'h'},           {0},
};

static void set_option(struct options *o, int c, const char *name)
{
    switch (c) {
    case 'p':
        o->port = bench_number(name, optarg);
        break;
    case 'u':
        o->path = optarg;
        break;
    case 'm':
        o->request.model = optarg;
        break;
    case 'e':
        o->expect = optarg;
        break;
    case 'c':
        o->conns = bench_number(name, optarg);
        break;
    case 't':
        o->seconds_ms = bench_number(name, optarg);
        break;
    case 'n':
        o->requests = bench_number(name, optarg);
        break;
    case 'b':
        o->request.body_bytes = (size_t)bench_number(name, optarg);
        break;
    case 'M':
        o->request.messages = (unsigned)bench_number(name, optarg);
        break;
    case 'L':
        o->request.tools = (unsigned)bench_number(name, optarg);
        break;
    case 'd':
        if (!load_dialect(span_of(optarg), &o->request.dialect))
            bench_die("--dialect: chat, messages or responses");
        break;
    case 'k':
        o->key = optarg;
        break;
    case 'T':
        o->timeout_s = bench_number(name, optarg);
        break;
    case 's':
        o->request.stream = true;
        break;
    case 'h':
        o->request.stream = o->hold = true;
        break;
    default:
        bench_die("usage: load --port N --model ID [--expect SHAPE] [--conns N] [--ms N | "
                  "--requests N]\n       [--dialect chat|messages|responses] [--stream] [--hold] "
                  "[--body BYTES]\n       [--messages N] [--tools N] [--path PATH] [--key KEY] "
                  "[--timeout SECONDS]");
    }
}

static struct options read_options(int argc, char **argv)
{
    struct options o = {.conns = 1,
                        .seconds_ms = 1000,
                        .request = {.body_bytes = 1800, .messages = 4},
                        .timeout_s = 20};
    int at_option = 0;
    for (int c; (c = getopt_long(argc, argv, "", long_options, &at_option)) != -1;)
        set_option(&o, c, c == '?' ? "" : long_options[at_option].name);
    if (o.port == 0 || !o.request.model || o.conns == 0)
        set_option(&o, '?', "");
    if (!o.expect)
        o.expect = o.request.model;
    if (!o.path)
        o.path = load_path(o.request.dialect);
    if (o.hold)
        o.requests = o.conns;
    return o;
}

static void load_done(struct load *l)
{
    for (int64_t i = 0; i < l->o.conns; i++) {
        leave(l, &l->conns[i], CONN_OVER);
        answer_done(&l->conns[i].answer);
    }
    mem_free(l->conns);
    mem_free(l->total.v);
    mem_free(l->first.v);
    mem_free(l->gap.v);
    buf_done(&l->request);
    buf_done(&l->want);
    close(l->epoll);
}

int main(int argc, char **argv)
{
    struct load l = {.o = read_options(argc, argv), .epoll = epoll_create1(EPOLL_CLOEXEC)};
    size_t n = (size_t)l.o.conns;
    signal(SIGPIPE, SIG_IGN);
    bench_must(l.epoll >= 0, "epoll");
    make_request(&l);
    make_want(&l);
    l.conns = mem_zalloc(n * sizeof *l.conns);
    bench_must(l.conns != NULL, "connections");
    for (size_t i = 0; i < n; i++) {
        l.conns[i].fd = -1;
        answer_init(&l.conns[i].answer, buf_span(&l.want), l.o.request.dialect, l.o.request.stream);
    }
    run(&l);
    if (all_held(&l)) {
        printf("held %zu\n", l.held);
        fflush(stdout);
        hold();
        l.end_ns = bench_now_ns();
    }
    print_result(&l);
    load_done(&l);
    return l.failed > 0;
}
