/* test_attempt_life.c - a provider's call in the hands of its caller: cancelled in every state,
 * paused for as long as one likes, connections used again, answers that are too large, a worker
 * that ends, and memory that runs out. What answers become: test_attempt.c. */
#include "attempt_rig.h"

/* --- cancel
 * ------------------------------------------------------------------------------------------ */

enum stage {
    ASKED,       /* started, the loop has not turned */
    BOOKED,      /* a few turns later, perhaps connecting */
    SENT,        /* the other end has the request */
    HEAD,        /* a good head has come */
    CONTENT,     /* and content */
    TOLD,        /* and usage */
    COLLECTS,    /* half a JSON body has come */
    TURNED_AWAY, /* half the body of a 429 */
    FAILING,     /* half the body of a 500 */
    STAGES
};

static const struct {
    const char *name, *head, *body;
    unsigned events;
} stages[STAGES] = {
    [ASKED] = {.name = "asked"},
    [BOOKED] = {.name = "booked"},
    [SENT] = {.name = "sent"},
    [HEAD] = {"head", STREAM_HEAD, ": wait\n\n", 0},
    [CONTENT] = {"content", STREAM_HEAD, D("Hel") D("lo"), 3},
    [TOLD] = {"told", STREAM_HEAD, CHUNK("{\"delta\":{\"content\":\"Hel\"}}", USAGE("5", "3")), 3},
    [COLLECTS] = {"collects", JSON_HEAD, "{\"choices\":", 0},
    [TURNED_AWAY] = {"turned away", "429 Later", "{\"error\":", 0},
    [FAILING] = {"failing", "500 Oops", "{\"error\":", 0},
};

static void reach(struct net *n, const char *model, enum stage s)
{
    net_hang_up(n);
    net_start(n, model);
    if (s == BOOKED)
        for (int i = 0; i < 3; i++)
            loop_step(n->l);
    if (s <= BOOKED)
        return;
    net_serve(n);
    if (s == SENT)
        return;
    net_answer(n, stages[s].head, stages[s].body, STALL);
    net_send(n, 4096);
    pump_for(n->l, 10);
    assert_int_equal(n->caller.events, stages[s].events);
}

static void test_cancel(void **state)
{
    struct net *n = *state;
    for (int s = 0; s < STAGES; s++) {
        uint64_t yes = gate_counts_of(n->gate).yes;
        reach(n, "m", s);
        caller_cancel(&n->caller);
        const struct chat_usage *u = &n->caller.usage;
        /* The other end knows at once: no turn of the loop in between. */
        if (s >= SENT && !net_is_closed(n))
            fail_msg("%s: still open", stages[s].name);
        net_check_booked(n);
        if (gate_counts_of(n->gate).yes - yes != (s != ASKED))
            fail_msg("%s: not booked", stages[s].name);
        if (s == ASKED || s == TURNED_AWAY || (s == BOOKED && u->input == 0)) {
            if (u->input + u->output + u->cost_nusd != 0)
                fail_msg("%s: %lld", stages[s].name, (long long)u->cost_nusd);
        } else if (s == TOLD)
            assert_int_equal(u->cost_nusd, 11000);
        else if (s == CONTENT)
            assert_int_equal(u->cost_nusd, 2000 + 4000);
        else if (u->input != 2 || u->output != 0 || u->cost_nusd != 2000 || !u->estimated)
            fail_msg("%s: %lld", stages[s].name, (long long)u->cost_nusd);
        pump_for(n->l, 5);
        assert_int_equal(n->caller.events, stages[s].events);
    }
}

/* Where a closed connection does not stop the bill, all that was allowed is reckoned. */
static void test_cancel_bills_on(void **state)
{
    static const struct {
        enum stage s;
        int64_t max_tokens, want_output;
    } cases[] = {
        {ASKED, 9, 0}, {SENT, 9, 9}, {CONTENT, 9, 9},    {CONTENT, -1, 2}, {CONTENT, 1, 2},
        {TOLD, 9, 9},  {TOLD, 2, 3}, {TURNED_AWAY, 9, 0}}; /* told so far is not told at the end */
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        question_set(&n->q, "Hi there");
        n->q.request.max_tokens = cases[i].max_tokens;
        net_hang_up(n);
        assert_true(net_start_with(n, "paid", &(struct chat_start_opts){.role = "call"}));
        if (cases[i].s >= SENT) {
            net_serve(n);
            if (cases[i].s > SENT)
                net_answer(n, stages[cases[i].s].head, stages[cases[i].s].body, STALL);
            if (cases[i].s > SENT)
                net_send(n, 4096);
            pump_for(n->l, 10);
        }
        caller_cancel(&n->caller);
        assert_int_equal(n->caller.usage.output, cases[i].want_output);
        assert_int_equal(n->caller.usage.cost_nusd,
                         n->caller.usage.input * 1000 + cases[i].want_output * 2000);
    }
}

