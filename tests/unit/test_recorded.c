/* test_recorded.c - recordings as models: which answer a question finds, files that are refused,
 * the pieces an answer comes in, pause and cancel at each of them, and that every call is booked.
 */
#include "call_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "upstream/upstream.h"

/* 600 bytes of two-byte letters, so that a piece could fall into the middle of one. */
#define U10  "\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4"
#define U100 U10 U10 U10 U10 U10 U10 U10 U10 U10 U10
#define LONG "x" U100 U100 U100

#define TAPE                                                                                       \
    "{\"id\": \"first\", \"question\": \"What is 1+1?\", \"outputs\": {\"m1\": \"2\", \"m2\": "    \
    "\"two\"}}\n"                                                                                  \
    "\n"                                                                                           \
    "{\"id\": 7, \"question\": \"What is 1+2?\", \"outputs\": {\"m1\": \"3\"}, \"more\": [1]}\r\n" \
    "  {\"question\": \" 1+2? \", \"outputs\": {\"m1\": \"short\"}}\n"                             \
    "{\"id\": \"long\", \"outputs\": {\"m1\": \"" LONG "\", \"m2\": \"\"}}\n"                      \
    "{\"id\": \"odd\", \"question\": \"odd\", \"outputs\": {\"m1\": null, \"m2\": 5}}"

struct place {
    char file[64];
    struct loop *l;
    struct config *config;
    struct store *store;
    struct gate *gate;
    struct upstream_shared *shared;
    struct upstream *upstream;
    struct arena *arena;
    struct caller caller;
    struct question q;
};

