/* tests/unit/test_responses_writer.c - events -> what a client of Responses reads, event for event;
 * that every event has the members that OpenAI's schema demands; whole bodies; no half frame when a
 * buffer is full or memory runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "chat_log.h"
#include "json/json.h"

#define D          dialect_openai_responses
#define MAX_EVENTS 12
#define EV(k, ...)                                                                                 \
    {                                                                                              \
        .kind = CHAT_EV_##k, __VA_ARGS__                                                           \
    }
#define START         EV(START, .id = SPAN_INIT("up-1"), .model = SPAN_INIT("up"))
#define TEXT(t)       EV(TEXT, .text = SPAN_INIT(t))
#define USAGE         EV(USAGE, .usage = {.input = 3, .output = 2, .cost_nusd = 1500})
#define END(f)        EV(FINISH, .finish = CHAT_FINISH_##f)
#define TOOL(i, ...)  EV(TOOL, .index = i, __VA_ARGS__)
#define THINK(t, ...) EV(REASONING, .text = SPAN_INIT(t), __VA_ARGS__)

static const struct dialect_reply reply = {
    .id = SPAN_INIT("resp_x"), .model = SPAN_INIT("recipe"), .created = 1700000000};

/* --- a stream as a log ------------------------------------------------------------------------ */

/* What an event of each type must have beside type and sequence_number (OpenAI's schema). */
static const struct {
    const char *type, *members;
} required[] = {
    {"response.created", "response"},
    {"response.in_progress", "response"},
    {"response.completed", "response"},
    {"response.incomplete", "response"},
    {"response.failed", "response"},
    {"response.output_item.added", "output_index item"},
    {"response.output_item.done", "output_index item"},
    {"response.content_part.added", "item_id output_index content_index part"},
    {"response.content_part.done", "item_id output_index content_index part"},
    {"response.output_text.delta", "item_id output_index content_index delta logprobs"},
    {"response.output_text.done", "item_id output_index content_index text logprobs"},
    {"response.refusal.delta", "item_id output_index content_index delta"},
    {"response.refusal.done", "item_id output_index content_index refusal"},
    {"response.reasoning_summary_part.added", "item_id output_index summary_index part"},
    {"response.reasoning_summary_part.done", "item_id output_index summary_index part"},
    {"response.reasoning_summary_text.delta", "item_id output_index summary_index delta"},
    {"response.reasoning_summary_text.done", "item_id output_index summary_index text"},
    {"response.function_call_arguments.delta", "item_id output_index delta"},
    {"response.function_call_arguments.done", "item_id output_index name arguments"},
    {"response.fusion_call.in_progress", "item_id output_index"},
    {"response.fusion_call.panel.added", "item_id output_index model member"},
    {"response.fusion_call.panel.completed", "item_id output_index model member"},
    {"response.fusion_call.panel.failed", "item_id output_index model error member"},
    {"response.fusion_call.analysis.in_progress", "item_id output_index analyst_model judge_model"},
    {"response.fusion_call.analysis.completed", "item_id output_index analyst_model judge_model"},
    {"response.fusion_call.completed", "item_id output_index"},
    {"error", "code message param error"},
};

/* And the response object itself; the open form of the API asks for all of these. */
static const char object_members[] =
    "id object created_at completed_at status background error incomplete_details instructions "
    "max_output_tokens max_tool_calls metadata model output parallel_tool_calls presence_penalty "
    "frequency_penalty previous_response_id prompt_cache_key reasoning safety_identifier "
    "service_tier store temperature text tool_choice tools top_logprobs top_p truncation usage";

static void check_members(const char *type, json_val *v, const char *members)
{
    struct span rest = span_of(members), name;
    while (span_cut(&rest, ' ', &name))
        if (!json_get_span(v, name))
            fail_msg("%s has no %.*s", type, SPAN_ARG(name));
}

static void check_required(struct span type, json_val *v)
{
    for (size_t i = 0; i < COUNT_OF(required); i++)
        if (span_eq(span_of(required[i].type), type)) {
            check_members(required[i].type, v, required[i].members);
            if (json_get(v, "response"))
                check_members("response", json_get(v, "response"), object_members);
            return;
        }
    fail_msg("no such event: %.*s", SPAN_ARG(type));
}

static void log_object(struct buf *log, json_val *r)
{
    struct span reason = json_str(json_get(json_get(r, "incomplete_details"), "reason"));
    struct span code = json_str(json_get(json_get(r, "error"), "code"));
    assert_true(buf_addf(log, NULL, " %.*s", SPAN_ARG(json_str(json_get(r, "status")))));
    if (reason.n > 0 || code.n > 0)
        assert_true(buf_addf(log, NULL, "(%.*s)", SPAN_ARG(reason.n > 0 ? reason : code)));
    assert_true(buf_add_char(log, ' ', NULL));
    assert_true(json_write_val(log, json_get(r, "output"), NULL));
    int64_t in;
    if (json_i64(json_get(json_get(r, "usage"), "input_tokens"), &in))
        assert_true(buf_addf(log, NULL, " %lld", (long long)in));
}

