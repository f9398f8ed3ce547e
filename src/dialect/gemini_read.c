/* dialect/gemini_read.c - Gemini's chunks, or its one body, -> events.
 *
 * Each chunk is a whole GenerateContentResponse with the parts that are new; nothing marks the last
 * one, so FINISH waits for the end of the stream, and an answer without a finishReason has been
 * cut. The first candidate alone is read. A call comes whole, or in pieces (gemini_args.c), and
 * goes out whole in one event. A signature on a call goes with it; one on text, or on an empty part
 * behind the text, goes out as a block of reasoning without text, under an id of its own so that
 * nobody joins it to the thoughts; gemini_send_part.c puts it back where it belongs. */
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "dialect/gemini_priv.h"

#define MAX_CALLS 512
/* Chunks that are no JSON and are skipped before the stream is given up. */
#define MAX_SKIPPED 3
#define NAME_BYTES  KIB(1)

/* An event that waits for reader_next(). Those of a call borrow from reader->strings, which may
 * move until then: id, name, signature and arguments stand there one behind the other. */
struct pending {
    struct chat_event ev;
    bool in_strings;
    size_t off, n_id, n_name, n_signature, n_arguments;
};

enum state {
    OPEN,   /* chunks come */
    ENDED,  /* FINISH is queued or out; what comes now is ignored */
    FAILED, /* err is set; it comes behind the queued events */
};

/* A call that has begun and goes on with the next chunk. */
struct open_call {
    bool is;
    struct buf id, name, signature;
    struct gem_args args;
};

struct dialect_reader {
    enum state state;
    struct json_scratch scratch; /* the current chunk: events borrow from it */
    struct pending *queue;
    size_t head, n, cap;
    struct buf strings;
    struct buf answer_id;
    struct open_call call;
    uint64_t *ids; /* hashes of the call ids that were given out */
    size_t n_calls, cap_ids;
    bool started, delivered, has_finish, has_usage;
    enum chat_finish finish;
    struct chat_usage usage; /* the last word goes out at the end */
    unsigned skipped;
    struct err err;
};

struct dialect_reader *gem_reader_new(void)
{
    struct dialect_reader *rd = mem_zalloc(sizeof *rd);
    if (!rd)
        return NULL;
    json_scratch_init(&rd->scratch);
    buf_init(&rd->strings, LIMIT_ANSWER_BYTES);
    buf_init(&rd->answer_id, NAME_BYTES);
    buf_init(&rd->call.id, NAME_BYTES);
    buf_init(&rd->call.name, NAME_BYTES);
    buf_init(&rd->call.signature, LIMIT_EVENT_BYTES);
    gem_args_init(&rd->call.args);
    return rd;
}

void gem_reader_free(struct dialect_reader *rd)
{
    if (!rd)
        return;
    json_scratch_done(&rd->scratch);
    mem_free(rd->queue);
    mem_free(rd->ids);
    buf_done(&rd->strings);
    buf_done(&rd->answer_id);
    buf_done(&rd->call.id);
    buf_done(&rd->call.name);
    buf_done(&rd->call.signature);
    gem_args_done(&rd->call.args);
    mem_free(rd);
}

/* Room for one more event, zeroed but for its kind; NULL when memory runs out (*e set). */
static struct pending *push(struct dialect_reader *rd, enum chat_event_kind kind, struct err *e)
{
    if (rd->n == rd->cap) {
        size_t cap = rd->cap > 0 ? 2 * rd->cap : 8;
        struct pending *queue = mem_realloc(rd->queue, cap * sizeof *queue);
        if (!queue) {
            err_set(e, ERR_NOMEM, "no memory for the answer's events");
            return NULL;
        }
        rd->queue = queue;
        rd->cap = cap;
    }
    struct pending *p = &rd->queue[rd->n++];
    *p = (struct pending){.ev.kind = kind};
    return p;
}