static void write_file(struct place *p, const char *text)
{
    FILE *f = fopen(p->file, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

static struct config *make_config(struct place *p, const char *price)
{
    struct err e = {0};
    struct buf b;
    buf_init(&b, KIB(4));
    assert_true(buf_addf(&b, &e,
                         "providers:\n  tape: {kind: recorded, file: %s, price: %s}\n"
                         "models:\n  m1: {provider: tape}\n  m2: {provider: tape}\n"
                         "  m3: {provider: tape}\n",
                         p->file, price));
    struct config *c = config_parse(buf_span(&b), "test", &e);
    if (c == NULL)
        fail_msg("%s", e.msg);
    buf_done(&b);
    return c;
}

static int open_at(void **state, const char *price)
{
    struct err e = {0};
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->file, sizeof p->file, "/tmp/fusor-tape-XXXXXX");
    close(mkstemp(p->file));
    write_file(p, TAPE);
    p->config = make_config(p, price);
    p->l = loop_sim_new(&e);
    p->store = store_open("", &e);
    p->gate = gate_new(p->l, p->store);
    p->shared = upstream_shared_new(p->config, &e);
    if (p->shared == NULL)
        fail_msg("%s", e.msg);
    struct upstream_env ue = {.loop = p->l, .gate = p->gate};
    p->upstream = upstream_new(&ue, p->shared, &e);
    p->arena = arena_new(0);
    caller_init(&p->caller);
    *state = p;
    return 0;
}

static int open_free(void **state)
{
    return open_at(state, "free");
}

static int open_paid(void **state)
{
    return open_at(state, "{input: 1, output: 2}");
}

static int close_place(void **state)
{
    struct place *p = *state;
    upstream_free(p->upstream);
    struct gate_counts n = gate_counts_of(p->gate);
    assert_int_equal(n.yes, n.settled);
    upstream_shared_free(p->shared);
    gate_free(p->gate);
    store_close(p->store);
    loop_free(p->l);
    config_free(p->config);
    caller_done(&p->caller);
    arena_free(p->arena);
    unlink(p->file);
    mem_free(p);
    return 0;
}

static void run(struct place *p)
{
    while (loop_step(p->l))
        continue;
}

static void start(struct place *p, const char *model, const char *metadata, const char *question)
{
    struct upstream_source *s = arena_alloc(p->arena, sizeof *s);
    const struct config_model *m = config_model_find(p->config, span_of(model), NULL);
    assert_non_null(m);
    upstream_source_init(s, p->upstream, m);
    question_set(&p->q, question);
    p->q.request.metadata = span_of(metadata);
    assert_true(caller_start(&p->caller, &s->source, &p->q));
}

/* --- what is found
 * ----------------------------------------------------------------------------------- */

static void test_found(void **state)
{
    static const struct {
        const char *model, *metadata, *question, *want;
    } cases[] = {
        {"m1", NULL, "What is 1+1?", "2"},
        {"m2", NULL, "What is 1+1?", "two"},
        {"m1", NULL, "\n What is 1+1?  ", "2"},
        {"m1", "{\"id\": \"first\"}", "something else", "2"},
        {"m1", "{\"id\": 7}", "What is 1+1?", "3"},
        {"m1", "{\"id\": \"7\"}", "What is 1+1?", "3"},
        {"m1", "{\"other\": 1}", "What is 1+1?", "2"},
        {"m1", "{}", "What is 1+1?", "2"},
        /* of several, the one that ends last; of those, the longest */
        {"m1", NULL, "Q: What is 1+2?\nA: 3\nQ: What is 1+1?\nA:", "2"},
        {"m1", NULL, "Q: What is 1+1?\nA: 2\nQ: What is 1+2?\nA:", "3"},
        {"m1", NULL, "Q: What is 1+1?\nA: 2\nQ: 1+2?\nA:", "short"},
        {"m1", NULL, "1+2?", "short"},
        {"m2", "{\"id\": \"long\"}", "", ""},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[400];
        size_t in = (strlen(cases[i].question) + 3) / 4, out = (strlen(cases[i].want) + 3) / 4;
        snprintf(want, sizeof want, "start:*,%s%s%s;usage:%zu/0/%zu/0$0~;finish:stop",
                 cases[i].model, cases[i].want[0] ? ";text:" : "", cases[i].want, in, out);
        start(p, cases[i].model, cases[i].metadata, cases[i].question);
        run(p);
        caller_expect(&p->caller, want);
    }
    assert_int_equal(gate_counts_of(p->gate).yes, COUNT_OF(cases));
}

static void test_not_found(void **state)
{
    static const struct {
        const char *model, *metadata, *question, *code, *says;
    } cases[] = {
        {"m3", NULL, "What is 1+1?", "model_not_found", "no model \"m3\"; it has m1, m2"},
        {"m1", NULL, "Something new?", "recording_not_found", "metadata.id"},
        {"m1", NULL, "", "recording_not_found", "metadata.id"},
        {"m1", "{\"id\": \"nine\"}", "What is 1+1?", "recording_not_found", "\"nine\""},
        {"m2", "{\"id\": 7}", "", "recording_not_found", "\"m2\" has no recorded answer"},
        {"m1", NULL, "odd", "recording_not_found", "no recorded answer"},
        {"m2", NULL, "odd", "recording_not_found", "no recorded answer"},
        {"m1", "{\"id\": ", "What is 1+1?", "invalid_request", "metadata"},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char want[64];
        snprintf(want, sizeof want, "error:%s", cases[i].code);
        start(p, cases[i].model, cases[i].metadata, cases[i].question);
        run(p);
        caller_expect(&p->caller, want);
        if (strstr(p->caller.e.msg, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].says, p->caller.e.msg);
        assert_int_equal(p->caller.e.sent, SENT_NO);
    }
    assert_int_equal(gate_counts_of(p->gate).settled, COUNT_OF(cases));
}

/* Of a question that stands in two records the later counts, however it is found. */
static void test_twice(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    upstream_free(p->upstream);
    upstream_shared_free(p->shared);
    write_file(p, "{\"id\": 1, \"question\": \"Q?\", \"outputs\": {\"m1\": \"old\"}}\n"
                  "{\"id\": 1, \"question\": \"Q?\", \"outputs\": {\"m1\": \"new\"}}\n");
    p->shared = upstream_shared_new(p->config, &e);
    struct upstream_env ue = {.loop = p->l, .gate = p->gate};
    p->upstream = upstream_new(&ue, p->shared, &e);
    static const char *const asked[] = {"Q?", "And now: Q?"};
    for (size_t i = 0; i < COUNT_OF(asked) * 2; i++) {
        start(p, "m1", i < 2 ? NULL : "{\"id\": 1}", asked[i % 2]);
        run(p);
        assert_non_null(strstr(caller_log(&p->caller), "text:new;"));
    }
}

static void test_last_user_message(void **state)
{
    struct place *p = *state;
    struct upstream_source s;
    upstream_source_init(&s, p->upstream, config_model_find(p->config, SPAN("m1"), NULL));
    struct chat_part texts[] = {
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("What is 1+1?")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("2")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("Listen:")},
        {.kind = CHAT_PART_IMAGE, .url = SPAN_INIT("http://x")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("What is 1+2?")},
        {.kind = CHAT_PART_TEXT, .text = SPAN_INIT("What is 1+1?")},
    };
    struct chat_message messages[] = {{.role = CHAT_USER, .parts = &texts[0], .n_parts = 1},
                                      {.role = CHAT_ASSISTANT, .parts = &texts[1], .n_parts = 1},
                                      {.role = CHAT_USER, .parts = &texts[2], .n_parts = 3},
                                      {.role = CHAT_SYSTEM, .parts = &texts[5], .n_parts = 1}};
    question_set(&p->q, "");
    p->q.request.messages = messages;
    p->q.request.n_messages = COUNT_OF(messages);
    assert_true(caller_start(&p->caller, &s.source, &p->q));
    run(p);
    assert_non_null(strstr(caller_log(&p->caller), "text:3;"));
    p->q.request.n_messages = 0;
    assert_true(caller_start(&p->caller, &s.source, &p->q));
    run(p);
    caller_expect(&p->caller, "error:recording_not_found");
}

