/* bench/mock_answer.c - see mock_answer.h. */
#include "mock_answer.h"

#include "base/limits.h"
#include "base/mem.h"

#define ANSWER_MAX MIB(64)
#define TEXT_MAX   MIB(48)

static const char *const reasons[] = {"OK", "Bad Request", "Not Found"};

static const char *reason_of(int status)
{
    return reasons[status == 200 ? 0 : status == 404 ? 2 : 1];
}

static struct mock_answer *answer_new(const struct shape *s, unsigned max_steps)
{
    struct mock_answer *a = mem_zalloc(sizeof *a);
    bench_must(a != NULL, "an answer");
    if (s)
        a->shape = *s;
    buf_init(&a->bytes, ANSWER_MAX);
    a->ends = mem_zalloc(max_steps * sizeof *a->ends);
    bench_must(a->ends != NULL, "an answer");
    return a;
}

void mock_answer_free(struct mock_answer *a)
{
    if (!a)
        return;
    buf_done(&a->bytes);
    mem_free(a->ends);
    mem_free(a);
}

static void end_step(struct mock_answer *a)
{
    a->ends[a->n_steps++] = a->bytes.n;
}

/* --- the text --------------------------------------------------------------------------------- */

/* The labels that a deciding judge is asked for stand in `{"scores": {"A": <0-10>, "B": ...`, which
 * is itself inside a JSON string here. The first is the best by far, so nobody asks again. */
static void add_verdict(struct span request, struct buf *out)
{
    size_t at = span_rindex(request, SPAN("\\\"scores\\\": {"));
    struct span rest = span_from(request, at + SPAN("\\\"scores\\\": {").n);
    struct span list = span_upto(rest, span_index(rest, SPAN("}")));
    char first = 0;
    bool ok = buf_add(out, SPAN("{\\\"scores\\\": {"), NULL);
    while (list.n > 0) {
        size_t mark = span_index(list, SPAN("\\\": <"));
        if (mark == list.n || mark == 0)
            break;
        char label = list.p[mark - 1];
        ok = ok && buf_addf(out, NULL, "%s\\\"%c\\\": %d", first ? ", " : "", label, first ? 3 : 9);
        first = first ? first : label;
        list = span_from(list, mark + 1);
    }
    ok = ok && buf_addf(out, NULL, "}, \\\"best\\\": \\\"%c\\\"}", first ? first : '?');
    bench_must(ok, "a verdict");
}

static void add_text(const struct shape *s, struct span request, struct buf *out)
{
    if (s->verdict)
        add_verdict(request, out);
    else
        for (unsigned i = 0; i < shape_count(s); i++)
            shape_piece(s, i, out);
}

static bool add_usage(const struct shape *s, struct span request, struct buf *out)
{
    unsigned in = (unsigned)(request.n / 4 + 1), output = shape_count(s) + 1;
    return buf_addf(out, NULL,
                    "{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
                    "\"prompt_tokens_details\":{\"cached_tokens\":0},"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":0}}",
                    in, output, in + output);
}

/* --- a whole body ----------------------------------------------------------------------------- */

static void add_head(struct mock_answer *a, int status, size_t length)
{
    bench_must(buf_addf(&a->bytes, NULL,
                        "HTTP/1.1 %d %s\r\ncontent-type: application/json\r\n"
                        "content-length: %zu\r\nx-request-id: req_mock\r\n\r\n",
                        status, reason_of(status), length),
               "a head");
}

struct mock_answer *mock_answer_json(int status, struct span body)
{
    struct mock_answer *a = answer_new(NULL, 1);
    add_head(a, status, body.n);
    bench_must(buf_add(&a->bytes, body, NULL), "a body");
    end_step(a);
    return a;
}

static struct mock_answer *whole(struct span id, const struct shape *s, struct span request)
{
    struct mock_answer *a = answer_new(s, 1);
    struct buf body;
    buf_init(&body, TEXT_MAX);
    bool ok = buf_addf(&body, NULL,
                       "{\"id\":\"chatcmpl-0123456789012345678901234567\",\"object\":"
                       "\"chat.completion\",\"created\":1764000000,\"model\":\"%.*s\",\"choices\":["
                       "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"",
                       SPAN_ARG(id));
    add_text(s, request, &body);
    ok = ok && buf_add(&body,
                       SPAN("\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}],"
                            "\"usage\":"),
                       NULL);
    ok = ok && add_usage(s, request, &body) && buf_add_char(&body, '}', NULL);
    add_head(a, 200, body.n);
    bench_must(ok && buf_add(&a->bytes, buf_span(&body), NULL), "a body");
    buf_done(&body);
    end_step(a);
    return a;
}