/* "TYPE key=value ..." a line, without what each event has and without members of our own. */
static void log_frame(struct buf *log, struct span type, json_val *v)
{
    struct span key, at = span_starts(type, SPAN("response.")) ? span_from(type, 9) : type;
    json_val *x;
    assert_true(buf_add(log, at, NULL));
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (span_eq(key, SPAN("type")) || span_eq(key, SPAN("sequence_number")) ||
            span_eq(key, SPAN("logprobs")) || span_eq(key, SPAN("member")))
            continue;
        if (span_eq(key, SPAN("response"))) {
            log_object(log, x);
            continue;
        }
        bool index = span_ends(key, SPAN("_index"));
        assert_true(buf_addf(log, NULL, " %.*s=", SPAN_ARG(index ? span_upto(key, 1) : key)));
        assert_true(json_write_val(log, x, NULL));
    }
    assert_true(buf_add_char(log, '\n', NULL));
}

/* Whole frames: an event line that says the same as the data, numbered without a gap. */
static void log_stream(const char *name, struct span s, struct buf *log)
{
    for (int64_t n = 0, sequence; s.n > 0; n++) {
        AUTO(arena) a = arena_new(0);
        size_t end = span_index(s, SPAN("\n\n"));
        struct span frame = span_upto(s, end), line;
        struct err e;
        json_val *v = NULL;
        if (end == s.n)
            fail_msg("%s: half a frame: %.*s", name, SPAN_ARG(s));
        s = span_from(s, end + 2);
        assert_true(span_cut(&frame, '\n', &line) && span_starts(line, SPAN("event: ")));
        assert_true(span_starts(frame, SPAN("data: ")));
        if (!json_parse(a, span_from(frame, 6), &v, &e))
            fail_msg("%s: %s: %.*s", name, e.msg, SPAN_ARG(frame));
        struct span type = json_str(json_get(v, "type"));
        assert_true(span_eq(type, span_from(line, 7)));
        assert_true(json_i64(json_get(v, "sequence_number"), &sequence) && sequence == n);
        check_required(type, v);
        log_frame(log, type, v);
    }
}

/* --- streams ---------------------------------------------------------------------------------- */

#define BEGUN          "created in_progress []\nin_progress in_progress []\n"
#define ITEM(t, o, it) "output_item." t " o=" o " item={" it "}\n"
#define MSG(id, st, c)                                                                             \
    "\"type\":\"message\",\"id\":\"" id "\",\"status\":\"" st                                      \
    "\",\"role\":\"assistant\",\"content\":[" c "]"
#define PART(t)   "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":[],\"text\":\"" t "\"}"
#define NO(t)     "{\"type\":\"refusal\",\"refusal\":\"" t "\"}"
#define AT(id, o) " item_id=\"" id "\" o=" o
#define ADDED(id, o)                                                                               \
    ITEM("added", o, MSG(id, "in_progress", ""))                                                   \
    "content_part.added" AT(id, o) " c=0 part=" PART("") "\n"
#define DELTA(id, o, t) "output_text.delta" AT(id, o) " c=0 delta=\"" t "\"\n"
#define CLOSED(id, o, t, st)                                                                       \
    "output_text.done" AT(id, o) " c=0 text=\"" t "\"\ncontent_part.done" AT(                      \
        id, o) " c=0 part=" PART(t) "\n" ITEM("done", o, MSG(id, st, PART(t)))
#define RS(id, s, more) "\"type\":\"reasoning\",\"id\":\"" id "\",\"summary\":[" s "]" more
#define SUM(t)          "{\"type\":\"summary_text\",\"text\":\"" t "\"}"
#define THOUGHT(id, o, t, more)                                                                    \
    ITEM("added", o, RS(id, "", ""))                                                               \
    "reasoning_summary_part.added" AT(id, o) " s=0 part=" SUM(                                     \
        "") "\nreasoning_summary_text.delta" AT(id, o) " s=0 delta=\"" t "\"\n"                    \
                                                       "reasoning_summary_text.done" AT(           \
                                                           id, o) " s=0 text=\"" t "\"\n"          \
                                                                  "reasoning_summary_part."        \
                                                                  "done" AT(                       \
                                                                      id,                          \
                                                                      o) " s=0 "                   \
                                                                         "part=" SUM(t) "\n" ITEM( \
                                                                             "done", o,            \
                                                                             RS(id, SUM(t), more))
#define FC(id, st, c, n, a)                                                                        \
    "\"type\":\"function_call\",\"id\":\"" id "\",\"status\":\"" st "\",\"call_id\":\"" c          \
    "\",\"name\":\"" n "\",\"arguments\":\"" a "\""
#define ARG(id, o, a) "function_call_arguments.delta" AT(id, o) " delta=\"" a "\"\n"
#define ARGS(id, o, n, a)                                                                          \
    "function_call_arguments.done" AT(id, o) " name=\"" n "\" arguments=\"" a "\"\n"
#define REFUSE(id, o, c, t) "refusal.delta" AT(id, o) " c=" c " delta=\"" t "\"\n"
#define REFUSED(id, o, c, t)                                                                       \
    "refusal.done" AT(id, o) " c=" c " refusal=\"" t                                               \
                             "\"\ncontent_part.done" AT(id, o) " c=" c " part=" NO(t) "\n"
