/* dialect/openai_chat_read.c - an upstream's chunks, or its one body, -> events.
 *
 * Lenient on purpose: it reads what OpenAI, Azure, Mistral, DeepSeek, Groq, xAI, OpenRouter, vLLM,
 * SGLang, Ollama and llama.cpp send, and our own frames. Strict in one thing: an answer without a
 * finish_reason has been cut, [DONE] or not. FINISH waits for [DONE] or the end of the stream,
 * since usage may come after the finish. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "dialect/openai_chat_read.h"

/* Chunks that are no JSON and are skipped before the stream is given up. */
#define MAX_SKIPPED  3
#define REPORT_BYTES MIB(4)

struct dialect_reader *oai_reader_new(void)
{
    struct dialect_reader *rd = mem_zalloc(sizeof *rd);
    if (!rd)
        return NULL;
    json_scratch_init(&rd->scratch);
    buf_init(&rd->args, LIMIT_ANSWER_BYTES);
    rd->usage.cost_nusd = -1;
    return rd;
}

void oai_reader_free(struct dialect_reader *rd)
{
    if (!rd)
        return;
    json_scratch_done(&rd->scratch);
    oai_free_calls(rd);
    wire_queue_done(&rd->queue);
    buf_done(&rd->args);
    arena_free(rd->arena);
    mem_free(rd);
}

/* The error comes out behind the events that are queued already. Always false. */
static bool fail(struct dialect_reader *rd, const struct err *err)
{
    rd->err = *err;
    if (rd->err.sent < SENT_REFUSED) /* an upstream has answered: bytes went out */
        rd->err.sent = SENT_MAYBE;
    if (rd->delivered)
        rd->err.sent = SENT_DELIVERED;
    rd->state = OAI_FAILED;
    return false;
}

/* --- pieces of a delta or a message ----------------------------------------------------------- */

static bool push_text(struct dialect_reader *rd, enum chat_event_kind kind, struct span text,
                      struct err *e)
{
    if (text.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, kind, e);
    if (!p)
        return false;
    p->ev.text = text;
    rd->delivered = true;
    rd->texted = rd->texted || kind == CHAT_EV_TEXT;
    rd->refused = rd->refused || kind == CHAT_EV_REFUSAL;
    return true;
}

/* Of a thinking part; only Mistral sends such. */
static bool push_signature(struct dialect_reader *rd, struct span signature, struct err *e)
{
    if (signature.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_REASONING, e);
    if (!p)
        return false;
    p->ev.signature = signature;
    p->ev.format = CHAT_SIGNED_MISTRAL;
    rd->delivered = true;
    return true;
}

/* Mistral's content: [{"type":"thinking","thinking":[{"type":"text",...}]},{"type":"text",...}] */
static bool read_content(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span key;
    json_val *part, *inner;
    if (json_is_str(v))
        return push_text(rd, CHAT_EV_TEXT, json_str(v), e);
    for (struct json_iter it = json_iter_of(json_is_arr(v) ? v : NULL);
         json_next(&it, &key, &part);) {
        json_val *thinking = json_get(part, "thinking");
        if (json_is_str(thinking) && !push_text(rd, CHAT_EV_REASONING, json_str(thinking), e))
            return false;
        if (!thinking && !push_text(rd, CHAT_EV_TEXT, json_str(json_get(part, "text")), e))
            return false;
        for (struct json_iter in = json_iter_of(thinking); json_next(&in, &key, &inner);)
            if (!push_text(rd, CHAT_EV_REASONING, json_str(json_get(inner, "text")), e))
                return false;
        if (thinking && !push_signature(rd, json_str(json_get(part, "signature")), e))
            return false;
    }
    return true;
}

static struct span detail_text(json_val *v)
{
    struct span text = json_str(json_get(v, "text"));
    return text.n > 0 ? text : json_str(json_get(v, "summary"));
}

static bool read_detail(struct dialect_reader *rd, json_val *v, bool with_text, struct err *e)
{
    struct span text = with_text ? detail_text(v) : SPAN("");
    struct span signature = json_str(json_get(v, "signature"));
    if (signature.n == 0)
        signature = json_str(json_get(v, "data"));
    if (text.n == 0 && signature.n == 0)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_REASONING, e);
    if (!p)
        return false;
    p->ev.text = text;
    p->ev.signature = signature;
    p->ev.signs_text = span_eq(json_str(json_get(v, "type")), SPAN("reasoning.text"));
    p->ev.format = json_str(json_get(v, "format"));
    p->ev.id = json_str(json_get(v, "id"));
    rd->delivered = true;
    return true;
}

/* The same text stands under up to three names: the list wins, for it tells blocks apart and has
 * the signatures; where it has no text the strings count. */
