/* tests/unit/test_anthropic_messages_writer.c - events against the bytes a Messages client gets, as
 * a stream and as one body; what every stream must be for the client libraries; usage with its
 * fusion; errors; running out of room and of memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define CHAT_LOG_DIALECT dialect_anthropic_messages
#include "base/mem.h"
#include "chat_log.h"
#include "json/json.h"
#include "quoted.h"

#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }
#define START    EV(START, .id = SPAN_INIT("up"), .model = SPAN_INIT("up/m"))
#define TEXT(s)  EV(TEXT, .text = SPAN_INIT(s))
#define THINK(s) EV(REASONING, .text = SPAN_INIT(s))
#define END(f)   EV(FINISH, .finish = CHAT_FINISH_##f)
#define USAGE    EV(USAGE, .usage = {.input = 3, .output = 2, .cost_nusd = -1})
#define SIGNED(s)                                                                                  \
    EV(REASONING, .signature = SPAN_INIT(s), .format = SPAN_INIT("anthropic-claude-v1"))
#define MAX_EVENTS 12

#define FRAME(type, rest) "event: " type "\ndata: {'type':'" type "'" rest "}\n\n"
#define HEAD              "'id':'msg_1','type':'message','role':'assistant','model':'recipe','content':["
#define COUNTS(in, out)                                                                            \
    "'usage':{'input_tokens':" in ",'cache_creation_input_tokens':0,'cache_read_input_tokens':0,"  \
    "'output_tokens':" out
#define BEGIN_WITH(counts)                                                                         \
    FRAME("message_start",                                                                         \
          ",'message':{" HEAD "],'stop_reason':null,'stop_sequence':null," counts "}}")
#define BEGIN          BEGIN_WITH(COUNTS("0", "0"))
#define OPEN(i, block) FRAME("content_block_start", ",'index':" i ",'content_block':{" block "}")
#define OPEN_TEXT(i)   OPEN(i, "'type':'text','text':''")
#define OPEN_THINK(i)  OPEN(i, "'type':'thinking','thinking':'','signature':''")
#define OPEN_CALL(i, id, name)                                                                     \
    OPEN(i, "'type':'tool_use','id':'" id "','name':'" name "','input':{}")
#define PIECE(i, delta) FRAME("content_block_delta", ",'index':" i ",'delta':{" delta "}")
#define SAYS(i, s)      PIECE(i, "'type':'text_delta','text':'" s "'")
#define THINKS(i, s)    PIECE(i, "'type':'thinking_delta','thinking':'" s "'")
#define SIGNS(i, s)     PIECE(i, "'type':'signature_delta','signature':'" s "'")
#define ARGS(i, s)      PIECE(i, "'type':'input_json_delta','partial_json':'" s "'")
#define SHUT(i)         FRAME("content_block_stop", ",'index':" i)
#define FIN_WITH(reason, sequence, counts)                                                         \
    FRAME("message_delta",                                                                         \
          ",'delta':{'stop_reason':'" reason "','stop_sequence':" sequence "}," counts "}")        \
    FRAME("message_stop", "")
#define FIN(reason)      FIN_WITH(reason, "null", COUNTS("0", "0"))
#define FIN_USED(reason) FIN_WITH(reason, "null", COUNTS("3", "2") ",'cost':null")

static struct buf text;

static const struct {
    const char *name;
    struct chat_event events[MAX_EVENTS];
    size_t n;
    const char *want;
} streams[] = {
    {"text",
     {START, TEXT("Hi"), TEXT(""), TEXT("\\\n"), USAGE, END(STOP)},
     6,
     BEGIN OPEN_TEXT("0") SAYS("0", "Hi") SAYS("0", "\\\\\\n") SHUT("0") FIN_USED("end_turn")},
    {"usage before content is in the start",
     {START, USAGE, TEXT("Hi"), END(LENGTH)},
     4,
     BEGIN_WITH(COUNTS("3", "2")) OPEN_TEXT("0") SAYS("0", "Hi") SHUT("0") FIN_USED("max_tokens")},
    {"no start, no usage",
     {TEXT("Hi"), END(STOP)},
     2,
     BEGIN OPEN_TEXT("0") SAYS("0", "Hi") SHUT("0") FIN("end_turn")},
    {"nothing", {START, END(STOP)}, 2, BEGIN FIN("end_turn")},
    {"nothing yet", {START, USAGE}, 2, ""},
    {"nothing after the end", {START, END(STOP), TEXT("x"), END(STOP)}, 4, BEGIN FIN("end_turn")},
    {"stop sequence",
     {TEXT("a"), EV(FINISH, .finish = CHAT_FINISH_STOP, .stop_sequence = SPAN_INIT("END"))},
     2,
     BEGIN OPEN_TEXT("0") SAYS("0", "a") SHUT("0")
         FIN_WITH("stop_sequence", "'END'", COUNTS("0", "0"))},
    {"content filter", {START, END(CONTENT_FILTER)}, 2, BEGIN FIN("refusal")},
    {"refusal",
     {START, EV(REFUSAL, .text = SPAN_INIT("no")), END(STOP)},
     3,
     BEGIN OPEN_TEXT("0") SAYS("0", "no") SHUT("0") FIN("refusal")},

    /* thinking */
    {"thinking",
     {START, THINK("h"), THINK("m"), SIGNED("S"), TEXT("a"), END(STOP)},
     6,
     BEGIN OPEN_THINK("0") THINKS("0", "h") THINKS("0", "m") SIGNS("0", "S") SHUT("0")
         OPEN_TEXT("1") SAYS("1", "a") SHUT("1") FIN("end_turn")},
    {"thinking without a signature",
     {START, THINK("h"), TEXT("a"), END(STOP)},
     4,
     BEGIN OPEN_THINK("0") THINKS("0", "h") SHUT("0") OPEN_TEXT("1") SAYS("1", "a") SHUT("1")
         FIN("end_turn")},
    {"two blocks, and one that is hidden",
     {THINK("h"), SIGNED("S"), SIGNED("R"), THINK("m"), SIGNED("T"), END(STOP)},
     6,
     BEGIN OPEN_THINK("0") THINKS("0", "h") SIGNS("0", "S") SHUT("0")
         OPEN("1", "'type':'redacted_thinking','data':'R'") SHUT("1") OPEN_THINK("2")
             THINKS("2", "m") SIGNS("2", "T") SHUT("2") FIN("end_turn")},
    {"a signature of text that is not shown",
     {EV(REASONING, .signature = SPAN_INIT("S"), .format = SPAN_INIT("anthropic-claude-v1"),
         .signs_text = true),
      TEXT("a"), END(STOP)},
     3,
     BEGIN OPEN_THINK("0") SIGNS("0", "S") SHUT("0") OPEN_TEXT("1") SAYS("1", "a") SHUT("1")
         FIN("end_turn")},
    {"signatures of others say whose they are",
     {THINK("h"),
      EV(REASONING, .signature = SPAN_INIT("S"), .format = SPAN_INIT("google-gemini-v1")),
      EV(REASONING, .signature = SPAN_INIT("R")), END(STOP)},
     4,
     BEGIN OPEN_THINK("0") THINKS("0", "h") SIGNS("0", "google-gemini-v1:S") SHUT("0")
         OPEN("1", "'type':'redacted_thinking','data':':R'") SHUT("1") FIN("end_turn")},

    /* calls */
    {"calls, each whole and one",
     {START, TEXT("a"),
      EV(TOOL, .index = 0, .tool_id = SPAN_INIT("toolu_1"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{\"a\"")),
      EV(TOOL, .index = 1, .tool_id = SPAN_INIT("abc"), .tool_name = SPAN_INIT("g"),
         .arguments = SPAN_INIT("{}")),
      EV(TOOL, .index = 0, .arguments = SPAN_INIT(":1}")), EV(TOOL, .index = 1, .tool_done = true),
      TEXT("b"), EV(TOOL, .index = 0, .tool_done = true), END(STOP)},
     9,
     BEGIN OPEN_TEXT("0") SAYS("0", "a") SHUT("0") OPEN_CALL("1", "abc", "g") ARGS("1", "{}")
         SHUT("1") OPEN_TEXT("2") SAYS("2", "b") SHUT("2") OPEN_CALL("3", "toolu_1", "f")
             ARGS("3", "{\\'a\\':1}") SHUT("3") FIN("tool_use")},
    {"no arguments",
     {EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .tool_done = true),
      END(TOOL_CALLS)},
     2,
     BEGIN OPEN_CALL("0", "c", "f") ARGS("0", "{}") SHUT("0") FIN("tool_use")},
    {"arguments that are no object",
     {EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("[1,"), .tool_done = true),
      END(TOOL_CALLS)},
     2,
     BEGIN OPEN_CALL("0", "c", "f") ARGS("0", "{\\'arguments\\':\\'[1,\\'}") SHUT("0")
         FIN("tool_use")},
    {"a truncated call is never released",
     {TEXT("x"),
      EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{\"a")),
      END(LENGTH)},
     3,
     BEGIN OPEN_TEXT("0") SAYS("0", "x") SHUT("0") FIN("max_tokens")},
    {"a source that does not say done",
     {EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{}")),
      END(TOOL_CALLS)},
     2,
     BEGIN OPEN_CALL("0", "c", "f") ARGS("0", "{}") SHUT("0") FIN("tool_use")},
    {"a given up call beside a whole one",
     {EV(TOOL, .index = 0, .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{")),
      EV(TOOL, .index = 1, .tool_id = SPAN_INIT("d"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{}"), .tool_done = true),
      END(STOP)},
     3,
     BEGIN OPEN_CALL("0", "d", "f") ARGS("0", "{}") SHUT("0") FIN("tool_use")},
    {"finish tool_calls without a call",
     {TEXT("x"), END(TOOL_CALLS)},
     2,
     BEGIN OPEN_TEXT("0") SAYS("0", "x") SHUT("0") FIN("end_turn")},
};

static const struct dialect_reply reply = {
    .id = SPAN_INIT("msg_1"), .model = SPAN_INIT("recipe"), .created = 1700000000};

/* What the client libraries want of a stream: named events, one start, blocks that follow each
 * other, a last message_delta with output_tokens. */
static void check_frames(const char *name, struct span s)
{
    struct span type = {0};
    size_t next = 0, n = 0;
    bool open = false;
    for (; s.n > 0; n++) {
        AUTO(arena) a = arena_new(0);
        size_t end = span_index(s, SPAN("\n\n")), line = span_find(s, "\n");
        struct err e;
        json_val *v;
        int64_t index = -1;
        assert_true(end < s.n && span_starts(s, SPAN("event: ")));
        type = span_from(span_upto(s, line), 7);
        struct span data = span_from(span_upto(s, end), line + 1);
        assert_true(span_starts(data, SPAN("data: ")));
        s = span_from(s, end + 2);
        if (!json_parse(a, span_from(data, 6), &v, &e))
            fail_msg("%s: %s: %.*s", name, e.msg, SPAN_ARG(data));
        if (n == 0)
            assert_true(span_eq(json_str(json_get(v, "type")), SPAN("message_start")) ||
                        span_eq(type, SPAN("error")));
        char own[32];
        type = span_upto(type, sizeof own - 1);
        assert_true(span_eq(json_str(json_get(v, "type")), type));
        if (span_starts(type, SPAN("content_block_"))) {
            bool start = span_eq(type, SPAN("content_block_start"));
            assert_true(json_i64(json_get(v, "index"), &index) && (size_t)index == next);
            assert_true(open != start);
            open = !span_eq(type, SPAN("content_block_stop"));
            next += !open;
        } else if (span_eq(type, SPAN("message_delta"))) {
            assert_true(json_is_num(json_get(json_get(v, "usage"), "output_tokens")));
        }
    }
    assert_false(open);
    assert_true(n == 0 || span_eq(type, SPAN("message_stop")) || span_eq(type, SPAN("error")));
}

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
        struct buf out;
        struct err e;
        struct span want = quoted(&text, streams[i].want);
        buf_init(&out, KIB(64));
        assert_non_null(w);
        for (size_t k = 0; k < streams[i].n; k++)
            assert_true(dialect_anthropic_messages.write_event(w, &streams[i].events[k], &out, &e));
        if (!span_eq(buf_span(&out), want))
            fail_msg("%s:\n got %.*s\nwant %.*s", streams[i].name, SPAN_ARG(buf_span(&out)),
                     SPAN_ARG(want));
        check_frames(streams[i].name, buf_span(&out));
        buf_done(&out);
        dialect_anthropic_messages.writer_free(w);
    }
}

/* Ids that are missing, unfit or there twice are made anew, the same in a stream and in a body. */
static void test_ids(void **state)
{
    static const struct chat_event events[] = {
        EV(TOOL, .index = 0, .tool_name = SPAN_INIT("f"), .tool_done = true),
        EV(TOOL, .index = 1, .tool_id = SPAN_INIT("call:x/1"), .tool_name = SPAN_INIT("f"),
           .tool_done = true),
        EV(TOOL, .index = 2, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
           .tool_done = true),
        EV(TOOL, .index = 3, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
           .tool_done = true),
        END(TOOL_CALLS),
    };
    struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
    struct dialect_reader *rd = dialect_anthropic_messages.reader_new();
    struct chat_collect c, again, from_body;
    struct buf out, body;
    struct err e;
    buf_init(&out, KIB(64));
    buf_init(&body, KIB(64));
    chat_collect_init(&c, KIB(64));
    chat_collect_init(&again, KIB(64));
    chat_collect_init(&from_body, KIB(64));
    for (size_t k = 0; k < COUNT_OF(events); k++) {
        assert_true(dialect_anthropic_messages.write_event(w, &events[k], &out, &e));
        assert_true(chat_collect_event(&c, &events[k], &e));
    }
    feed_lines(buf_span(&out), NULL, &again);
    assert_true(dialect_anthropic_messages.write_unary(&reply, &c, &body, &e));
    assert_true(dialect_anthropic_messages.reader_body(rd, buf_span(&body), &e));
    assert_true(drain(rd, NULL, NULL, &from_body));
    assert_true(again.n_tools == 4 && from_body.n_tools == 4);
    for (size_t i = 0; i < 4; i++) {
        struct span id = buf_span(&again.tools[i].id);
        assert_true(i == 2 ? span_eq(id, SPAN("same")) : id.n == 9);
        for (size_t k = 0; k < i; k++)
            assert_false(span_eq(id, buf_span(&again.tools[k].id)));
        assert_true(span_eq(id, buf_span(&from_body.tools[i].id)));
    }
    dialect_anthropic_messages.reader_free(rd);
    dialect_anthropic_messages.writer_free(w);
    chat_collect_done(&c);
    chat_collect_done(&again);
    chat_collect_done(&from_body);
    buf_done(&out);
    buf_done(&body);
}

static const struct {
    enum err_class cls;
    int status; /* 0: the class's own */
    const char *type;
} error_types[] = {
    {ERR_INPUT, 0, "invalid_request_error"},
    {ERR_INPUT, 422, "invalid_request_error"},
    {ERR_AUTH, 0, "authentication_error"},
    {ERR_BUDGET, 0, "billing_error"},
    {ERR_FORBIDDEN, 0, "permission_error"},
    {ERR_NOT_FOUND, 0, "not_found_error"},
    {ERR_METHOD, 0, "invalid_request_error"},
    {ERR_CONFLICT, 0, "invalid_request_error"},
    {ERR_LIMIT, 0, "request_too_large"},
    {ERR_MEDIA, 0, "invalid_request_error"},
    {ERR_BUSY, 0, "rate_limit_error"},
    {ERR_STATE, 0, "api_error"},
    {ERR_UPSTREAM, 0, "api_error"},
    {ERR_CONNECT, 0, "api_error"},
    {ERR_CUT, 0, "api_error"},
    {ERR_NOMEM, 0, "overloaded_error"},
    {ERR_UNAVAILABLE, 0, "overloaded_error"},
    {ERR_TIMEOUT, 0, "timeout_error"},
    {ERR_UNAVAILABLE, 529, "overloaded_error"},
};

static void test_errors(void **state)
{
    struct err err, e;
    struct buf out;
    char want[200];
    buf_init(&out, KIB(64));
    for (size_t i = 0; i < COUNT_OF(error_types); i++) {
        err_set(&err, error_types[i].cls, "why");
        err.status = error_types[i].status ? error_types[i].status : err.status;
        buf_clear(&out);
        assert_true(dialect_anthropic_messages.write_error(&err, &out, &e));
        snprintf(want, sizeof want,
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"why\"}}",
                 error_types[i].type);
        if (!span_eq(buf_span(&out), span_of(want)))
            fail_msg("class %d: %.*s", error_types[i].cls, SPAN_ARG(buf_span(&out)));
    }
    buf_clear(&out);
    err_set(&err, ERR_BUSY, "full");
    err.retry_after_ms = 1200;
    struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
    struct chat_event events[] = {START, TEXT("a"), EV(ERROR, .err = &err), TEXT("b"), END(STOP)};
    for (size_t i = 0; i < COUNT_OF(events); i++)
        assert_true(dialect_anthropic_messages.write_event(w, &events[i], &out, &e));
    assert_true(span_ends(
        buf_span(&out), quoted(&text, "event: error\ndata: {'type':'error','error':{'type':"
                                      "'rate_limit_error','message':'full','code':"
                                      "'rate_limit_exceeded','status':429,'retry_after':2}}\n\n")));
    dialect_anthropic_messages.writer_free(w);
    buf_done(&out);
}

static const struct chat_member members[] = {
    {.label = SPAN_INIT("A"),
     .model = SPAN_INIT("p/m"),
     .state = CHAT_MEMBER_OK,
     .usage = {.input = 10, .output = 5, .cost_nusd = 1230000},
     .ttft_us = 1500,
     .total_us = 2000000},
};
static const struct chat_fusion_report report = {
    .id = SPAN_INIT("fus_9"), .mode = "merge", .agreement = -1, .members = members, .n_members = 1};

/* Cached tokens are no part of input_tokens; the price and the fusion stand beside the counts. A
 * member's progress is a ping, once the message has begun. */
static void test_usage(void **state)
{
    struct chat_event events[] = {EV(MEMBER, .member = &members[0]), TEXT("a"),
                                  EV(MEMBER, .member = &members[0]),
                                  EV(USAGE,
                                     .usage = {.input = 132,
                                               .cached = 100,
                                               .cache_write = 30,
                                               .output = 5,
                                               .reasoning = 2,
                                               .cost_nusd = 1230001,
                                               .estimated = true},
                                     .report = &report),
                                  END(STOP)};
    struct dialect_reply r = reply;
    r.members = true;
    struct dialect_writer *w = dialect_anthropic_messages.writer_new(&r);
    struct buf out, log;
    struct err e;
    buf_init(&out, KIB(64));
    buf_init(&log, KIB(64));
    for (size_t i = 0; i < COUNT_OF(events); i++)
        assert_true(dialect_anthropic_messages.write_event(w, &events[i], &out, &e));
    struct span want = quoted(&text, "'usage':{'input_tokens':2,'cache_creation_input_tokens':30,"
                                     "'cache_read_input_tokens':100,'output_tokens':5,"
                                     "'output_tokens_details':{'thinking_tokens':2},'cost':"
                                     "0.001230001,'estimated':true,'fusion':{'members':[{");
    assert_true(span_index(buf_span(&out), want) < out.n);
    size_t ping = span_index(buf_span(&out), SPAN("event: ping\ndata: {\"type\":\"ping\"}\n\n"));
    assert_true(ping < out.n && ping > span_index(buf_span(&out), SPAN("text_delta")));
    check_frames("usage", buf_span(&out));
    feed_lines(buf_span(&out), &log, NULL);
    assert_true(span_eq(buf_span(&log), SPAN("start:msg_1,recipe;usage:0/0/0/0$-1;text:a;"
                                             "usage:132/100/5/2$1230001~;finish:stop")));
    dialect_anthropic_messages.writer_free(w);
    buf_done(&out);
    buf_done(&log);
}

static void test_count(void **state)
{
    struct buf out;
    struct err e;
    buf_init(&out, 64);
    assert_true(dialect_anthropic_messages.write_count(4711, &out, &e));
    assert_true(span_eq(buf_span(&out), SPAN("{\"input_tokens\":4711}")));
    buf_done(&out);
}

static const struct {
    const char *name;
    struct chat_event events[MAX_EVENTS];
    size_t n;
    const char *content, *stop;
} bodies[] = {
    {"text",
     {START, TEXT("Hi"), USAGE, END(STOP)},
     4,
     "{'type':'text','text':'Hi','citations':[]}",
     "'stop_reason':'end_turn','stop_sequence':null"},
    {"empty", {START, USAGE, END(STOP)}, 3, "", "'stop_reason':'end_turn','stop_sequence':null"},
    {"stop sequence",
     {USAGE, EV(FINISH, .stop_sequence = SPAN_INIT("END"))},
     2,
     "",
     "'stop_reason':'stop_sequence','stop_sequence':'END'"},
    {"refusal",
     {START, EV(REFUSAL, .text = SPAN_INIT("no")), USAGE, END(REFUSAL)},
     4,
     "{'type':'text','text':'no','citations':[]}",
     "'stop_reason':'refusal','stop_sequence':null"},
    {"calls",
     {TEXT("a"),
      EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
         .arguments = SPAN_INIT("{\"x\": 1}"), .tool_done = true),
      USAGE, END(STOP)},
     4,
     "{'type':'text','text':'a','citations':[]},{'type':'tool_use','id':'c','name':'f','input':{'"
     "x': 1},"
     "'caller':{'type':'direct'}}",
     "'stop_reason':'tool_use','stop_sequence':null"},
    {"cut call",
     {TEXT("a"),
      EV(TOOL, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{")),
      USAGE, END(LENGTH)},
     4,
     "{'type':'text','text':'a','citations':[]}",
     "'stop_reason':'max_tokens','stop_sequence':null"},
    {"thinking",
     {THINK("h"), SIGNED("S"), SIGNED("R"), THINK("m"), TEXT("a"), USAGE, END(STOP)},
     7,
     "{'type':'thinking','thinking':'h','signature':'S'},{'type':'redacted_thinking','data':'R'},"
     "{'type':'thinking','thinking':'m','signature':''},{'type':'text','text':'a','citations':"
     "[]}",
     "'stop_reason':'end_turn','stop_sequence':null"},
};

#define NOTHING                                                                                    \
    ",'output_tokens_details':null,'cache_creation':null,'inference_geo':null,"                    \
    "'server_tool_use':null,'service_tier':null,'cost':null}}"

static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct chat_collect c;
        struct buf out;
        struct err e;
        char want[2000];
        chat_collect_init(&c, KIB(4));
        buf_init(&out, KIB(64));
        for (size_t k = 0; k < bodies[i].n; k++)
            assert_true(chat_collect_event(&c, &bodies[i].events[k], &e));
        assert_true(dialect_anthropic_messages.write_unary(&reply, &c, &out, &e));
        snprintf(want, sizeof want,
                 "{" HEAD "%s],%s,'stop_details':null,'container':null," COUNTS("3", "2") NOTHING,
                 bodies[i].content, bodies[i].stop);
        if (!span_eq(buf_span(&out), quoted(&text, want)))
            fail_msg("%s:\n got %.*s\nwant %s", bodies[i].name, SPAN_ARG(buf_span(&out)), want);
        chat_collect_done(&c);
        buf_done(&out);
    }
}