#define NO_ADDED(id, o, c) "content_part.added" AT(id, o) " c=" c " part=" NO("") "\n"
#define M0                 "msg_x_0"
#define M1                 "msg_x_1"

static const struct {
    const char *name;
    struct chat_event events[MAX_EVENTS];
    size_t n;
    const char *want;
} streams[] = {
    {"text",
     {START, TEXT("Hel"), TEXT(""), TEXT("lo"), USAGE, END(STOP), TEXT("late")},
     7,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "Hel") DELTA(M0, "0", "lo")
         CLOSED(M0, "0", "Hello",
                "completed") "completed completed [{" MSG(M0, "completed", PART("Hello")) "}] 3\n"},
    {"no usage is 0 tokens",
     {START, TEXT("a"), END(STOP)},
     3,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a")
         CLOSED(M0, "0", "a", "completed") "completed completed [{" MSG(M0, "completed",
                                                                        PART("a")) "}] 0\n"},
    {"nothing said",
     {START, USAGE, END(STOP)},
     3,
     BEGUN ADDED(M0, "0") CLOSED(M0, "0", "", "completed") "completed completed [{" MSG(
         M0, "completed", PART("")) "}] 3\n"},
    {"cut",
     {START, TEXT("a"), USAGE, END(LENGTH)},
     4,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a")
         CLOSED(M0, "0", "a", "incomplete") "incomplete incomplete(max_output_tokens) [{" MSG(
             M0, "incomplete", PART("a")) "}] 3\n"},
    {"filtered",
     {START, TEXT("a"), USAGE, END(CONTENT_FILTER)},
     4,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a")
         CLOSED(M0, "0", "a", "incomplete") "incomplete incomplete(content_filter) [{" MSG(
             M0, "incomplete", PART("a")) "}] 3\n"},
    {"refused without a word",
     {START, USAGE, END(REFUSAL)},
     3,
     BEGUN ADDED(M0, "0")
         CLOSED(M0, "0", "", "incomplete") "incomplete incomplete(content_filter) [{" MSG(
             M0, "incomplete", PART("")) "}] 3\n"},
    {"refusal",
     {START, EV(REFUSAL, .text = SPAN_INIT("n")), EV(REFUSAL, .text = SPAN_INIT("o")), USAGE,
      END(REFUSAL)},
     5,
     BEGUN ITEM("added", "0", MSG(M0, "in_progress", "")) NO_ADDED(M0, "0", "0")
         REFUSE(M0, "0", "0", "n") REFUSE(M0, "0", "0", "o") REFUSED(M0, "0", "0", "no")
             ITEM("done", "0", MSG(M0, "completed", NO("no"))) "completed completed [{" MSG(
                 M0, "completed", NO("no")) "}] 3\n"},
    {"text, refusal, text",
     {START, TEXT("a"), EV(REFUSAL, .text = SPAN_INIT("n")), TEXT("b"), USAGE, END(STOP)},
     6,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a") NO_ADDED(M0, "0", "1") REFUSE(M0, "0", "1", "n")
         DELTA(M0, "0", "b") "output_text.done" AT(
             M0, "0") " c=0 text=\"ab\"\n"
                      "content_part.done" AT(M0, "0") " c=0 part=" PART("ab") "\n" REFUSED(M0, "0",
                                                                                           "1", "n")
                          ITEM("done", "0",
                               MSG(M0, "completed",
                                   PART("ab") "," NO(
                                       "n"))) "completed completed [{" MSG(M0, "completed",
                                                                           PART("ab") "," NO(
                                                                               "n")) "}] 3\n"},
    {"reasoning of OpenAI's, under its own id",
     {START, THINK("h", .id = SPAN_INIT("rs_up")),
      THINK("", .id = SPAN_INIT("rs_up"), .signature = SPAN_INIT("E"),
            .format = SPAN_INIT("openai-responses-v1")),
      TEXT("a"), USAGE, END(STOP)},
     6,
     BEGUN THOUGHT("rs_up", "0", "h", ",\"encrypted_content\":\"E\"") ADDED(M1, "1")
         DELTA(M1, "1", "a") CLOSED(M1, "1", "a", "completed") "completed completed [{" RS(
             "rs_up", SUM("h"), ",\"encrypted_content\":\"E\"") "},{" MSG(M1, "completed",
                                                                          PART("a")) "}] 3\n"},
    {"reasoning of another's, packed",
     {START, THINK("h", .signature = SPAN_INIT("S:1"), .format = SPAN_INIT("anthropic-claude-v1")),
      TEXT("a"), USAGE, END(STOP)},
     5,
     BEGUN THOUGHT("rs_x_0", "0", "h",
                   ",\"encrypted_content\":\"fusor1:anthropic-claude-v1::S:1\"") ADDED(M1, "1")
         DELTA(M1, "1", "a") CLOSED(M1, "1", "a", "completed") "completed completed [{" RS(
             "rs_x_0", SUM("h"),
             ",\"encrypted_content\":\"fusor1:anthropic-claude-v1::S:1\"") "},"
                                                                           "{" MSG(
                                                                               M1,
                                                                               "completed",
                                                                               PART("a")) "}] 3\n"},
    {"an id that no client takes goes with the signature",
     {START,
      THINK("", .id = SPAN_INIT("r/1"), .signature = SPAN_INIT("E"),
            .format = SPAN_INIT("openai-responses-v1")),
      USAGE, END(LENGTH)},
     4,
     BEGUN ITEM("added", "0", RS("rs_x_0", "", "")) ITEM(
         "done", "0",
         RS("rs_x_0", "",
            ",\"encrypted_content\":\"fusor1:openai-responses-v1:r/1:E\"")) "incomplete "
                                                                            "incomplete(max_"
                                                                            "output_tokens) "
                                                                            "[{" RS("rs_x_0", "",
                                                                                    ",\"encrypt"
                                                                                    "ed_"
                                                                                    "content\":"
                                                                                    "\"fusor1:"
                                                                                    "openai-"
                                                                                    "responses-"
                                                                                    "v1:r/"
                                                                                    "1:E\"") "}"
                                                                                             "]"
                                                                                             " "
                                                                                             "3"
                                                                                             "\n"},
    {"reasoning between texts",
     {START, TEXT("a"), THINK("h"), TEXT("b"), USAGE, END(STOP)},
     6,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a") CLOSED(M0, "0", "a", "completed")
         THOUGHT("rs_x_1", "1", "h", "") ADDED("msg_x_2", "2") DELTA("msg_x_2", "2", "b")
             CLOSED("msg_x_2", "2", "b", "completed") "completed completed [{" MSG(
                 M0, "completed", PART("a")) "},{" RS("rs_x_1", SUM("h"),
                                                      "") "},{" MSG("msg_x_2", "completed",
                                                                    PART("b")) "}] 3\n"},
    {"calls beside each other",
     {START, TEXT("a"), TOOL(0, .tool_id = SPAN_INIT("c0"), .tool_name = SPAN_INIT("f")),
      TOOL(1, .tool_id = SPAN_INIT("c1"), .tool_name = SPAN_INIT("g")),
      TOOL(0, .arguments = SPAN_INIT("{")), TOOL(1, .arguments = SPAN_INIT("[]")),
      TOOL(0, .arguments = SPAN_INIT("}")), TOOL(0, .tool_done = true), TOOL(1, .tool_done = true),
      USAGE, END(TOOL_CALLS)},
     11,
     BEGUN ADDED(M0, "0") DELTA(M0, "0", "a") CLOSED(M0, "0", "a", "completed") ITEM(
         "added", "1", FC("fc_x_1", "in_progress", "c0", "f", "")) ITEM("added", "2",
                                                                        FC("fc_x_2", "in_progress",
                                                                           "c1", "g", ""))
         ARG("fc_x_1", "1", "{") ARG("fc_x_2", "2", "[]") ARG("fc_x_1", "1", "}") ARGS(
             "fc_x_1", "1", "f", "{}") ITEM("done", "1", FC("fc_x_1", "completed", "c0", "f", "{}"))
             ARGS("fc_x_2", "2", "g", "[]") ITEM(
                 "done",
                 "2",
                 FC("fc_x_2", "completed", "c1", "g",
                    "[]")) "completed completed [{" MSG(M0, "completed",
                                                        PART(
                                                            "a")) "},{" FC("fc_x_1", "completed",
                                                                           "c0",
                                                                           "f",
                                                                           "{}") "},{" FC("fc_x_2",
                                                                                          "complete"
                                                                                          "d",
                                                                                          "c1", "g",
                                                                                          "[]") "}]"
                                                                                                " "
                                                                                                "3"
                                                                                                "\n"},
    {"a name that comes late, and a signature",
     {START, TOOL(0, .arguments = SPAN_INIT("{")),
      TOOL(0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("}"),
           .signature = SPAN_INIT("T"), .tool_done = true),
      USAGE, END(STOP)},
     5,
     BEGUN ITEM("added", "0", FC("fc_x_0", "in_progress", "c", "f", "")) ARG("fc_x_0", "0", "{}")
         ARGS("fc_x_0", "0", "f", "{}")
             ITEM("done", "0",
                  FC("fc_x_0", "completed", "c", "f",
                     "{}") ",\"extra_content\":{\"google\":{"
                           "\"thought_signature\":\"T\"}}") "completed completed "
                                                            "[{" FC("fc_x_0", "completed", "c", "f",
                                                                    "{}") ",\"extra_"
                                                                          "content\":"
                                                                          "{\"google"
                                                                          "\":{"
                                                                          "\"thought_"
                                                                          "signature"
                                                                          "\":\"T\"}}"
                                                                          "}] 3\n"},
    {"a call that a limit has cut is in no answer",
     {START,
      TOOL(0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"),
           .arguments = SPAN_INIT("{\"a")),
      USAGE, END(LENGTH)},
     4,
     BEGUN ITEM("added", "0", FC("fc_x_0", "in_progress", "c", "f", ""))
         ARG("fc_x_0", "0", "{\\\"a") "incomplete incomplete(max_output_tokens) [] 3\n"},
    {"one whole, one cut",
     {START,
      TOOL(0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}"),
           .tool_done = true),
      TOOL(1, .tool_id = SPAN_INIT("d"), .tool_name = SPAN_INIT("g"), .arguments = SPAN_INIT("{")),
      USAGE, END(LENGTH)},
     5,
     BEGUN ITEM("added", "0", FC("fc_x_0", "in_progress", "c", "f", "")) ARG("fc_x_0", "0", "{}")
         ARGS("fc_x_0", "0", "f", "{}") ITEM("done", "0", FC("fc_x_0", "completed", "c", "f", "{}"))
             ITEM("added", "1", FC("fc_x_1", "in_progress", "d", "g", ""))
                 ARG("fc_x_1", "1", "{") "incomplete incomplete(max_output_tokens) [{" FC(
                     "fc_x_0", "completed", "c", "f", "{}") "}] 3\n"},
    {"a call that ends with the answer",
     {START,
      TOOL(0, .tool_id = SPAN_INIT("c"), .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}")),
      USAGE, END(TOOL_CALLS)},
     4,
     BEGUN ITEM("added", "0", FC("fc_x_0", "in_progress", "c", "f", "")) ARG(
         "fc_x_0", "0", "{}") ARGS("fc_x_0", "0", "f", "{}")
         ITEM("done", "0", FC("fc_x_0", "completed", "c", "f", "{}")) "completed completed [{" FC(
             "fc_x_0", "completed", "c", "f", "{}") "}] 3\n"},
};

