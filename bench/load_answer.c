/* bench/load_answer.c - see load_answer.h. Texts are compared as they stand in the JSON: the mock's
 * words hold nothing that is escaped. */
#include "load_answer.h"

#include "base/limits.h"

#define HELD_MAX MIB(32)
/* A held buffer above this is given back after its answer, so that the client stays small. */
#define KEEP_BYTES KIB(16)

/* Where in a dialect's JSON things stand. */
static const struct form {
    struct span text, args;  /* before a piece in a stream */
    struct span whole;       /* before the text of a body */
    struct span end[2];      /* why it has ended: of its own, with a call */
    struct span last, error; /* what the last frame of a stream begins with, an error */
} forms[] = {
    [BENCH_CHAT] = {SPAN_INIT("\"content\":\""),
                    SPAN_INIT("\"arguments\":\""),
                    SPAN_INIT("\"content\":\""),
                    {SPAN_INIT("\"finish_reason\":\"stop\""),
                     SPAN_INIT("\"finish_reason\":\"tool_calls\"")},
                    SPAN_INIT("[DONE]"),
                    SPAN_INIT("{\"error\"")},
    [BENCH_MESSAGES] = {SPAN_INIT("_delta\",\"text\":\""),
                        SPAN_INIT("\"partial_json\":\""),
                        SPAN_INIT("\"text\":\""),
                        {SPAN_INIT("\"stop_reason\":\"end_turn\""),
                         SPAN_INIT("\"stop_reason\":\"tool_use\"")},
                        SPAN_INIT("{\"type\":\"message_stop\""),
                        SPAN_INIT("{\"type\":\"error\"")},
    /* Text and arguments have one name; the whole of both stands again in the last frame. */
    [BENCH_RESPONSES] = {SPAN_INIT("\"delta\":\""),
                         SPAN_INIT("\"delta\":\""),
                         SPAN_INIT("\"text\":\""),
                         {SPAN_INIT("\"status\":\"completed\""),
                          SPAN_INIT("\"status\":\"completed\"")},
                         SPAN_INIT("{\"type\":\"response.completed\""),
                         SPAN_INIT("{\"type\":\"error\"")},
};

void answer_init(struct answer *a, struct span want, enum bench_dialect dialect, bool stream)
{
    *a = (struct answer){.want = want, .dialect = dialect, .stream = stream};
    buf_init(&a->held, HELD_MAX);
}

void answer_done(struct answer *a)
{
    buf_done(&a->held);
}

void answer_clear(struct answer *a)
{
    struct buf held = a->held;
    if (held.cap > KEEP_BYTES) {
        buf_done(&held);
        buf_init(&held, HELD_MAX);
    }
    buf_clear(&held);
    *a = (struct answer){.want = a->want, .dialect = a->dialect, .stream = a->stream, .held = held};
}

static bool wrong(struct answer *a, const char *what, struct span seen)
{
    seen = span_upto(seen, 120);
    snprintf(a->why, sizeof a->why, "%s: %.*s", what, SPAN_ARG(seen));
    return false;
}

/* --- text ------------------------------------------------------------------------------------- */

static bool on_text(struct answer *a, struct span text, int64_t now_ns)
{
    if (text.n == 0)
        return true;
    if (!span_starts(span_from(a->want, a->at), text))
        return wrong(a, "not the text that was to come next", text);
    if (a->first_ns == 0)
        a->first_ns = now_ns;
    else if (now_ns - a->last_ns > a->gap_ns)
        a->gap_ns = now_ns - a->last_ns;
    a->last_ns = now_ns;
    a->at += text.n;
    a->frames++;
    return true;
}

/* A JSON string's bytes; json stands behind its opening quote. */
static struct span string_of(struct span json)
{
    size_t n = 0;
    while (n < json.n && json.p[n] != '"')
        n += json.p[n] == '\\' ? 2 : 1;
    return span_upto(json, n);
}

static bool on_content(struct answer *a, struct span json, struct span key, int64_t now_ns)
{
    size_t at = span_index(json, key);
    return at == json.n || on_text(a, string_of(span_from(json, at + key.n)), now_ns);
}

static bool on_done(struct answer *a)
{
    if (!a->finished)
        return wrong(a, "no reason before the end", SPAN(""));
    if (a->at != a->want.n)
        return wrong(a, "the text ends too early", span_from(a->want, a->at));
    a->done = true;
    return true;
}

static bool has(struct span json, struct span needle)
{
    return span_index(json, needle) < json.n;
}

static bool on_frame(struct answer *a, struct span json, int64_t now_ns)
{
    const struct form *f = &forms[a->dialect];
    if (a->done)
        return wrong(a, "a frame behind the end", json);
    if (span_starts(json, f->error))
        return wrong(a, "an error frame", json);
    a->finished = a->finished || has(json, f->end[0]) || has(json, f->end[1]);
    if (span_starts(json, f->last))
        return on_done(a);
    size_t before = a->at;
    return on_content(a, json, f->text, now_ns) &&
           (a->at > before || on_content(a, json, f->args, now_ns));
}

static bool on_line(struct answer *a, struct span line, int64_t now_ns)
{
    line = span_trim(line);
    if (line.n == 0 || line.p[0] == ':' || span_starts(line, SPAN("event:")))
        return true;
    if (!span_starts(line, SPAN("data:")))
        return wrong(a, "no line of a stream", line);
    return on_frame(a, span_trim(span_from(line, 5)), now_ns);
}