/* A buffer that is full gets no half frame, and so does one without memory. */
static void test_no_half_frames(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct span want = quoted(&text, streams[i].want);
        for (size_t max = 1; max < want.n; max += 7) {
            struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
            struct buf out;
            struct err e = {0};
            bool ok = true;
            buf_init(&out, max);
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = dialect_anthropic_messages.write_event(w, &streams[i].events[k], &out, &e);
            assert_false(ok);
            assert_int_equal(e.cls, ERR_LIMIT);
            assert_true(out.n == 0 || span_ends(buf_span(&out), SPAN("\n\n")));
            assert_true(span_starts(want, buf_span(&out)));
            dialect_anthropic_messages.writer_free(w);
            buf_done(&out);
        }
    }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(64));
            mem_fail_at(n);
            struct dialect_writer *w = dialect_anthropic_messages.writer_new(&reply);
            bool ok = w != NULL;
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = dialect_anthropic_messages.write_event(w, &streams[i].events[k], &out, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            assert_true(ok || !w || e.cls == ERR_NOMEM);
            dialect_anthropic_messages.writer_free(w);
            buf_done(&out);
        }
    }
}

static void test_no_allocation_once_warm(void **state)
{
    static const struct chat_event events[] = {TEXT("abc"), THINK("h"),
                                               EV(MEMBER, .member = &members[0]), USAGE};
    struct dialect_reply r = reply;
    r.members = true;
    struct dialect_writer *w = dialect_anthropic_messages.writer_new(&r);
    struct buf out;
    buf_init(&out, KIB(64));
    for (int i = 0; i < 1000; i++) {
        for (size_t k = 0; k < COUNT_OF(events); k++)
            assert_true(dialect_anthropic_messages.write_event(w, &events[k], &out, NULL));
        buf_clear(&out);
        if (i == 0)
            mem_fail_at(1);
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    dialect_anthropic_messages.writer_free(w);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_no_half_frames),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_allocation_once_warm),
    };
    buf_init(&text, MIB(1));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    buf_done(&text);
    return failed;
}