static void run_stream(const struct dialect_reply *r, const struct chat_event *events, size_t n,
                       struct buf *out)
{
    struct dialect_writer *w = D.writer_new(r);
    struct err e;
    assert_non_null(w);
    for (size_t k = 0; k < n; k++)
        if (!D.write_event(w, &events[k], out, &e))
            fail_msg("event %zu: %s", k, e.msg);
    D.writer_free(w);
}

static void test_streams(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct buf out, log;
        buf_init(&out, KIB(256));
        buf_init(&log, KIB(64));
        run_stream(&reply, streams[i].events, streams[i].n, &out);
        log_stream(streams[i].name, buf_span(&out), &log);
        if (!span_eq(buf_span(&log), span_of(streams[i].want)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&log)),
                     streams[i].want);
        buf_done(&out);
        buf_done(&log);
    }
}

/* Ids that are missing, unfit or there twice are made anew, the same in a stream and in a body. */
static void test_ids(void **state)
{
    static const struct chat_event events[] = {
        START,
        TOOL(0, .tool_name = SPAN_INIT("f"), .arguments = SPAN_INIT("{}"), .tool_done = true),
        TOOL(1, .tool_id = SPAN_INIT("call:x/1"), .tool_name = SPAN_INIT("f"),
             .arguments = SPAN_INIT("{}"), .tool_done = true),
        TOOL(2, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
             .arguments = SPAN_INIT("{}"), .tool_done = true),
        TOOL(3, .tool_id = SPAN_INIT("same"), .tool_name = SPAN_INIT("f"),
             .arguments = SPAN_INIT("{}"), .tool_done = true),
        THINK("a", .id = SPAN_INIT("rs_same"), .signature = SPAN_INIT("1")),
        THINK("b", .id = SPAN_INIT("rs_same"), .signature = SPAN_INIT("2")),
        END(TOOL_CALLS),
    };
    struct chat_collect c, streamed, body;
    struct dialect_reader *rd = D.reader_new();
    struct buf out, whole;
    struct err e;
    buf_init(&out, KIB(256));
    buf_init(&whole, KIB(64));
    chat_collect_init(&c, KIB(64));
    chat_collect_init(&streamed, KIB(64));
    chat_collect_init(&body, KIB(64));
    run_stream(&reply, events, COUNT_OF(events), &out);
    for (size_t k = 0; k < COUNT_OF(events); k++)
        assert_true(chat_collect_event(&c, &events[k], &e));
    feed_lines_of(&D, buf_span(&out), NULL, &streamed);
    assert_true(D.write_unary(&reply, &c, &whole, &e));
    assert_true(D.reader_body(rd, buf_span(&whole), &e));
    assert_true(drain_of(&D, rd, NULL, NULL, &body));
    assert_true(streamed.n_tools == 4 && body.n_tools == 4 && streamed.n_blocks == 2);
    for (size_t i = 0; i < 4; i++) {
        struct span id = buf_span(&streamed.tools[i].id);
        assert_true(i == 2 ? span_eq(id, SPAN("same")) : id.n == 9);
        assert_true(span_eq(id, buf_span(&body.tools[i].id)));
        for (size_t k = 0; k < i; k++)
            assert_false(span_eq(id, buf_span(&streamed.tools[k].id)));
    }
    D.reader_free(rd);
    chat_collect_done(&c);
    chat_collect_done(&streamed);
    chat_collect_done(&body);
    buf_done(&out);
    buf_done(&whole);
}

