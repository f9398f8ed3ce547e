/* bench/mock_upstream.c - a server of OpenAI's and Anthropic's form with no model behind it: what
 * the model's id says (shape.h) is what it answers, at once or to the millisecond.
 *
 *   mock_upstream --port 9100      says "ready PORT" on stdout; port 0 takes a free one
 *
 * POST /v1/chat/completions, POST /v1/messages (streams only), GET /v1/models, GET /stats (what it
 * has counted). One thread, one epoll, answers made once: it must cost less than what is measured
 * beside it. It trusts its client in all but the framing, and speaks HTTP/1.1 with content-length
 * requests only. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "mock_answer.h"

#define REQUEST_MAX MIB(65)
#define EVENTS      256
#define READ_BYTES  KIB(64)
/* Buffers of requests larger than this do not stay with their connection. */
#define KEEP_BYTES KIB(16)

struct conn {
    int fd;
    bool want_out; /* EPOLLOUT is set: the socket was full */
    struct buf in;
    struct mock_answer *answer; /* the one under way, NULL between requests */
    bool own;                   /* it is freed with its end: made for this request alone */
    size_t sent;
    unsigned step;     /* steps that are due already */
    int64_t due_ns;    /* of the next step */
    size_t heap_index; /* in mock.heap, 0: not there */
};

struct mock {
    int epoll;
    int listener;
    struct map *answers; /* by "id\tform\tusage" */
    struct conn **heap;  /* heap[1..n_heap], by due_ns: whose step is due first */
    size_t n_heap, cap_heap;
    uint64_t requests, streams, left; /* left: connections closed under an answer */
};

/* --- steps in order of time ------------------------------------------------------------------- */

static void heap_put(struct mock *m, size_t i, struct conn *c)
{
    m->heap[i] = c;
    c->heap_index = i;
}

static void heap_settle(struct mock *m, size_t i, struct conn *c)
{
    for (; i > 1 && m->heap[i / 2]->due_ns > c->due_ns; i /= 2)
        heap_put(m, i, m->heap[i / 2]);
    for (size_t k; (k = 2 * i) <= m->n_heap; i = k) {
        if (k < m->n_heap && m->heap[k + 1]->due_ns < m->heap[k]->due_ns)
            k++;
        if (m->heap[k]->due_ns >= c->due_ns)
            break;
        heap_put(m, i, m->heap[k]);
    }
    heap_put(m, i, c);
}

static void heap_add(struct mock *m, struct conn *c)
{
    if (m->n_heap + 2 > m->cap_heap) {
        m->cap_heap = m->cap_heap > 0 ? 2 * m->cap_heap : 1024;
        m->heap = mem_realloc(m->heap, m->cap_heap * sizeof(struct conn *));
        bench_must(m->heap != NULL, "timers");
    }
    heap_settle(m, ++m->n_heap, c);
}

static void heap_remove(struct mock *m, struct conn *c)
{
    size_t i = c->heap_index;
    if (i == 0)
        return;
    c->heap_index = 0;
    struct conn *last = m->heap[m->n_heap--];
    if (last != c)
        heap_settle(m, i, last);
}

/* --- writing ---------------------------------------------------------------------------------- */

static void close_conn(struct mock *m, struct conn *c)
{
    m->left += c->answer != NULL;
    heap_remove(m, c);
    close(c->fd);
    if (c->own)
        mock_answer_free(c->answer);
    buf_done(&c->in);
    mem_free(c);
}

static void watch(struct mock *m, struct conn *c, bool out)
{
    if (out == c->want_out)
        return;
    struct epoll_event ev = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    bench_must(epoll_ctl(m->epoll, EPOLL_CTL_MOD, c->fd, &ev) == 0, "epoll_ctl");
    c->want_out = out;
}

static void end_answer(struct conn *c)
{
    if (c->own)
        mock_answer_free(c->answer);
    c->answer = NULL;
    c->own = false;
}

/* Sends what is due. False: the connection is gone. */
static bool flush(struct mock *m, struct conn *c)
{
    struct mock_answer *a = c->answer;
    size_t limit = c->step > 0 ? a->ends[c->step - 1] : 0;
    while (c->sent < limit) {
        ssize_t n = send(c->fd, buf_span(&a->bytes).p + c->sent, limit - c->sent, MSG_NOSIGNAL);
        if (n < 0 && bench_later()) {
            watch(m, c, true);
            return true;
        }
        if (n <= 0)
            return false;
        c->sent += (size_t)n;
    }
    watch(m, c, false);
    if (c->sent == a->bytes.n)
        end_answer(c);
    return true;
}