static bool on_stream(struct answer *a, struct span bytes, int64_t now_ns)
{
    while (bytes.n > 0) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = end ? (size_t)(end - bytes.p) : bytes.n;
        struct span line = span_upto(bytes, n);
        if (!end || a->held.n > 0) {
            bench_must(buf_add(&a->held, line, NULL), "a line");
            line = buf_span(&a->held);
        }
        if (!end)
            return true;
        if (!on_line(a, line, now_ns))
            return false;
        buf_clear(&a->held);
        bytes = span_from(bytes, n + 1);
    }
    return true;
}

/* One body, whole. */
static bool on_body(struct answer *a, struct span body, int64_t now_ns)
{
    const struct form *f = &forms[a->dialect];
    if (!on_content(a, body, f->whole, now_ns))
        return false;
    if (!has(body, SPAN("\"usage\":{")))
        return wrong(a, "a body without usage", body);
    a->finished = has(body, f->end[0]);
    return on_done(a);
}

static bool on_payload(struct answer *a, struct span bytes, int64_t now_ns)
{
    if (a->stream)
        return on_stream(a, bytes, now_ns);
    bench_must(buf_add(&a->held, bytes, NULL), "a body");
    return true;
}

/* --- framing ---------------------------------------------------------------------------------- */

static bool read_field(struct answer *a, struct span line, bool *chunked)
{
    struct span name;
    int64_t n;
    if (!span_cut(&line, ':', &name))
        return true;
    line = span_trim(line);
    if (span_eq_nocase(name, SPAN("content-length"))) {
        if (!span_to_i64(line, &n) || n < 0)
            return wrong(a, "content-length", line);
        a->left = (uint64_t)n;
    } else if (span_eq_nocase(name, SPAN("transfer-encoding")))
        *chunked = span_eq_nocase(line, SPAN("chunked"));
    else if (span_eq_nocase(name, SPAN("connection")))
        a->close = span_eq_nocase(line, SPAN("close"));
    return true;
}

static bool on_head(struct answer *a, struct span head)
{
    struct span line, all = head;
    bool chunked = false;
    if (!span_starts(head, SPAN("HTTP/1.1 200 ")))
        return wrong(a, "not a 200", head);
    while (span_cut(&all, '\n', &line))
        if (!read_field(a, line, &chunked))
            return false;
    a->phase = chunked ? AT_SIZE : AT_LENGTH;
    return true;
}

/* The head, held until it is whole. */
static bool eat_head(struct answer *a, struct span *in)
{
    bench_must(buf_add(&a->held, *in, NULL), "a head");
    struct span all = buf_span(&a->held);
    size_t old = all.n - in->n, end = span_index(all, SPAN("\r\n\r\n"));
    if (end == all.n) {
        *in = span_from(*in, in->n);
        return true;
    }
    bool ok = on_head(a, span_upto(all, end));
    *in = span_from(*in, end + 4 - old);
    buf_clear(&a->held);
    return ok;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool eat_size(struct answer *a, struct span *in)
{
    char c = in->p[0];
    int digit = hex(c);
    *in = span_from(*in, 1);
    if (c == '\n') {
        if (!a->digits)
            return wrong(a, "a chunk without a size", SPAN(""));
        a->digits = false;
        a->phase = a->left > 0 ? AT_DATA : AT_TRAILER;
        return true;
    }
    if (c == '\r')
        return true;
    if (digit < 0 || a->left > UINT32_MAX)
        return wrong(a, "a chunk's size", *in);
    a->left = 16 * a->left + (unsigned)digit;
    a->digits = true;
    return true;
}

static bool eat_data(struct answer *a, struct span *in, enum answer_phase next, int64_t now_ns)
{
    struct span bytes = span_upto(*in, a->left);
    *in = span_from(*in, bytes.n);
    a->left -= bytes.n;
    if (a->left == 0)
        a->phase = next;
    return on_payload(a, bytes, now_ns);
}

static void eat_line_end(struct answer *a, struct span *in, enum answer_phase next)
{
    if (in->p[0] == '\n')
        a->phase = next;
    *in = span_from(*in, 1);
}

static bool eat(struct answer *a, struct span *in, int64_t now_ns)
{
    switch (a->phase) {
    case AT_HEAD:
        return eat_head(a, in);
    case AT_SIZE:
        return eat_size(a, in);
    case AT_DATA:
        return eat_data(a, in, AT_DATA_END, now_ns);
    case AT_DATA_END:
        eat_line_end(a, in, AT_SIZE);
        return true;
    case AT_TRAILER: /* none is sent by anything measured here: the empty line ends it */
        eat_line_end(a, in, AT_END);
        return true;
    case AT_LENGTH:
        return eat_data(a, in, AT_END, now_ns);
    case AT_END:
        return wrong(a, "bytes behind the answer", *in);
    }
    return false;
}

enum answer_status answer_feed(struct answer *a, struct span bytes, int64_t now_ns)
{
    while (bytes.n > 0)
        if (!eat(a, &bytes, now_ns))
            return ANSWER_WRONG;
    if (a->phase != AT_END)
        return ANSWER_MORE;
    bool ok = a->stream || on_body(a, buf_span(&a->held), now_ns);
    if (ok && !a->done)
        ok = wrong(a, "the stream ends without its last frame", SPAN(""));
    return ok ? ANSWER_WHOLE : ANSWER_WRONG;
}