/* --- what is said back ------------------------------------------------------------------------ */

static void test_echo(void **state)
{
    static const char in[] =
        "{\"model\":\"m\",\"instructions\":\"be\",\"input\":\"hi\",\"temperature\":0.50,\"top_p\":"
        "1,"
        "\"max_output_tokens\":9,\"metadata\":{\"k\":\"v\"},\"user\":\"u\",\"previous_response_"
        "id\":"
        "\"resp_0\",\"store\":true,\"parallel_tool_calls\":false,\"reasoning\":{\"effort\":\"low\","
        "\"summary\":\"auto\"},\"text\":{\"verbosity\":\"high\",\"format\":{\"type\":\"json_"
        "schema\","
        "\"name\":\"n\",\"schema\":{}}},\"tools\":[{\"type\":\"function\",\"name\":\"f\"},{"
        "\"type\":"
        "\"web_search\"}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},"
        "\"prompt_cache_key\":\"pk\",\"max_tool_calls\":3,\"truncation\":\"auto\"}";
    static const char want[] =
        "\"instructions\":\"be\",\"max_output_tokens\":9,\"max_tool_calls\":3,\"metadata\":{\"k\":"
        "\"v\"},\"parallel_tool_calls\":false,\"presence_penalty\":0,\"frequency_penalty\":0,"
        "\"previous_response_id\":\"resp_0\",\"prompt_cache_key\":\"pk\",\"safety_identifier\":"
        "null,"
        "\"service_tier\":\"default\",\"store\":true,\"temperature\":0.50,\"top_p\":1,"
        "\"top_logprobs\":0,\"text\":{\"format\":{\"type\":\"json_schema\",\"name\":\"n\","
        "\"description\":null,\"schema\":{},\"strict\":false},\"verbosity\":\"high\"},"
        "\"reasoning\":{\"effort\":\"low\",\"summary\":\"auto\"},\"tools\":[{\"type\":\"function\","
        "\"name\":\"f\",\"description\":null,\"parameters\":null,\"strict\":null},{\"type\":"
        "\"web_search\"}],\"tool_choice\":{\"type\":\"function\",\"name\":\"f\"},\"truncation\":"
        "\"auto\",\"user\":\"u\"}";
    AUTO(arena) a = arena_new(0);
    struct chat_request r;
    struct buf out;
    struct err e;
    struct dialect_reply said = reply;
    assert_true(D.read_request(a, span_of(in), &r, &e));
    said.request = &r;
    buf_init(&out, KIB(64));
    run_stream(&said, streams[0].events, 2, &out);
    size_t at = span_index(buf_span(&out), SPAN("\"instructions\""));
    struct span got = span_upto(span_from(buf_span(&out), at), sizeof want - 1);
    if (!span_eq(got, span_of(want)))
        fail_msg("got %.*s", SPAN_ARG(got));
    buf_done(&out);
}