/* Counts the steps that are due by now and arranges for the next one. */
static bool advance(struct mock *m, struct conn *c, int64_t now_ns)
{
    const struct mock_answer *a = c->answer;
    int64_t pace_ns = (int64_t)a->shape.pace_ms * 1000000;
    heap_remove(m, c);
    while (c->step < a->n_steps && c->due_ns <= now_ns) {
        c->step++;
        c->due_ns = a->shape.hold ? INT64_MAX : c->due_ns + pace_ns;
    }
    if (c->step < a->n_steps)
        heap_add(m, c);
    return flush(m, c);
}

static bool begin(struct mock *m, struct conn *c, struct mock_answer *a, bool own)
{
    int64_t now_ns = a->shape.delay_ms > 0 || a->n_steps > 1 ? bench_now_ns() : 0;
    c->answer = a;
    c->own = own;
    c->sent = 0;
    c->step = 0;
    c->due_ns = now_ns + (int64_t)a->shape.delay_ms * 1000000;
    return advance(m, c, now_ns);
}

/* --- requests --------------------------------------------------------------------------------- */

static bool json_true(struct span body, struct span key)
{
    struct span rest = span_from(body, span_index(body, key) + key.n);
    return span_starts(span_trim(span_upto(rest, 16)), SPAN("true"));
}

static struct span model_of(struct span body)
{
    struct span key = SPAN("\"model\":");
    struct span rest = span_from(body, span_index(body, key) + key.n);
    rest = span_from(rest, span_find(rest, "\"") + 1);
    return span_upto(rest, span_find(rest, "\""));
}

static bool refuse(struct mock *m, struct conn *c, int status, const char *why)
{
    struct buf body;
    buf_init(&body, KIB(1));
    bench_must(buf_addf(&body, NULL,
                        "{\"error\":{\"message\":\"%s\",\"type\":\"invalid_request_error\","
                        "\"param\":null,\"code\":null}}",
                        why),
               "an error");
    struct mock_answer *a = mock_answer_json(status, buf_span(&body));
    buf_done(&body);
    return begin(m, c, a, true);
}

static bool answer(struct mock *m, struct conn *c, struct span body, bool messages)
{
    struct span id = model_of(body);
    bool stream = json_true(body, SPAN("\"stream\":"));
    bool usage = stream && json_true(body, SPAN("\"include_usage\":"));
    struct shape s;
    char key[128];
    int n = snprintf(key, sizeof key, "%.*s\t%d\t%d", SPAN_ARG(span_upto(id, 100)),
                     stream + 2 * messages, usage);
    m->requests++;
    m->streams += stream;
    struct mock_answer *a = map_get(m->answers, span_make(key, (size_t)n));
    if (a)
        return begin(m, c, a, false);
    if (id.n == 0 || id.n > 100 || !shape_parse(id, &s))
        return refuse(m, c, 404, "no such model: see bench/shape.h for the names of models");
    if (!stream && (messages || s.args > 0))
        return refuse(m, c, 400, "this is streamed only");
    a = messages ? mock_answer_messages(id, &s, body)
                 : mock_answer_new(id, &s, stream, usage, body);
    if (s.verdict)
        return begin(m, c, a, true);
    char *kept = mem_dup(key, (size_t)n);
    bench_must(kept && map_put(m->answers, span_make(kept, (size_t)n), a), "an answer");
    return begin(m, c, a, false);
}

static bool stats(struct mock *m, struct conn *c)
{
    char text[160];
    int n = snprintf(text, sizeof text, "{\"requests\":%llu,\"streams\":%llu,\"left\":%llu}",
                     (unsigned long long)m->requests, (unsigned long long)m->streams,
                     (unsigned long long)m->left);
    return begin(m, c, mock_answer_json(200, span_make(text, (size_t)n)), true);
}

static bool dispatch(struct mock *m, struct conn *c, struct span head, struct span body)
{
    if (span_starts(head, SPAN("POST /v1/chat/completions ")))
        return answer(m, c, body, false);
    if (span_starts(head, SPAN("POST /v1/messages ")))
        return answer(m, c, body, true);
    if (span_starts(head, SPAN("GET /v1/models ")))
        return begin(m, c,
                     mock_answer_json(200, SPAN("{\"object\":\"list\",\"data\":[{\"id\":\"n32\","
                                                "\"object\":\"model\",\"created\":1764000000,"
                                                "\"owned_by\":\"bench\"}]}")),
                     true);
    if (span_starts(head, SPAN("GET /stats ")))
        return stats(m, c);
    return refuse(m, c, 404, "no such route");
}

/* -1: a head that this server does not take. */
static int64_t content_length(struct span head)
{
    struct span line, name;
    int64_t n = 0;
    while (span_cut(&head, '\n', &line)) {
        if (line.n == 0 ||
            !(line.p[0] == 'c' || line.p[0] == 'C' || line.p[0] == 't' || line.p[0] == 'T'))
            continue;
        if (!span_cut(&line, ':', &name))
            continue;
        if (span_eq_nocase(name, SPAN("transfer-encoding")))
            return -1;
        if (span_eq_nocase(name, SPAN("content-length")) &&
            (!span_to_i64(span_trim(line), &n) || n < 0))
            return -1;
    }
    return n;
}