static void test_cancel_inside(void **state)
{
    static const struct {
        const char *head, *body;
        unsigned events; /* in all */
    } cases[] = {
        {STREAM_HEAD, WHOLE, 5},
        {JSON_HEAD, REPLY("Hello"), 4},
        {STREAM_HEAD, D("Hel") F("stop"), 4},
        {STREAM_HEAD, D("Hel"), 4}, /* cut: START, TEXT, USAGE, ERROR */
        {"500 Oops", "{}", 2},      /* USAGE, ERROR */
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (unsigned at = 1; at < cases[i].events; at++) {
            n->caller.cancel_at = at;
            net_exchange(n, "m", cases[i].head, cases[i].body, BY_LENGTH, 4096);
            assert_true(n->caller.cancelled);
            assert_int_equal(n->caller.events, at);
        }
    n->caller.cancel_at = 0;
}

/* --- a worker that ends
 * -------------------------------------------------------------------------------- */

static void test_free_running(void **state)
{
    struct net *n = *state;
    for (int s = 0; s < STAGES; s++) {
        reach(n, "m", s);
        upstream_free(n->upstream);
        if (s >= SENT)
            assert_true(net_is_closed(n));
        pump_for(n->l, 5);
        assert_int_equal(n->caller.events, stages[s].events);
        net_check_booked(n);
        net_upstream(n);
    }
    /* An answer that is over, whose connection is not. */
    net_start(n, "m");
    net_serve(n);
    net_answer(n, STREAM_HEAD, WHOLE, STALL);
    net_send(n, 4096);
    net_wait(n);
    upstream_free(n->upstream);
    assert_true(net_is_closed(n));
    net_upstream(n);
}

/* --- pause
 * --------------------------------------------------------------------------------------------- */

/* Twice the idle limit: timers stand still while we do not read. */
#define LONG_MS 700

static void test_pause(void **state)
{
    struct net *n = *state;
    for (unsigned at = 0; at < 4; at++) {
        n->caller.pause_at = at;
        net_start(n, "m");
        if (at == 0)
            chat_pause(n->caller.call); /* while it is being booked */
        net_serve(n);
        net_answer(n, STREAM_HEAD, D("Hel") D("lo"), BY_CLOSE);
        net_send(n, 1);
        unsigned seen = n->caller.events; /* what one read had brought is told to its end */
        assert_true(seen == at || seen == at + 1);
        pump_for(n->l, LONG_MS);
        assert_int_equal(n->caller.events, seen);
        chat_resume(n->caller.call);
        PUMP(n->l, n->caller.events == 3);
        struct span rest = SPAN(F("stop") CHUNK("", USAGE("3", "2")) DONE);
        raw_send(n->fd, rest);
        net_hang_up(n);
        net_wait(n);
        caller_expect(&n->caller, WHOLE_LOG);
    }
    n->caller.pause_at = 0;
}

static void test_pause_whole_body(void **state)
{
    struct net *n = *state;
    net_start(n, "m");
    net_serve(n);
    net_answer(n, JSON_HEAD, REPLY("Hello"), BY_LENGTH);
    chat_pause(n->caller.call);
    net_send(n, 4096);
    pump_for(n->l, LONG_MS);
    assert_int_equal(n->caller.events, 0);
    chat_resume(n->caller.call);
    net_wait(n);
    caller_expect(&n->caller, WHOLE_LOG);
}

/* A paused call stops its upstream: what the kernel does not take stays there. */
static void test_back_pressure(void **state)
{
    enum { EVENTS = 60000 };
    struct net *n = *state;
    struct span event = SPAN(D("0123456789012345678901234567890123456789")), rest;
    struct err e;
    n->caller.pause_at = 2;
    net_start(n, "free");
    net_serve(n);
    net_answer(n, STREAM_HEAD, "", BY_CLOSE);
    for (int i = 0; i < EVENTS; i++)
        assert_true(buf_add(&n->out, event, &e));
    rest = buf_span(&n->out);
    for (int stuck = 0; stuck < 200;) {
        ssize_t sent = send(n->fd, rest.p, rest.n, MSG_NOSIGNAL);
        rest = span_from(rest, sent > 0 ? (size_t)sent : 0);
        stuck = sent > 0 ? 0 : stuck + 1;
        pump_for(n->l, 1);
    }
    assert_true(rest.n > 0);
    unsigned paused_at = n->caller.events;
    assert_true(paused_at < EVENTS / 2);
    assert_non_null(n->caller.call);
    chat_resume(n->caller.call);
    while (rest.n > 0) {
        ssize_t sent = send(n->fd, rest.p, rest.n, MSG_NOSIGNAL);
        rest = span_from(rest, sent > 0 ? (size_t)sent : 0);
        loop_step(n->l);
    }
    raw_send(n->fd, SPAN(F("stop") DONE));
    net_hang_up(n);
    net_wait(n);
    assert_true(n->caller.finished);
    assert_int_equal(n->caller.events, EVENTS + 3);
    n->caller.pause_at = 0;
}

/* --- connections
 * ----------------------------------------------------------------------------------------- */

/* The next call comes over the connection that is open already. */
static void check_reused(struct net *n)
{
    unsigned accepts = n->accepts;
    net_start(n, "m");
    buf_clear(&n->in);
    PUMP(n->l, net_request_whole(n));
    assert_int_equal(n->accepts, accepts);
    net_answer(n, STREAM_HEAD, WHOLE, BY_CHUNKS);
    net_send(n, 4096);
    net_wait(n);
    caller_expect(&n->caller, WHOLE_LOG);
}

static void test_reuse(void **state)
{
    static const struct {
        const char *head, *body;
    } cases[] = {
        {STREAM_HEAD, WHOLE}, {JSON_HEAD, REPLY("Hello")}, {"429 Later", "{}"}, {"500 Oops", "{}"}};
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases) * 2; i++) {
        net_exchange(n, "m", cases[i / 2].head, cases[i / 2].body, i % 2 ? BY_LENGTH : BY_CHUNKS,
                     4096);
        check_reused(n);
        check_reused(n);
        http_client_forget(n->http);
    }
}