static void test_errors(void **state)
{
    struct err err, e;
    struct buf out, log;
    buf_init(&out, KIB(64));
    buf_init(&log, KIB(64));
    err_field(&err, "input[0].role", "bad");
    assert_true(D.write_error(&err, &out, &e));
    assert_true(span_eq(buf_span(&out),
                        SPAN("{\"error\":{\"message\":\"bad\",\"type\":\"invalid_request_error\","
                             "\"param\":\"input[0].role\",\"code\":\"invalid_request\"}}")));
    buf_clear(&out);
    err_set(&err, ERR_BUSY, "full");
    err.retry_after_ms = 1200;
    struct chat_event events[] = {START,     TEXT("a"), USAGE, EV(ERROR, .err = &err),
                                  TEXT("b"), END(STOP)};
    run_stream(&reply, events, COUNT_OF(events), &out);
    log_stream("error", buf_span(&out), &log);
    if (!span_ends(
            buf_span(&log),
            SPAN(DELTA(M0, "0",
                       "a") "error code=\"rate_limit_exceeded\" message=\"full\" "
                            "param=null error={\"message\":\"full\",\"type\":\"rate_limit_error\","
                            "\"param\":null,\"code\":\"rate_limit_exceeded\",\"status\":429,"
                            "\"retry_after\":2}\nfailed failed(rate_limit_exceeded) [] 3\n")))
        fail_msg("got %.*s", SPAN_ARG(buf_span(&log)));
    buf_done(&out);
    buf_done(&log);
}

/* The code in the response object is one of the book's. */
static void test_error_codes(void **state)
{
    static const struct {
        enum err_class cls;
        const char *code, *want;
    } codes[] = {
        {ERR_INPUT, "unsupported_value", "invalid_prompt"},
        {ERR_INPUT, "context_length_exceeded", "context_length_exceeded"},
        {ERR_BUDGET, "upstream_credit", "insufficient_quota"},
        {ERR_BUSY, "queue_full", "rate_limit_exceeded"},
        {ERR_UPSTREAM, "upstream_auth", "server_error"},
        {ERR_CUT, "upstream_cut", "server_error"},
    };
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct err err;
        struct buf out, log;
        char want[80];
        buf_init(&out, KIB(64));
        buf_init(&log, KIB(64));
        err_set(&err, codes[i].cls, "x");
        err_with_code(&err, codes[i].code);
        struct chat_event ev = EV(ERROR, .err = &err);
        run_stream(&reply, &ev, 1, &out);
        log_stream("code", buf_span(&out), &log);
        snprintf(want, sizeof want, "failed failed(%s) []\n", codes[i].want);
        if (!span_ends(buf_span(&log), span_of(want)) ||
            span_index(buf_span(&log), span_of(codes[i].code)) == log.n)
            fail_msg("got %.*s", SPAN_ARG(buf_span(&log)));
        buf_done(&out);
        buf_done(&log);
    }
}