static bool read_reasoning(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span key, text = json_str(json_get(v, "reasoning_content"));
    json_val *list = json_get(v, "reasoning_details"), *d;
    const struct json_iter details = json_iter_of(json_is_arr(list) ? list : NULL);
    bool with_text = false;
    if (text.n == 0)
        text = json_str(json_get(v, "reasoning"));
    for (struct json_iter it = details; json_next(&it, &key, &d);)
        with_text = with_text || detail_text(d).n > 0;
    if (!with_text && !push_text(rd, CHAT_EV_REASONING, text, e))
        return false;
    for (struct json_iter it = details; json_next(&it, &key, &d);)
        if (!read_detail(rd, d, with_text, e))
            return false;
    return true;
}

static bool read_message(struct dialect_reader *rd, json_val *v, struct err *e)
{
    return read_reasoning(rd, v, e) && read_content(rd, json_get(v, "content"), e) &&
           push_text(rd, CHAT_EV_REFUSAL, json_str(json_get(v, "refusal")), e) &&
           oai_read_calls(rd, json_get(v, "tool_calls"), e);
}

/* --- the end ---------------------------------------------------------------------------------- */

static const struct {
    struct span word;
    bool broken; /* the answer did not come to an end of its own */
    enum chat_finish finish;
} finishes[] = {
    {SPAN_INIT("stop"), false, CHAT_FINISH_STOP},
    {SPAN_INIT("length"), false, CHAT_FINISH_LENGTH},
    {SPAN_INIT("model_length"), false, CHAT_FINISH_LENGTH}, /* Mistral: the context is full */
    {SPAN_INIT("max_tokens"), false, CHAT_FINISH_LENGTH},
    {SPAN_INIT("tool_calls"), false, CHAT_FINISH_TOOL_CALLS},
    {SPAN_INIT("function_call"), false, CHAT_FINISH_TOOL_CALLS},
    {SPAN_INIT("content_filter"), false, CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("safety"), false, CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("recitation"), false, CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("refusal"), false, CHAT_FINISH_REFUSAL},
    {SPAN_INIT("error"), true, CHAT_FINISH_STOP},
    {SPAN_INIT("abort"), true, CHAT_FINISH_STOP},                        /* SGLang, vLLM */
    {SPAN_INIT("insufficient_system_resource"), true, CHAT_FINISH_STOP}, /* DeepSeek */
};

/* Words that nobody has heard of yet count as "stop": the answer did end. */
static bool read_finish(struct dialect_reader *rd, struct span word, struct err *e)
{
    char shown[48];
    if (word.n == 0)
        return true;
    rd->has_finish = true;
    rd->finish = CHAT_FINISH_STOP;
    for (size_t i = 0; i < COUNT_OF(finishes); i++) {
        if (!span_eq_nocase(finishes[i].word, word))
            continue;
        rd->finish = finishes[i].finish;
        if (!finishes[i].broken)
            return true;
        text_visible_cstr(shown, sizeof shown, word);
        return err_set(e, ERR_UPSTREAM, "the upstream broke off its answer (finish_reason %s)",
                       shown);
    }
    return true;
}

static bool push_usage(struct dialect_reader *rd, struct err *e)
{
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_USAGE, e);
    if (!p)
        return false;
    p->ev.usage = rd->usage;
    p->ev.report = rd->report;
    return true;
}

static bool finish_up(struct dialect_reader *rd, struct err *e)
{
    bool any, cut;
    if (!rd->has_finish)
        return err_set(e, ERR_CUT, "the upstream's answer ended before its end");
    if (!oai_end_calls(rd, &any, &cut, e) || (rd->has_usage && !push_usage(rd, e)))
        return false;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_FINISH, e);
    if (!p)
        return false;
    p->ev.finish = rd->finish;
    if (any && !cut)
        p->ev.finish = CHAT_FINISH_TOOL_CALLS; /* many servers say "stop" here */
    else if (rd->finish == CHAT_FINISH_TOOL_CALLS)
        p->ev.finish = CHAT_FINISH_STOP; /* and some say "tool_calls" without one */
    else if (rd->finish == CHAT_FINISH_STOP && rd->refused && !rd->texted)
        p->ev.finish = CHAT_FINISH_REFUSAL;
    rd->state = OAI_ENDED;
    return true;
}

/* --- one chunk -------------------------------------------------------------------------------- */

static bool ensure_start(struct dialect_reader *rd, json_val *chunk, struct err *e)
{
    if (rd->started)
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_START, e);
    if (!p)
        return false;
    p->ev.id = json_str(json_get(chunk, "id"));
    p->ev.model = json_str(json_get(chunk, "model"));
    rd->started = true;
    return true;
}

/* The first choice whose index is 0 or unsaid: nobody asked for others. */
static json_val *first_choice(json_val *chunk)
{
    json_val *list = json_get(chunk, "choices"), *c;
    struct span key;
    int64_t index;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &c);)
        if (json_is_obj(c) && (!json_i64(json_get(c, "index"), &index) || index <= 0))
            return c;
    return NULL;
}