/* --- a stream --------------------------------------------------------------------------------- */

struct framer {
    struct mock_answer *a;
    struct span id;
    struct buf frame;
    bool usage; /* usage is null on every frame but the last, as OpenAI sends it */
};

/* One frame, one chunk of HTTP: what every server does that writes frame by frame. */
static void add_frame(struct framer *f)
{
    bench_must(
        buf_addf(&f->a->bytes, NULL, "%zx\r\n%.*s\r\n", f->frame.n, SPAN_ARG(buf_span(&f->frame))),
        "a frame");
    buf_clear(&f->frame);
}

static void open_frame(struct framer *f)
{
    bench_must(buf_addf(&f->frame, NULL,
                        "data: {\"id\":\"chatcmpl-0123456789012345678901234567\",\"object\":"
                        "\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"%.*s\","
                        "\"system_fingerprint\":\"fp_0123456789\",\"choices\":[",
                        SPAN_ARG(f->id)),
               "a frame");
}

static void close_frame(struct framer *f)
{
    bench_must(buf_add(&f->frame, f->usage ? SPAN("],\"usage\":null}\n\n") : SPAN("]}\n\n"), NULL),
               "a frame");
    add_frame(f);
}

/* delta opens the delta's text and close ends it; the text is the i-th piece, none when past. */
static void delta_frame(struct framer *f, const char *open, unsigned i, struct span request)
{
    const struct shape *s = &f->a->shape;
    open_frame(f);
    bench_must(buf_addf(&f->frame, NULL, "{\"index\":0,\"delta\":{%s", open), "a frame");
    if (s->verdict && i == 0)
        add_verdict(request, &f->frame);
    else if (i < shape_count(s))
        shape_piece(s, i, &f->frame);
    bench_must(buf_add(&f->frame, SPAN("\"},\"logprobs\":null,\"finish_reason\":null}"), NULL),
               "a frame");
    close_frame(f);
}

/* A call as OpenAI sends it: id and name with the first piece, then arguments alone. */
static void call_frames(struct framer *f)
{
    const struct shape *s = &f->a->shape;
    for (unsigned i = 0; i < s->args; i++) {
        open_frame(f);
        bench_must(
            buf_addf(&f->frame, NULL, "{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,%s",
                     i == 0 ? "\"id\":\"call_0123456789\",\"type\":\"function\",\"function\":"
                              "{\"name\":\"tool_0\",\"arguments\":\""
                            : "\"function\":{\"arguments\":\""),
            "a frame");
        shape_args_piece(s, i, &f->frame);
        bench_must(
            buf_add(&f->frame, SPAN("\"}}]},\"logprobs\":null,\"finish_reason\":null}"), NULL),
            "a frame");
        close_frame(f);
    }
}

static void end_frames(struct framer *f, struct span request)
{
    open_frame(f);
    bench_must(buf_addf(&f->frame, NULL,
                        "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"}",
                        f->a->shape.args > 0 ? "tool_calls" : "stop"),
               "a frame");
    close_frame(f);
    if (f->usage) {
        open_frame(f);
        bench_must(buf_add(&f->frame, SPAN("],\"usage\":"), NULL) &&
                       add_usage(&f->a->shape, request, &f->frame) &&
                       buf_add(&f->frame, SPAN("}\n\n"), NULL),
                   "a frame");
        add_frame(f);
    }
    bench_must(buf_add(&f->frame, SPAN("data: [DONE]\n\n"), NULL), "a frame");
    add_frame(f);
    bench_must(buf_add(&f->a->bytes, SPAN("0\r\n\r\n"), NULL), "a stream's end");
}