/* The error comes out behind the events that are queued already. Always false. */
static bool fail(struct dialect_reader *rd, const struct err *err)
{
    rd->err = *err;
    if (rd->err.sent < SENT_REFUSED) /* an upstream has answered: bytes went out */
        rd->err.sent = SENT_MAYBE;
    if (rd->delivered)
        rd->err.sent = SENT_DELIVERED;
    rd->state = FAILED;
    return false;
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Whether no call of the answer has this id so far; then it is taken. */
static bool take_id(struct dialect_reader *rd, struct span id)
{
    uint64_t hash = span_hash(id, 0);
    for (size_t i = 0; i < rd->n_calls; i++)
        if (rd->ids[i] == hash)
            return false;
    rd->ids[rd->n_calls] = hash;
    return true;
}

static bool room_for_id(struct dialect_reader *rd, struct err *e)
{
    if (rd->n_calls == MAX_CALLS)
        return err_set(e, ERR_UPSTREAM, "the upstream sent more than %d tool calls", MAX_CALLS);
    if (rd->n_calls < rd->cap_ids)
        return true;
    size_t cap = rd->cap_ids > 0 ? 2 * rd->cap_ids : 16;
    uint64_t *ids = mem_realloc(rd->ids, cap * sizeof *ids);
    if (!ids)
        return wire_no_memory(e);
    rd->ids = ids;
    rd->cap_ids = cap;
    return true;
}

/* Queues a whole call. Its arguments are those in `args`, or the value v, or none. */
static bool push_call(struct dialect_reader *rd, struct span id, struct span name,
                      struct span signature, const struct buf *args, json_val *v, struct err *e)
{
    char made[WIRE_CALL_ID_BYTES];
    size_t off = rd->strings.n;
    if (!room_for_id(rd, e))
        return false;
    id = span_upto(id, NAME_BYTES);
    if (id.n == 0 || !take_id(rd, id)) { /* before Gemini 3 calls have none; proxies repeat one */
        id = wire_call_id((struct span){0}, buf_span(&rd->answer_id), rd->n_calls, made);
        rd->ids[rd->n_calls] = span_hash(id, 0);
    }
    if (!buf_add(&rd->strings, id, e) || !buf_add(&rd->strings, name, e) ||
        !buf_add(&rd->strings, signature, e))
        return false;
    size_t from = rd->strings.n;
    bool ok = args ? buf_add(&rd->strings, buf_span(args), e)
              : v  ? json_write_val(&rd->strings, v, e)
                   : buf_add(&rd->strings, SPAN("{}"), e);
    struct pending *p = ok ? push(rd, CHAT_EV_TOOL, e) : NULL;
    if (!p)
        return false;
    p->ev.index = rd->n_calls++;
    p->ev.tool_done = true;
    p->in_strings = true;
    p->off = off;
    p->n_id = id.n;
    p->n_name = name.n;
    p->n_signature = signature.n;
    p->n_arguments = rd->strings.n - from;
    rd->delivered = true;
    return true;
}

static bool end_call(struct dialect_reader *rd, struct err *e)
{
    struct open_call *c = &rd->call;
    if (!c->is)
        return true;
    c->is = false;
    return gem_args_end(&c->args, e) && push_call(rd, buf_span(&c->id), buf_span(&c->name),
                                                  buf_span(&c->signature), &c->args.text, NULL, e);
}

static bool begin_call(struct dialect_reader *rd, struct span id, struct span name,
                       struct span signature, struct err *e)
{
    struct open_call *c = &rd->call;
    buf_clear(&c->id);
    buf_clear(&c->name);
    buf_clear(&c->signature);
    gem_args_clear(&c->args);
    c->is = true;
    return buf_add(&c->id, span_upto(id, NAME_BYTES), e) &&
           buf_add(&c->name, span_upto(name, NAME_BYTES), e) &&
           buf_add(&c->signature, signature, e);
}

static bool add_pieces(struct dialect_reader *rd, json_val *list, struct err *e)
{
    struct span key;
    json_val *piece;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &piece);)
        if (!gem_args_add(&rd->call.args, piece, e))
            return false;
    return true;
}

/* A name begins a call; without one it goes on, or, without willContinue, ends. Some servers leave
 * the end out: the next call, or the end of the answer, is it. */