/* Usage before the finish is what was used so far; the last one goes out at the end. */
static bool read_usage(struct dialect_reader *rd, json_val *chunk, struct err *e)
{
    json_val *v = json_get(chunk, "usage");
    struct chat_usage u;
    if (!json_is_obj(v)) /* Groq, before it sent it where OpenAI does */
        v = json_get(json_get(chunk, "x_groq"), "usage");
    if (!oai_read_usage(v, &u))
        return true;
    json_val *fusion = json_get(v, "fusion");
    if (fusion && !rd->arena && !(rd->arena = arena_new(REPORT_BYTES)))
        return err_set(e, ERR_NOMEM, "no memory for the fusion's report");
    const struct chat_fusion_report *report = fusion ? wire_read_report(rd->arena, fusion) : NULL;
    rd->usage = u;
    rd->report = report ? report : rd->report;
    rd->has_usage = true;
    return rd->has_finish || (ensure_start(rd, chunk, e) && push_usage(rd, e));
}

static bool read_progress(struct dialect_reader *rd, json_val *v, struct err *e)
{
    if (!wire_read_member(v, rd->reason, sizeof rd->reason, &rd->member))
        return true;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_MEMBER, e);
    if (p)
        p->ev.member = &rd->member;
    return p != NULL;
}

static bool read_chunk(struct dialect_reader *rd, json_val *chunk, struct err *e)
{
    json_val *member = json_get(json_get(chunk, "fusion"), "member");
    if (member)
        return read_progress(rd, member, e);
    json_val *choice = first_choice(chunk);
    if (choice) {
        json_val *delta = json_get(choice, "delta");
        if (!json_is_obj(delta))
            delta = json_get(choice, "message");
        if (!ensure_start(rd, chunk, e) || !read_message(rd, delta, e))
            return false;
    }
    return (!choice || read_finish(rd, json_str(json_get(choice, "finish_reason")), e)) &&
           read_usage(rd, chunk, e);
}

static bool skip(struct dialect_reader *rd, struct err *e)
{
    struct err why;
    if (++rd->skipped <= MAX_SKIPPED)
        return true;
    err_set(&why, ERR_UPSTREAM, "the upstream's stream is not made of JSON objects");
    fail(rd, &why);
    if (e)
        *e = rd->err;
    return false;
}

/* An error from inside a chunk is told by reader_next(), behind what the chunk had said before. */
static bool settle(struct dialect_reader *rd, bool ok, const struct err *why)
{
    if (!ok)
        fail(rd, why);
    return true;
}

bool oai_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e)
{
    struct err why; /* large: set where something fails, not per chunk */
    json_val *chunk = NULL;
    wire_queue_clear(&rd->queue);
    buf_clear(&rd->args);
    data = span_trim(data);
    if (rd->state == OAI_ENDED || data.n == 0 || span_eq(type, SPAN("ping")))
        return true;
    if (rd->state == OAI_FAILED) {
        if (e)
            *e = rd->err;
        return false;
    }
    if (span_eq(data, SPAN("[DONE]")))
        return settle(rd, finish_up(rd, &why), &why);
    if (!json_parse_scratch(&rd->scratch, data, &chunk, &why))
        return why.cls == ERR_NOMEM ? settle(rd, false, &why) : skip(rd, e);
    if (wire_stream_error(chunk, span_eq(type, SPAN("error")), rd->delivered, &why))
        return settle(rd, false, &why);
    if (!json_is_obj(chunk))
        return skip(rd, e);
    return settle(rd, read_chunk(rd, chunk, &why), &why);
}

/* One body: what a stream says in pieces, at once. Some servers leave out finish_reason here; the
 * body is whole, so the answer is. */
bool oai_reader_body(struct dialect_reader *rd, struct span body, struct err *e)
{
    struct err why = {0};
    json_val *root = NULL, *choice;
    bool ok = json_parse_scratch(&rd->scratch, body, &root, &why);
    wire_queue_clear(&rd->queue);
    if (!ok && why.cls != ERR_NOMEM)
        err_set(&why, ERR_UPSTREAM, "the upstream's answer is not JSON");
    else if (ok && wire_stream_error(root, false, false, &why))
        ok = false;
    else if (ok && !(choice = first_choice(root)))
        ok = err_set(&why, ERR_UPSTREAM, "the upstream's answer has no choices");
    else if (ok) {
        rd->has_finish = true;
        ok = ensure_start(rd, root, &why) && read_message(rd, json_get(choice, "message"), &why) &&
             read_finish(rd, json_str(json_get(choice, "finish_reason")), &why) &&
             read_usage(rd, root, &why) && finish_up(rd, &why);
    }
    if (ok)
        return true;
    fail(rd, &why);
    if (e)
        *e = rd->err;
    return false;
}

void oai_reader_eof(struct dialect_reader *rd)
{
    struct err why = {0};
    if (rd->state != OAI_OPEN)
        return;
    wire_queue_clear(&rd->queue);
    buf_clear(&rd->args);
    settle(rd, finish_up(rd, &why), &why);
}

enum dialect_status oai_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e)
{
    if (wire_pop(&rd->queue, &rd->args, out))
        return DIALECT_EVENT;
    if (rd->state != OAI_FAILED)
        return DIALECT_MORE;
    if (e)
        *e = rd->err;
    return DIALECT_FAIL;
}