/* The answer is complete before its body is: the rest is waited for, a little, and read, a little.
 */
static void test_drain(void **state)
{
    struct net *n = *state;
    char chunk[1200];
    memset(chunk, ' ', sizeof chunk);
    memcpy(chunk, "400\r\n", 5);
    memcpy(chunk + 5 + 1024, "\r\n", 2);
    for (int how = 0; how < 3; how++) {
        net_start(n, "m");
        net_serve(n);
        net_answer(n, STREAM_HEAD, WHOLE, BY_CHUNKS);
        n->out.n -= 5; /* without the last chunk */
        net_send(n, 4096);
        net_wait(n);
        caller_expect(&n->caller, WHOLE_LOG);
        pump_for(n->l, 20);
        assert_false(net_is_closed(n));
        if (how == 0) {
            raw_send(n->fd, SPAN("0\r\n\r\n"));
            pump_for(n->l, 10);
            check_reused(n);
        } else if (how == 1) { /* never ends */
            PUMP(n->l, net_is_closed(n));
        } else { /* never stops */
            for (int i = 0; i < 100; i++) {
                (void)!send(n->fd, chunk, 5 + 1024 + 2, MSG_NOSIGNAL);
                loop_step(n->l);
            }
            assert_true(net_is_closed(n));
        }
        http_client_forget(n->http);
    }
}

static void on_last(struct caller *c)
{
    struct net *n = c->ctx;
    if (n->accepts < 4)
        net_start(n, "free");
}

/* A call begun inside the last event of the one before, whose connection is not free yet. */
static void test_start_in_last_event(void **state)
{
    struct net *n = *state;
    n->caller.on_last = on_last;
    n->caller.ctx = n;
    net_start(n, "free");
    for (int i = 0; i < 4; i++) {
        net_serve(n);
        net_answer(n, STREAM_HEAD, WHOLE, BY_CHUNKS);
        net_send(n, 4096);
    }
    net_wait(n);
    assert_true(n->caller.finished);
}

/* --- too much
 * -------------------------------------------------------------------------------------------- */