static void stream_init(struct framer *f, struct span id, const struct shape *s)
{
    *f = (struct framer){.a = answer_new(s, shape_count(s) + 2), .id = id};
    buf_init(&f->frame, TEXT_MAX);
    bench_must(buf_add(&f->a->bytes,
                       SPAN("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                            "cache-control: no-cache\r\ntransfer-encoding: chunked\r\n"
                            "x-request-id: req_mock\r\n\r\n"),
                       NULL),
               "a head");
}

static struct mock_answer *stream_end(struct framer *f)
{
    end_step(f->a);
    buf_done(&f->frame);
    return f->a;
}

static struct mock_answer *streamed(struct span id, const struct shape *s, bool usage,
                                    struct span request)
{
    unsigned n = s->verdict ? 1 : shape_count(s);
    struct framer f;
    stream_init(&f, id, s);
    f.usage = usage;
    delta_frame(&f, "\"role\":\"assistant\",\"content\":\"", UINT32_MAX, request);
    for (unsigned i = 0; i < n; i++) {
        delta_frame(&f, "\"content\":\"", i, request);
        if (i + 1 < n && (s->pace_ms > 0 || s->hold))
            end_step(f.a);
    }
    call_frames(&f);
    end_frames(&f, request);
    return stream_end(&f);
}

/* --- a stream of Anthropic's ------------------------------------------------------------------ */

/* An event is its name, the data's members behind `type`, and one HTTP chunk. */
static void open_event(struct framer *f, const char *name, const char *members)
{
    bench_must(
        buf_addf(&f->frame, NULL, "event: %s\ndata: {\"type\":\"%s\"%s", name, name, members),
        "an event");
}

static void close_event(struct framer *f, const char *tail)
{
    bench_must(buf_addf(&f->frame, NULL, "%s}\n\n", tail), "an event");
    add_frame(f);
}

static void event(struct framer *f, const char *name, const char *members)
{
    open_event(f, name, members);
    close_event(f, "");
}

static void text_events(struct framer *f)
{
    const struct shape *s = &f->a->shape;
    event(f, "content_block_start",
          ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}");
    for (unsigned i = 0; i < shape_count(s); i++) {
        open_event(f, "content_block_delta",
                   ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"");
        shape_piece(s, i, &f->frame);
        close_event(f, "\"}");
        if (i + 1 < shape_count(s) && (s->pace_ms > 0 || s->hold))
            end_step(f->a);
    }
    event(f, "content_block_stop", ",\"index\":0");
}

static void call_events(struct framer *f)
{
    const struct shape *s = &f->a->shape;
    if (s->args == 0)
        return;
    event(f, "content_block_start",
          ",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_0123456789\","
          "\"name\":\"tool_0\",\"input\":{}}");
    for (unsigned i = 0; i < s->args; i++) {
        open_event(f, "content_block_delta",
                   ",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"");
        shape_args_piece(s, i, &f->frame);
        close_event(f, "\"}");
    }
    event(f, "content_block_stop", ",\"index\":1");
}

struct mock_answer *mock_answer_messages(struct span id, const struct shape *s, struct span request)
{
    struct framer f;
    unsigned in = (unsigned)(request.n / 4 + 1);
    stream_init(&f, id, s);
    open_event(&f, "message_start",
               ",\"message\":{\"id\":\"msg_0123456789\",\"type\":\"message\",");
    bench_must(buf_addf(&f.frame, NULL,
                        "\"role\":\"assistant\",\"model\":\"%.*s\",\"content\":[],\"stop_reason\":"
                        "null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":%u,"
                        "\"output_tokens\":1}",
                        SPAN_ARG(id), in),
               "an event");
    close_event(&f, "}");
    text_events(&f);
    call_events(&f);
    open_event(&f, "message_delta", ",\"delta\":{\"stop_reason\":");
    bench_must(buf_addf(&f.frame, NULL,
                        "\"%s\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":%u}",
                        s->args > 0 ? "tool_use" : "end_turn", shape_count(s) + 1),
               "an event");
    close_event(&f, "");
    event(&f, "message_stop", "");
    bench_must(buf_add(&f.a->bytes, SPAN("0\r\n\r\n"), NULL), "a stream's end");
    return stream_end(&f);
}

struct mock_answer *mock_answer_new(struct span id, const struct shape *s, bool stream, bool usage,
                                    struct span request)
{
    return stream ? streamed(id, s, usage, request) : whole(id, s, request);
}