/* --- fusions ---------------------------------------------------------------------------------- */

#define MEMBER(l, s, ...)                                                                          \
    {                                                                                              \
        .label = SPAN_INIT(l), .model = SPAN_INIT("p/" l), .state = CHAT_MEMBER_##s,               \
        .usage = {.cost_nusd = -1}, .ttft_us = -1, .total_us = -1, __VA_ARGS__                     \
    }

static const struct chat_member fusion_members[] = {MEMBER("A", STARTED),
                                                    MEMBER("B", STARTED),
                                                    MEMBER("A", STREAMING),
                                                    MEMBER("A", OK),
                                                    MEMBER("B", ABANDONED, .reason = "quorum"),
                                                    MEMBER("J", STARTED, .judge = true),
                                                    MEMBER("J", OK, .judge = true)};
static const struct chat_fusion_report fusion_report = {
    .id = SPAN_INIT("fus_9"), .mode = "merge", .agreement = -1, .planned_nusd = -1};
static const struct chat_event fusion_events[] = {
    START,
    EV(MEMBER, .member = &fusion_members[0]),
    EV(MEMBER, .member = &fusion_members[1]),
    EV(MEMBER, .member = &fusion_members[2]),
    EV(MEMBER, .member = &fusion_members[3]),
    EV(MEMBER, .member = &fusion_members[4]),
    EV(MEMBER, .member = &fusion_members[5]),
    TEXT("a"),
    EV(MEMBER, .member = &fusion_members[6]),
    EV(USAGE, .usage = {.input = 7, .cost_nusd = 1}, .report = &fusion_report),
    END(STOP)};
#define F         "fusion_x_0"
#define FITEM(st) "\"type\":\"openrouter:fusion\",\"id\":\"" F "\",\"status\":\"" st "\""
static const char fusion_want[] =
    BEGUN ITEM("added", "0", FITEM("in_progress")) "fusion_call.in_progress" AT(
        F,
        "0") "\n"
             "fusion_call.panel.added" AT(
                 F,
                 "0") " model=\"p/A\"\n"
                      "fusion_call.panel.added" AT(
                          F,
                          "0") " model=\"p/B\"\n"
                               "fusion_call.panel.completed" AT(
                                   F,
                                   "0") " model=\"p/A\"\n"
                                        "fusion_call.panel.failed" AT(
                                            F,
                                            "0") " model=\"p/B\" error=\"quorum\"\n"
                                                 "fusion_call.analysis.in_progress" AT(
                                                     F,
                                                     "0") " model=\"p/J\" "
                                                          "analyst_model=\"p/J\" "
                                                          "judge_model=\"p/J\"\n" ADDED(M1, "1") DELTA(
                                                              M1, "1",
                                                              "a") "fusion_call."
                                                                   "analysis."
                                                                   "complete"
                                                                   "d" AT(
                                                                       F,
                                                                       "0") " model=\"p/"
                                                                            "J\" "
                                                                            "analyst_"
                                                                            "model=\"p/"
                                                                            "J\" "
                                                                            "judge_model="
                                                                            "\"p/"
                                                                            "J\""
                                                                            "\n" CLOSED(
                                                                                M1, "1", "a",
                                                                                "complete"
                                                                                "d") "fus"
                                                                                     "ion"
                                                                                     "_ca"
                                                                                     "ll."
                                                                                     "com"
                                                                                     "ple"
                                                                                     "te"
                                                                                     "d" AT(F, "0") "\n" ITEM("done", "0", FITEM("completed")) "completed completed [{" FITEM(
                                                                                         "co"
                                                                                         "mp"
                                                                                         "le"
                                                                                         "te"
                                                                                         "d") "},"
                                                                                              "{" MSG(
                                                                                                  M1,
                                                                                                  "completed",
                                                                                                  PART(
                                                                                                      "a")) "}] 7\n";

static void test_fusion(void **state)
{
    for (int progress = 0; progress < 2; progress++) {
        struct dialect_reply r = reply;
        struct buf out, log;
        buf_init(&out, KIB(64));
        buf_init(&log, KIB(64));
        r.members = progress;
        run_stream(&r, fusion_events, COUNT_OF(fusion_events), &out);
        log_stream("fusion", buf_span(&out), &log);
        bool any = span_index(buf_span(&log), SPAN("fusion_call")) < log.n;
        if (progress ? !span_eq(buf_span(&log), SPAN(fusion_want)) : any)
            fail_msg("got %.*s\nwant %s", SPAN_ARG(buf_span(&log)), fusion_want);
        assert_true(span_index(buf_span(&out),
                               SPAN("\"cost\":0.000000001,\"fusion\":{\"members\"")) < out.n);
        buf_done(&out);
        buf_done(&log);
    }
}