/* Takes whole requests off the buffer, one at a time: the next waits for the end of the answer. */
static bool serve(struct mock *m, struct conn *c)
{
    while (!c->answer && c->in.n > 0) {
        struct span in = buf_span(&c->in);
        size_t end = span_index(in, SPAN("\r\n\r\n"));
        if (end == in.n)
            return true;
        struct span head = span_upto(in, end);
        int64_t length = content_length(head);
        if (length < 0)
            return false;
        if (in.n - end - 4 < (size_t)length)
            return true;
        struct span body = span_upto(span_from(in, end + 4), (size_t)length);
        bool ok = dispatch(m, c, head, body);
        buf_eat(&c->in, end + 4 + (size_t)length);
        if (!ok)
            return false;
    }
    if (c->in.n == 0 && c->in.cap > KEEP_BYTES) {
        buf_done(&c->in);
        buf_init(&c->in, REQUEST_MAX);
    }
    return true;
}

/* --- the loop --------------------------------------------------------------------------------- */

static bool on_readable(struct mock *m, struct conn *c)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);
    if (n < 0 && bench_later())
        return true;
    if (n <= 0 || !buf_add(&c->in, span_make(bytes, (size_t)n), NULL))
        return false;
    return serve(m, c);
}

static void on_conn(struct mock *m, struct conn *c, uint32_t events)
{
    bool ok = true;
    if ((events & EPOLLOUT) && c->answer)
        ok = flush(m, c) && serve(m, c);
    if (ok && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        ok = on_readable(m, c);
    if (!ok)
        close_conn(m, c);
}

static void on_accept(struct mock *m)
{
    for (int fd, one = 1;
         (fd = accept4(m->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        struct conn *c = mem_zalloc(sizeof *c);
        bench_must(c != NULL, "a connection");
        c->fd = fd;
        buf_init(&c->in, REQUEST_MAX);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        bench_must(epoll_ctl(m->epoll, EPOLL_CTL_ADD, fd, &ev) == 0, "epoll_ctl");
    }
    if (!bench_later() && errno != ECONNABORTED)
        bench_must(false, "accept");
}

static void on_due(struct mock *m)
{
    if (m->n_heap == 0)
        return;
    int64_t now_ns = bench_now_ns();
    while (m->n_heap > 0 && m->heap[1]->due_ns <= now_ns) {
        struct conn *c = m->heap[1];
        if (!advance(m, c, now_ns) || !serve(m, c))
            close_conn(m, c);
    }
}

static int wait_events(struct mock *m, struct epoll_event *evs)
{
    struct timespec t, *until = NULL;
    if (m->n_heap > 0 && m->heap[1]->due_ns < INT64_MAX) {
        int64_t ns = m->heap[1]->due_ns - bench_now_ns();
        ns = ns > 0 ? ns : 0;
        t = (struct timespec){ns / 1000000000, ns % 1000000000};
        until = &t;
    }
    int n = epoll_pwait2(m->epoll, evs, EVENTS, until, NULL);
    bench_must(n >= 0 || errno == EINTR, "epoll_pwait2");
    return n;
}

static void run(struct mock *m)
{
    struct epoll_event evs[EVENTS];
    for (;;) {
        int n = wait_events(m, evs);
        for (int i = 0; i < n; i++) {
            if (evs[i].data.ptr)
                on_conn(m, evs[i].data.ptr, evs[i].events);
            else
                on_accept(m);
        }
        on_due(m);
    }
}

static void listen_at(struct mock *m, int64_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int one = 1;
    m->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bench_must(m->listener >= 0, "socket");
    setsockopt(m->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bench_must(bind(m->listener, (struct sockaddr *)&at, n) == 0, "bind");
    bench_must(listen(m->listener, 4096) == 0, "listen");
    bench_must(getsockname(m->listener, (struct sockaddr *)&at, &n) == 0, "getsockname");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    bench_must(epoll_ctl(m->epoll, EPOLL_CTL_ADD, m->listener, &ev) == 0, "epoll_ctl");
    printf("ready %d\n", ntohs(at.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"port", required_argument, NULL, 'p'}, {0}};
    struct mock m = {.epoll = epoll_create1(EPOLL_CLOEXEC), .answers = map_new()};
    int64_t port = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (c != 'p')
            bench_die("usage: mock_upstream [--port N]");
        port = bench_number("port", optarg);
    }
    bench_must(m.epoll >= 0 && m.answers, "start");
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1UL); /* or every step comes 50 us late */
    listen_at(&m, port);
    run(&m);
    return 0;
}