static void send_all(struct net *n, size_t total)
{
    static char block[65536];
    memset(block, 'x', sizeof block);
    for (size_t sent = 0; sent < total && !caller_over(&n->caller);) {
        ssize_t k = send(n->fd, block, sizeof block, MSG_NOSIGNAL);
        if (k < 0 && errno != EAGAIN)
            break;
        sent += k > 0 ? (size_t)k : 0;
        loop_step(n->l);
    }
}

static void test_too_large(void **state)
{
    static const struct {
        const char *head, *body, *code;
        enum err_class cls;
        enum err_sent sent;
    } cases[] = {
        {STREAM_HEAD, "data: ", "upstream_too_large", ERR_UPSTREAM, SENT_MAYBE},
        {JSON_HEAD, "{\"a\":\"", "upstream_too_large", ERR_UPSTREAM, SENT_MAYBE},
        {"429 Later\r\nretry-after: 2", "{", "rate_limit_exceeded", ERR_BUSY, SENT_REFUSED},
    };
    struct net *n = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        net_start(n, "free");
        net_serve(n);
        net_answer(n, cases[i].head, cases[i].body, BY_CLOSE);
        net_send(n, 4096);
        send_all(n, LIMIT_EVENT_BYTES + MIB(1));
        net_wait(n);
        if (!n->caller.failed || n->caller.e.cls != cases[i].cls ||
            n->caller.e.sent != cases[i].sent || strcmp(n->caller.e.code, cases[i].code) != 0)
            fail_msg("%s: %d, %s", cases[i].head, n->caller.e.sent, n->caller.e.msg);
        assert_int_equal(n->caller.e.status, i < 2 ? 502 : 429);
    }
}

/* --- memory
 * ---------------------------------------------------------------------------------------------- */

/* Each allocation of a call fails once: the call does not begin, or fails with one last event, or
 * does not mind; the gate's counts are even. */
static void fail_each_allocation(struct net *n, const char *head, const char *body)
{
    for (unsigned long k = 1, more = 1; more;) {
        http_client_forget(n->http);
        upstream_free(n->upstream); /* nothing kept from the call before */
        net_upstream(n);
        net_hang_up(n);
        net_forget_backlog(n);
        question_set(&n->q, "Hi there");
        mem_fail_at(k++);
        bool begun = net_start_with(n, "free", &(struct chat_start_opts){.role = "call"});
        for (int64_t end = clock_mono_us() + PUMP_MAX_US;
             begun && !caller_over(&n->caller) && clock_mono_us() < end; loop_step(n->l)) {
            if (n->fd < 0)
                n->fd = accept4(n->lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (n->fd < 0 || n->out.n > 0 || !net_request_whole(n))
                continue;
            net_answer(n, head, body, BY_LENGTH);
            (void)!send(n->fd, n->out.mem + n->out.start, n->out.n, MSG_NOSIGNAL);
        }
        more = (unsigned long)mem_failed();
        mem_fail_at(0);
        buf_clear(&n->out);
        if (begun && !caller_over(&n->caller))
            fail_msg("the call hangs without allocation %lu", k - 1);
        if (!begun || n->caller.failed)
            assert_int_equal(n->caller.e.cls, ERR_NOMEM);
        assert_true(more || n->caller.finished);
        net_check_booked(n);
    }
}

static void test_out_of_memory(void **state)
{
    struct net *n = *state;
    struct err e;
    /* what the test and the store's thread allocate must not count */
    upstream_free(n->upstream);
    gate_free(n->gate);
    n->gate = gate_new(n->l, NULL);
    net_upstream(n);
    char *room;
    assert_true(buf_room(&n->in, KIB(64), &room, &e) && buf_room(&n->out, KIB(64), &room, &e) &&
                buf_room(&n->caller.log, KIB(64), &room, &e));
    fail_each_allocation(n, STREAM_HEAD, WHOLE);
    fail_each_allocation(n, JSON_HEAD, REPLY("Hello"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, net_open, net_close)
    const struct CMUnitTest tests[] = {
        TEST(test_cancel),        TEST(test_cancel_bills_on),
        TEST(test_cancel_inside), TEST(test_free_running),
        TEST(test_pause),         TEST(test_pause_whole_body),
        TEST(test_back_pressure), TEST(test_reuse),
        TEST(test_drain),         TEST(test_start_in_last_event),
        TEST(test_too_large),     TEST(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