/* --- files that are refused
 * ---------------------------------------------------------------------------- */

static void test_bad_files(void **state)
{
#define GOOD "{\"id\": 1, \"outputs\": {\"m1\": \"x\"}}\n"
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "holds no record"},
        {"\n \r\n", "holds no record"},
        {GOOD "{\"id\": 2, \"outputs\": {\"m1\": \"x\"}", ":2: "},
        {GOOD "\n\nnonsense\n" GOOD, ":4: "},
        {"[]", ":1: a record needs `id` or `question`"},
        {GOOD "{\"outputs\": {\"m1\": \"x\"}}\n", ":2: a record needs `id` or `question`"},
        {GOOD GOOD "{\"id\": 2}", ":3: a record needs"},
        {GOOD "{\"id\": 2, \"outputs\": [\"x\"]}", ":2: a record needs"},
        {"\xff\xfe", ":1: "},
    };
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(cases) + 2; i++) {
        struct err e = {0};
        const char *says = i < COUNT_OF(cases) ? cases[i].says : "opened";
        unlink(p->file);
        if (i < COUNT_OF(cases))
            write_file(p, cases[i].text);
        else if (i > COUNT_OF(cases)) {
            assert_int_equal(mkdir(p->file, 0700), 0);
            says = "is not a file";
        }
        assert_null(upstream_shared_new(p->config, &e));
        assert_int_equal(e.cls, ERR_CONFIG);
        if (strstr(e.msg, says) == NULL || strstr(e.msg, "provider tape") == NULL ||
            strstr(e.msg, p->file) == NULL)
            fail_msg("%s: %s", says, e.msg);
    }
    rmdir(p->file);
}

static void test_load_out_of_memory(void **state)
{
    struct place *p = *state;
    unsigned long n = 0;
    for (bool done = false; !done;) {
        struct err e = {0};
        mem_fail_at(++n);
        AUTO(upstream_shared) s = upstream_shared_new(p->config, &e);
        done = !mem_failed();
        mem_fail_at(0);
        assert_int_equal(s != NULL, done);
        if (!done)
            assert_int_equal(e.cls, ERR_NOMEM);
    }
    assert_true(n > 10);
}

/* --- pieces, pause, cancel
 * ------------------------------------------------------------------------------ */

static const char *const ids[] = {"{\"id\": \"first\"}", "{\"id\": \"long\"}"};
static const unsigned events_of[] = {4, 7}; /* START, one or four pieces, USAGE, FINISH */

static void test_pieces(void **state)
{
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        start(p, "m1", ids[i], "");
        assert_int_equal(p->caller.events, 0);
        run(p);
        assert_true(p->caller.finished);
        assert_int_equal(p->caller.events, events_of[i]);
    }
    assert_non_null(strstr(caller_log(&p->caller), "text:" LONG ";usage:0/0/151/0$302000~"));
}

static void test_pause(void **state)
{
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        for (unsigned at = 0; at + 2 < events_of[i]; at++) { /* the end follows its usage at once */
            p->caller.pause_at = at;
            start(p, "m1", ids[i], "");
            if (at == 0)
                chat_pause(p->caller.call); /* while it is being booked */
            run(p);
            assert_int_equal(p->caller.events, at);
            chat_resume(p->caller.call);
            chat_resume(p->caller.call);
            run(p);
            assert_true(p->caller.finished);
            assert_int_equal(p->caller.events, events_of[i]);
        }
}

