/* attempt_rig.h - a provider whose other end is in the test's hand: a listening socket on loopback,
 * the request it got, and answers built from head fields and a body. One thread: the loop is turned
 * while a test waits. */
#ifndef FUSOR_TESTS_ATTEMPT_RIG_H
#define FUSOR_TESTS_ATTEMPT_RIG_H

#include "call_rig.h"
#include "http_util.h"

#include "upstream/upstream.h"

#define SECRET "sk-test-0123456789abcdef"

/* What it costs: 1,000 nano-USD per token in, 2,000 out. */
#define CONFIG                                                                                     \
    "providers:\n"                                                                                 \
    "  lab: {kind: openai, base_url: \"http://127.0.0.1:%d/v1\", key: \"env:FUSOR_TEST_KEY\","     \
    " price: {input: 1, output: 2}, timeouts: {connect: 2s, first_byte: 300ms, idle: 300ms,"       \
    " total: 20s}}\n"                                                                              \
    "  free: {kind: openai, base_url: \"http://127.0.0.1:%d/v1\", price: free}\n"                  \
    "  odd: {kind: openai, base_url: \"http://127.0.0.1:%d\", stream_options: omit,"               \
    " max_tokens_field: max_completion_tokens, cancel: bills_on}\n"                                \
    "  paid: {kind: openai, base_url: \"http://127.0.0.1:%d/v1\", cancel: bills_on,"               \
    " price: {input: 1, output: 2}}\n"                                                             \
    "  dead: {kind: openai, base_url: \"http://127.0.0.1:1/v1\", price: {input: 1, output: 2}}\n"  \
    "models:\n"                                                                                    \
    "  m: {provider: lab, id: lab-id}\n"                                                           \
    "  free: {provider: free}\n"                                                                   \
    "  odd: {provider: odd}\n"                                                                     \
    "  paid: {provider: paid}\n"                                                                   \
    "  dead: {provider: dead}\n"

struct net {
    struct loop *l;
    struct store *store;
    struct gate *gate;
    struct http_client *http;
    struct config *config;
    struct upstream_shared *shared;
    struct upstream *upstream;
    struct upstream_source source;
    int lfd, port;
    int fd;           /* of the last call, -1 none */
    unsigned accepts; /* connections so far */
    struct buf in;    /* what the other end has read of the last request */
    struct buf out;   /* an answer */
    struct question q;
    struct caller caller;
};

static inline void net_upstream(struct net *n)
{
    struct err e = {0};
    struct upstream_env env = {.loop = n->l, .http = n->http, .gate = n->gate};
    n->upstream = upstream_new(&env, n->shared, &e);
    assert_non_null(n->upstream);
}

static inline int net_open(void **state)
{
    struct err e = {0};
    struct buf b;
    struct net *n = mem_zalloc(sizeof *n);
    if (n == NULL)
        return -1;
    n->lfd = http_listen_tcp("127.0.0.1", 0, &n->port, &e);
    n->fd = -1;
    buf_init(&b, KIB(8));
    assert_int_equal(setenv("FUSOR_TEST_KEY", SECRET, 1), 0);
    assert_true(buf_addf(&b, &e, CONFIG, n->port, n->port, n->port, n->port));
    n->config = config_parse(buf_span(&b), "test", &e);
    if (n->config == NULL)
        fail_msg("%s", e.msg);
    buf_done(&b);
    n->l = loop_new(&e);
    n->store = store_open("", &e);
    n->gate = gate_new(n->l, n->store);
    n->http = http_client_new(n->l, 4, 10000000, &e);
    n->shared = upstream_shared_new(n->config, &e);
    assert_non_null(n->shared);
    net_upstream(n);
    buf_init(&n->in, MIB(64));
    buf_init(&n->out, MIB(64));
    caller_init(&n->caller);
    *state = n;
    return 0;
}

static inline void net_hang_up(struct net *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
}

/* Every yes has been settled, once, whatever happened. */
static inline void net_check_booked(struct net *n)
{
    struct gate_counts c = gate_counts_of(n->gate);
    assert_int_equal(c.yes, c.settled);
    assert_int_equal(c.lost, 0);
}

static inline int net_close(void **state)
{
    struct net *n = *state;
    upstream_free(n->upstream);
    net_check_booked(n);
    http_client_free(n->http);
    upstream_shared_free(n->shared);
    gate_free(n->gate);
    store_close(n->store);
    loop_free(n->l);
    config_free(n->config);
    buf_done(&n->in);
    buf_done(&n->out);
    caller_done(&n->caller);
    net_hang_up(n);
    close(n->lfd);
    mem_free(n);
    return 0;
}

/* --- a call
 * ------------------------------------------------------------------------------------------ */