static bool read_call(struct dialect_reader *rd, json_val *v, struct span signature, struct err *e)
{
    struct span name = json_str(json_get(v, "name")), id = json_str(json_get(v, "id"));
    json_val *args = json_get(v, "args"), *pieces = json_get(v, "partialArgs");
    bool goes_on = json_true(json_get(v, "willContinue")), whole = !pieces && !goes_on;
    if (args && !json_is_obj(args) && !json_is_null(args))
        return err_set(e, ERR_UPSTREAM, "the upstream sent arguments that are no object");
    if (json_count(args) > 0 && (name.n == 0 || !whole))
        return err_set(e, ERR_UPSTREAM, "the upstream sent arguments both whole and in pieces");
    if (name.n > 0) {
        if (!end_call(rd, e))
            return false;
        if (whole)
            return push_call(rd, id, span_upto(name, NAME_BYTES), signature, NULL,
                             json_is_obj(args) ? args : NULL, e);
        if (!begin_call(rd, id, name, signature, e))
            return false;
    } else if (!rd->call.is) {
        return !pieces || err_set(e, ERR_UPSTREAM, "the upstream sent a tool call without a name");
    }
    return add_pieces(rd, pieces, e) && (goes_on || end_call(rd, e));
}

/* --- parts ------------------------------------------------------------------------------------ */

static bool push_text(struct dialect_reader *rd, struct span text, struct err *e)
{
    struct pending *p = text.n > 0 ? push(rd, CHAT_EV_TEXT, e) : NULL;
    if (!p)
        return text.n == 0;
    p->ev.text = text;
    rd->delivered = true;
    return true;
}

static bool push_reasoning(struct dialect_reader *rd, struct span text, struct span signature,
                           struct span block, struct err *e)
{
    if (text.n == 0 && signature.n == 0)
        return true;
    struct pending *p = push(rd, CHAT_EV_REASONING, e);
    if (!p)
        return false;
    p->ev.text = text;
    p->ev.signature = signature;
    p->ev.format = CHAT_SIGNED_GEMINI;
    p->ev.id = block;
    rd->delivered = true;
    return true;
}

/* Code that Google ran, and what came of it, are not read: nobody can ask for the tool. */
static bool read_part(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span text = json_str(json_get(v, "text"));
    struct span signature = json_str(json_get(v, "thoughtSignature"));
    json_val *call = json_get(v, "functionCall");
    bool thought = json_true(json_get(v, "thought"));
    if (json_is_obj(call))
        return read_call(rd, call, signature, e);
    if (thought)
        return push_reasoning(rd, text, signature, GEM_THOUGHT_BLOCK, e);
    if (json_get(v, "inlineData") || json_get(v, "fileData"))
        return err_set(e, ERR_UPSTREAM,
                       "the upstream sent a file, and answers here are text: ask another model");
    return push_text(rd, text, e) &&
           push_reasoning(rd, (struct span){0}, signature, GEM_TEXT_BLOCK, e);
}

static bool read_parts(struct dialect_reader *rd, json_val *candidate, struct err *e)
{
    json_val *list = json_get(json_get(candidate, "content"), "parts"), *part;
    struct span key;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &part);)
        if (!read_part(rd, part, e))
            return false;
    return true;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Candidate.FinishReason. Not in the list: OTHER, MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL,
 * TOO_MANY_TOOL_CALLS, MISSING_THOUGHT_SIGNATURE, MALFORMED_RESPONSE, IMAGE_OTHER, NO_IMAGE and
 * what may come yet: the answer did not come to an end of its own. */