static void test_cancel(void **state)
{
    struct place *p = *state;
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        for (unsigned at = 0; at < events_of[i]; at++) {
            uint64_t yes = gate_counts_of(p->gate).yes;
            p->caller.cancel_at = at;
            start(p, "m1", ids[i], "");
            if (at == 0)
                caller_cancel(&p->caller); /* while it is being booked */
            run(p);
            assert_true(p->caller.cancelled);
            assert_int_equal(p->caller.events, at);
            assert_int_equal(p->caller.usage.output > 0, at > 1);
            assert_int_equal(p->caller.usage.cost_nusd, p->caller.usage.output * 2000);
            struct gate_counts n = gate_counts_of(p->gate);
            assert_int_equal(n.yes, yes + (at > 0));
            assert_int_equal(n.settled, n.yes);
        }
}

/* From outside, between two turns, paused and not. */
static void test_cancel_between(void **state)
{
    struct place *p = *state;
    for (unsigned turns = 0; turns < 12; turns++) {
        p->caller.pause_at = turns % 2 ? turns / 2 : 0;
        start(p, "m1", ids[1], "");
        for (unsigned i = 0; i < turns; i++)
            (void)loop_step(p->l);
        if (!caller_over(&p->caller))
            caller_cancel(&p->caller);
        run(p);
        struct gate_counts n = gate_counts_of(p->gate);
        assert_int_equal(n.settled, n.yes);
    }
}

/* A worker's end drops its calls without an event, in every state. */
static void test_free_running(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    for (unsigned turns = 0; turns < 10; turns++) {
        start(p, "m1", ids[1], "");
        for (unsigned i = 0; i < turns; i++)
            (void)loop_step(p->l);
        unsigned before = p->caller.events;
        upstream_free(p->upstream);
        run(p);
        assert_int_equal(p->caller.events, before);
        struct gate_counts n = gate_counts_of(p->gate);
        assert_int_equal(n.settled, n.yes);
        struct upstream_env ue = {.loop = p->l, .gate = p->gate};
        p->upstream = upstream_new(&ue, p->shared, &e);
    }
}

/* --- the gate
 * ------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    struct place *p = *state;
    struct gate_intent i = {.request_id = SPAN("r"),
                            .role = "call",
                            .model = config_model_find(p->config, SPAN("m1"), NULL)};
    struct chat_usage u = {0};
    start(p, "m1", ids[0], "");
    run(p);
    mem_fail_at(1);
    gate_settle(p->gate, &i, &u, "ok", false, 0, -1, -1); /* a row is lost */
    mem_fail_at(0);
    start(p, "m1", ids[0], "");
    run(p);
    caller_expect(&p->caller, "error:ledger_failed");
    struct gate_counts n = gate_counts_of(p->gate);
    assert_int_equal(n.yes, 1);
    assert_int_equal(n.settled, 2);
    gate_free(p->gate); /* the counts of the extra row are not to be balanced */
    upstream_free(p->upstream);
    p->upstream = NULL;
    p->gate = gate_new(p->l, NULL);
}

static void test_start_out_of_memory(void **state)
{
    struct place *p = *state;
    struct upstream_source s;
    upstream_source_init(&s, p->upstream, config_model_find(p->config, SPAN("m1"), NULL));
    question_set(&p->q, "What is 1+1?");
    p->q.request.metadata = SPAN("{\"id\": 7}");
    unsigned long n = 0;
    for (bool done = false; !done;) {
        mem_fail_at(++n);
        bool begun = caller_start(&p->caller, &s.source, &p->q);
        done = !mem_failed();
        mem_fail_at(0);
        run(p);
        if (!begun || !done)
            assert_int_equal(p->caller.e.cls, ERR_NOMEM);
        else
            assert_true(p->caller.finished);
    }
    assert_true(n > 2);
}

int main(void)
{
#define TEST(name, open) cmocka_unit_test_setup_teardown(name, open, close_place)
    const struct CMUnitTest tests[] = {
        TEST(test_found, open_free),
        TEST(test_not_found, open_free),
        TEST(test_twice, open_free),
        TEST(test_last_user_message, open_free),
        TEST(test_bad_files, open_free),
        TEST(test_load_out_of_memory, open_free),
        TEST(test_pieces, open_paid),
        TEST(test_pause, open_paid),
        TEST(test_cancel, open_paid),
        TEST(test_cancel_between, open_paid),
        TEST(test_free_running, open_paid),
        TEST(test_refused, open_paid),
        TEST(test_start_out_of_memory, open_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