/* Connections of calls that ended before they were taken on here. */
static inline void net_forget_backlog(struct net *n)
{
    int fd;
    while ((fd = accept4(n->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        close(fd);
}

static inline bool net_start_with(struct net *n, const char *model, const struct chat_start_opts *o)
{
    const struct config_model *m = config_model_find(n->config, span_of(model), NULL);
    assert_non_null(m);
    upstream_source_init(&n->source, n->upstream, m);
    net_forget_backlog(n);
    buf_clear(&n->in);
    return caller_start_with(&n->caller, &n->source.source, &n->q, o);
}

/* "Hi there": 8 bytes, 2 tokens as we reckon. */
static inline void net_start(struct net *n, const char *model)
{
    question_set(&n->q, "Hi there");
    if (!net_start_with(n, model, &(struct chat_start_opts){.request_id = SPAN("req_1")}))
        fail_msg("%s", n->caller.e.msg);
}

/* True when the whole request is in n->in. */
static inline bool net_request_whole(struct net *n)
{
    int64_t body;
    (void)raw_read(n->fd, &n->in);
    struct span all = buf_span(&n->in), name = SPAN("content-length: "), end = SPAN("\r\n\r\n");
    size_t head = span_index(all, end), at = span_index(all, name);
    struct span number = span_from(all, at + name.n);
    return head < all.n && span_to_i64(span_upto(number, span_find(number, "\r")), &body) &&
           all.n == head + end.n + (size_t)body;
}

/* The connection the call comes on, kept or new. */
static inline void net_accept(struct net *n)
{
    PUMP(n->l,
         n->fd >= 0 || (n->fd = accept4(n->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
    n->accepts++;
}

static inline void net_serve(struct net *n)
{
    net_hang_up(n);
    net_accept(n);
    PUMP(n->l, net_request_whole(n));
}

/* --- an answer
 * --------------------------------------------------------------------------------------- */

enum framing {
    BY_LENGTH,
    BY_CHUNKS,
    BY_CLOSE, /* ends where the connection does */
    CUT,      /* the length says more than comes */
    RESET,    /* the same, with a RST */
    STALL,    /* the same, but the connection stays open */
    RAW,      /* body is all there is; then the end of the connection */
};

static inline void net_answer(struct net *n, const char *head, const char *body, enum framing f)
{
    struct err e;
    size_t len = strlen(body);
    buf_clear(&n->out);
    bool ok = f == RAW || buf_addf(&n->out, &e, "HTTP/1.1 %s\r\n", head);
    if (f == BY_CHUNKS)
        ok = ok && buf_addf(&n->out, &e, "transfer-encoding: chunked\r\n");
    else if (f != RAW && f != BY_CLOSE)
        ok = ok && buf_addf(&n->out, &e, "content-length: %zu\r\n", f == BY_LENGTH ? len : len + 9);
    ok = ok && (f == RAW || buf_addf(&n->out, &e, "\r\n"));
    if (f == BY_CHUNKS && len > 0)
        ok = ok && buf_addf(&n->out, &e, "%zx\r\n%s\r\n0\r\n\r\n", len, body);
    else if (f == BY_CHUNKS)
        ok = ok && buf_addf(&n->out, &e, "0\r\n\r\n");
    else
        ok = ok && buf_add(&n->out, span_of(body), &e);
    assert_true(ok);
}

/* Sends the answer, `piece` bytes at a time with a turn of the loop between; the call may end
 * early. */
static inline void net_send(struct net *n, size_t piece)
{
    struct span rest = buf_span(&n->out);
    while (rest.n > 0) {
        struct span now = span_upto(rest, piece);
        ssize_t sent = send(n->fd, now.p, now.n, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* the call has closed */
        rest = span_from(rest, sent > 0 ? (size_t)sent : 0);
        loop_step(n->l);
    }
}

static inline void net_finish(struct net *n, enum framing f)
{
    if (f == RESET) {
        /* what was sent must have been read: a RST takes it back */
        pump_for(n->l, 3);
        raw_reset(n->fd);
        n->fd = -1;
    } else if (f == CUT || f == BY_CLOSE || f == RAW) {
        net_hang_up(n);
    }
}

/* The call has ended with one last event, and stays so. */
static inline void net_wait(struct net *n)
{
    PUMP(n->l, caller_over(&n->caller));
    for (int i = 0; i < 4; i++)
        loop_step(n->l);
    net_check_booked(n);
}

static inline void net_exchange(struct net *n, const char *model, const char *head,
                                const char *body, enum framing f, size_t piece)
{
    net_start(n, model);
    net_serve(n);
    net_answer(n, head, body, f);
    net_send(n, piece);
    net_finish(n, f);
    net_wait(n);
}

/* True when the other side has closed or reset. */
static inline bool net_is_closed(struct net *n)
{
    return raw_read(n->fd, &n->in);
}

/* --- bodies
 * ------------------------------------------------------------------------------------------- */

#define STREAM_HEAD "200 OK\r\ncontent-type: text/event-stream"
#define JSON_HEAD   "200 OK\r\ncontent-type: application/json"
#define CHUNK(choices, rest)                                                                       \
    "data: {\"id\":\"i\",\"model\":\"M\",\"choices\":[" choices "]" rest "}\n\n"
#define D(text)                                                                                    \
    CHUNK("{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}", "")
#define F(reason)      CHUNK("{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}", "")
#define USAGE(in, out) ",\"usage\":{\"prompt_tokens\":" in ",\"completion_tokens\":" out "}"
#define DONE           "data: [DONE]\n\n"
#define WHOLE          D("Hel") D("lo") F("stop") CHUNK("", USAGE("3", "2")) DONE
#define WHOLE_LOG      "start:i,M;text:Hello;usage:3/0/2/0$7000;finish:stop"
#define REPLY(text)                                                                                \
    "{\"id\":\"i\",\"model\":\"M\",\"choices\":[{\"index\":0,\"message\":{\"role\":"               \
    "\"assistant\",\"content\":\"" text "\"},\"finish_reason\":\"stop\"}]" USAGE("3", "2") "}"

#endif