static const struct {
    struct span word;
    enum chat_finish finish;
} finishes[] = {
    {SPAN_INIT("STOP"), CHAT_FINISH_STOP},
    {SPAN_INIT("FUNCTION_CALL"), CHAT_FINISH_STOP}, /* not Google's, but of servers that copy it */
    {SPAN_INIT("MAX_TOKENS"), CHAT_FINISH_LENGTH},
    {SPAN_INIT("SAFETY"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("RECITATION"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("LANGUAGE"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("BLOCKLIST"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("PROHIBITED_CONTENT"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("SPII"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("MODEL_ARMOR"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("IMAGE_SAFETY"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("IMAGE_PROHIBITED_CONTENT"), CHAT_FINISH_CONTENT_FILTER},
    {SPAN_INIT("IMAGE_RECITATION"), CHAT_FINISH_CONTENT_FILTER},
};

static bool read_finish(struct dialect_reader *rd, struct span word, struct err *e)
{
    char shown[48];
    if (word.n == 0 || span_eq(word, SPAN("FINISH_REASON_UNSPECIFIED")))
        return true;
    for (size_t i = 0; i < COUNT_OF(finishes); i++)
        if (span_eq(finishes[i].word, word)) {
            rd->has_finish = true;
            rd->finish = finishes[i].finish;
            return true;
        }
    text_visible_cstr(shown, sizeof shown, word);
    return err_set(e, ERR_UPSTREAM, "the upstream broke off its answer (finishReason %s)", shown);
}

static bool push_usage(struct dialect_reader *rd, struct err *e)
{
    struct pending *p = push(rd, CHAT_EV_USAGE, e);
    if (p)
        p->ev.usage = rd->usage;
    return p != NULL;
}

/* A call that a limit has cut stays untold: half an object is worth nothing. */
static bool finish_up(struct dialect_reader *rd, struct err *e)
{
    bool limited = rd->finish == CHAT_FINISH_LENGTH || rd->finish == CHAT_FINISH_CONTENT_FILTER;
    bool cut = rd->call.is && limited;
    if (!rd->has_finish)
        return err_set(e, ERR_CUT, "the upstream's answer ended before its end");
    if ((!cut && !end_call(rd, e)) || (rd->has_usage && !push_usage(rd, e)))
        return false;
    struct pending *p = push(rd, CHAT_EV_FINISH, e);
    if (!p)
        return false;
    p->ev.finish = rd->n_calls > 0 && !cut ? CHAT_FINISH_TOOL_CALLS : rd->finish;
    rd->state = ENDED;
    return true;
}

/* --- one chunk -------------------------------------------------------------------------------- */

/* Tokens: absent, negative and broken numbers count as none. */
static int64_t tokens(json_val *v, const char *key)
{
    int64_t n;
    return json_i64(json_get(v, key), &n) && n > 0 && n < INT64_MAX / 8 ? n : 0;
}

/* promptTokenCount holds what came from the cache, candidatesTokenCount not what was thought;
 * totalTokenCount is all four together. */
static bool read_usage(json_val *v, struct chat_usage *out)
{
    struct chat_usage u = {
        .input = tokens(v, "promptTokenCount") + tokens(v, "toolUsePromptTokenCount"),
        .cached = tokens(v, "cachedContentTokenCount"),
        .output = tokens(v, "candidatesTokenCount") + tokens(v, "thoughtsTokenCount"),
        .reasoning = tokens(v, "thoughtsTokenCount"),
        .cost_nusd = -1,
    };
    if (u.input == 0 && u.output == 0)
        return false; /* {"trafficType": "ON_DEMAND"} alone */
    if (u.cached > u.input)
        u.cached = u.input;
    *out = u;
    return true;
}

static bool ensure_start(struct dialect_reader *rd, json_val *chunk, struct err *e)
{
    struct span id = json_str(json_get(chunk, "responseId"));
    if (rd->started)
        return true;
    struct pending *p = push(rd, CHAT_EV_START, e);
    if (!p || !buf_add(&rd->answer_id, span_upto(id, NAME_BYTES), e))
        return false;
    p->ev.id = id;
    p->ev.model = json_str(json_get(chunk, "modelVersion"));
    rd->started = true;
    return true;
}

/* The first candidate whose index is 0 or unsaid: nobody asked for others. */
static json_val *first_candidate(json_val *chunk)
{
    json_val *list = json_get(chunk, "candidates"), *c;
    struct span key;
    int64_t index;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &c);)
        if (json_is_obj(c) && (!json_i64(json_get(c, "index"), &index) || index <= 0))
            return c;
    return NULL;
}

/* The prompt was not even taken: there is no candidate then. */
static bool check_blocked(json_val *chunk, struct err *e)
{
    struct span reason = json_str(json_get(json_get(chunk, "promptFeedback"), "blockReason"));
    char shown[48];
    if (reason.n == 0 || span_eq(reason, SPAN("BLOCK_REASON_UNSPECIFIED")))
        return true;
    text_visible_cstr(shown, sizeof shown, reason);
    err_set(e, ERR_INPUT, "the upstream's content filter refused the request (%s)", shown);
    if (e)
        e->sent = SENT_REFUSED;
    return err_with_code(e, "content_filter");
}

static bool read_chunk(struct dialect_reader *rd, json_val *chunk, struct err *e)
{
    json_val *candidate = first_candidate(chunk);
    bool told = read_usage(json_get(chunk, "usageMetadata"), &rd->usage);
    rd->has_usage = rd->has_usage || told;
    if (candidate && (!ensure_start(rd, chunk, e) || !read_parts(rd, candidate, e) ||
                      !read_finish(rd, json_str(json_get(candidate, "finishReason")), e)))
        return false;
    return (!told || rd->has_finish || push_usage(rd, e)) && check_blocked(chunk, e);
}

/* A chunk, or a list of them: how a stream comes without alt=sse. */
static bool read_chunks(struct dialect_reader *rd, json_val *v, struct err *e)
{
    struct span key;
    json_val *chunk;
    if (!json_is_arr(v))
        return read_chunk(rd, v, e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &chunk);) {
        if (gem_stream_error(chunk, rd->delivered, e))
            return false;
        if (!read_chunk(rd, chunk, e))
            return false;
    }
    return true;
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
static bool settle(struct dialect_reader *rd, bool ok, struct err *why)
{
    if (!ok && why->cls == ERR_STATE) /* a value deeper than we write */
        err_set(why, ERR_UPSTREAM, "the upstream's answer is nested too deep");
    if (!ok)
        fail(rd, why);
    return true;
}

static void begin_chunk(struct dialect_reader *rd)
{
    rd->head = rd->n = 0;
    buf_clear(&rd->strings);
}

bool gem_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e)
{
    struct err why; /* large: set where something fails, not per chunk */
    json_val *chunk = NULL;
    (void)type; /* Google sends no other than messages */
    begin_chunk(rd);
    data = span_trim(data);
    if (rd->state == ENDED || data.n == 0)
        return true;
    if (rd->state == FAILED) {
        if (e)
            *e = rd->err;
        return false;
    }
    if (span_eq(data, SPAN("[DONE]"))) /* Google sends none, proxies do */
        return settle(rd, finish_up(rd, &why), &why);
    if (!json_parse_scratch(&rd->scratch, data, &chunk, &why))
        return why.cls == ERR_NOMEM ? settle(rd, false, &why) : skip(rd, e);
    if (gem_stream_error(chunk, rd->delivered, &why))
        return settle(rd, false, &why);
    if (!json_is_obj(chunk) && !json_is_arr(chunk))
        return skip(rd, e);
    return settle(rd, read_chunks(rd, chunk, &why), &why);
}

/* One body: what a stream says in pieces, at once. */
bool gem_reader_body(struct dialect_reader *rd, struct span body, struct err *e)
{
    struct err why = {0};
    json_val *root = NULL;
    bool ok = json_parse_scratch(&rd->scratch, body, &root, &why);
    begin_chunk(rd);
    if (!ok && why.cls != ERR_NOMEM)
        err_set(&why, ERR_UPSTREAM, "the upstream's answer is not JSON");
    else if (ok && gem_stream_error(root, false, &why))
        ok = false;
    else if (ok)
        ok = read_chunks(rd, root, &why);
    if (ok && !rd->started)
        ok = err_set(&why, ERR_UPSTREAM, "the upstream's answer has no candidates");
    rd->has_finish = true; /* unsaid it is STOP: the body is whole, so the answer is */
    if (ok && finish_up(rd, &why))
        return true;
    settle(rd, false, &why);
    if (e)
        *e = rd->err;
    return false;
}

void gem_reader_eof(struct dialect_reader *rd)
{
    struct err why = {0};
    if (rd->state != OPEN)
        return;
    begin_chunk(rd);
    settle(rd, finish_up(rd, &why), &why);
}

/* The next n bytes of *s. */
static struct span eat(struct span *s, size_t n)
{
    struct span head = span_upto(*s, n);
    *s = span_from(*s, n);
    return head;
}

enum dialect_status gem_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                    struct err *e)
{
    if (rd->head < rd->n) {
        const struct pending *p = &rd->queue[rd->head++];
        *out = p->ev;
        if (p->in_strings) {
            struct span s = span_from(buf_span(&rd->strings), p->off);
            out->tool_id = eat(&s, p->n_id);
            out->tool_name = eat(&s, p->n_name);
            out->signature = eat(&s, p->n_signature);
            out->arguments = eat(&s, p->n_arguments);
        }
        return DIALECT_EVENT;
    }
    if (rd->state != FAILED)
        return DIALECT_MORE;
    if (e)
        *e = rd->err;
    return DIALECT_FAIL;
}