/* --- bodies ----------------------------------------------------------------------------------- */

/* What a stream ends with is what a body says, where the items come in the same order. */
static void test_bodies(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct chat_collect c;
        struct buf out, log;
        struct err e;
        json_val *v;
        AUTO(arena) a = arena_new(0);
        if (strstr(streams[i].name, "between"))
            continue;
        chat_collect_init(&c, KIB(64));
        buf_init(&out, KIB(64));
        buf_init(&log, KIB(64));
        for (size_t k = 0; k < streams[i].n && !c.ended; k++)
            assert_true(chat_collect_event(&c, &streams[i].events[k], &e));
        assert_true(D.write_unary(&reply, &c, &out, &e));
        assert_true(json_parse(a, buf_span(&out), &v, &e));
        check_members("body", v, object_members);
        log_object(&log, v);
        assert_true(buf_add_char(&log, '\n', &e));
        /* A body never shows a call that was cut, so an answer with a whole one is complete. */
        if (strcmp(streams[i].name, "one whole, one cut") != 0 &&
            !span_ends(span_of(streams[i].want), buf_span(&log)))
            fail_msg("%s:\n got %.*s\nwant %s", streams[i].name, SPAN_ARG(buf_span(&log)),
                     streams[i].want);
        chat_collect_done(&c);
        buf_done(&out);
        buf_done(&log);
    }
}

/* --- full buffers and memory ------------------------------------------------------------------ */

static void test_no_half_frames(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        struct buf whole;
        buf_init(&whole, KIB(256));
        run_stream(&reply, streams[i].events, streams[i].n, &whole);
        for (size_t max = 1; max < whole.n; max += 97) {
            struct dialect_writer *w = D.writer_new(&reply);
            struct buf out;
            struct err e = {0};
            bool ok = true;
            buf_init(&out, max);
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = D.write_event(w, &streams[i].events[k], &out, &e);
            assert_false(ok);
            assert_int_equal(e.cls, ERR_LIMIT);
            assert_true(out.n == 0 || span_ends(buf_span(&out), SPAN("\n\n")));
            assert_true(span_starts(buf_span(&whole), buf_span(&out)));
            D.writer_free(w);
            buf_done(&out);
        }
        buf_done(&whole);
    }
}

static void test_no_memory(void **state)
{
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        bool failed = true;
        for (unsigned long n = 1; failed; n++) {
            struct chat_collect c;
            struct buf out;
            struct err e = {0};
            buf_init(&out, KIB(256));
            chat_collect_init(&c, KIB(64));
            mem_fail_at(n);
            struct dialect_writer *w = D.writer_new(&reply);
            bool ok = w != NULL;
            for (size_t k = 0; ok && k < streams[i].n; k++)
                ok = D.write_event(w, &streams[i].events[k], &out, &e) &&
                     (c.ended || chat_collect_event(&c, &streams[i].events[k], &e));
            ok = ok && D.write_unary(&reply, &c, &out, &e);
            failed = mem_failed();
            mem_fail_at(0);
            assert_true(ok == !failed);
            assert_true(ok || !w || e.cls == ERR_NOMEM);
            D.writer_free(w);
            chat_collect_done(&c);
            buf_done(&out);
        }
    }
}

/* Deltas take no memory of their own: only the answer that is kept grows, by doubling. */
static void test_few_allocations(void **state)
{
    static const struct chat_event text = TEXT("abcdefghij"), start = START;
    struct dialect_writer *w = D.writer_new(&reply);
    struct buf out;
    buf_init(&out, KIB(64));
    assert_true(D.write_event(w, &start, &out, NULL));
    for (int i = 0; i < 1100; i++) { /* 11,000 bytes: kept in 16 KiB or more */
        assert_true(D.write_event(w, &text, &out, NULL));
        buf_clear(&out);
    }
    mem_fail_at(1);
    for (int i = 0; i < 500; i++) {
        assert_true(D.write_event(w, &text, &out, NULL));
        buf_clear(&out);
    }
    assert_false(mem_failed());
    mem_fail_at(0);
    D.writer_free(w);
    buf_done(&out);
}

/* An answer of more items than anybody means ends in an error. */
static void test_too_many_items(void **state)
{
    static const struct chat_event text = TEXT("a"), thought = THINK("h");
    struct dialect_writer *w = D.writer_new(&reply);
    struct buf out;
    struct err e = {0};
    bool ok = true;
    buf_init(&out, KIB(64));
    for (int i = 0; ok && i < 5000; i++) {
        ok = D.write_event(w, i % 2 ? &thought : &text, &out, &e);
        buf_clear(&out);
    }
    assert_true(!ok && e.cls == ERR_LIMIT);
    D.writer_free(w);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),        cmocka_unit_test(test_ids),
        cmocka_unit_test(test_echo),           cmocka_unit_test(test_errors),
        cmocka_unit_test(test_error_codes),    cmocka_unit_test(test_fusion),
        cmocka_unit_test(test_bodies),         cmocka_unit_test(test_no_half_frames),
        cmocka_unit_test(test_no_memory),      cmocka_unit_test(test_few_allocations),
        cmocka_unit_test(test_too_many_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
