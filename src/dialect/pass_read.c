/* dialect/pass_read.c - an upstream's answer to a pass -> events: each piece as it came, once it
 * has been seen to be JSON and no error, with what the books need beside it.
 *
 * Strict in one thing, as with chats: a stream is whole when a finish_reason was seen and [DONE]
 * came, or without [DONE] when each of its texts has one. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/openai_chat_priv.h"
#include "dialect/pass_priv.h"

enum state {
    OPEN,   /* pieces come */
    ENDED,  /* FINISH is queued or out; what comes now is ignored */
    FAILED, /* err is set */
};

struct dialect_reader {
    enum state state;
    struct json_scratch scratch;
    struct wire_queue queue;
    struct buf texts;         /* of the current piece, where it has several */
    int64_t texts_seen, ends; /* highest index of a text + 1; finish_reasons */
    bool delivered, has_usage;
    struct chat_usage usage; /* the last one counts */
    struct err err;
};

struct dialect_reader *pass_reader_new(void)
{
    struct dialect_reader *rd = mem_zalloc(sizeof *rd);
    if (!rd)
        return NULL;
    json_scratch_init(&rd->scratch);
    buf_init(&rd->texts, LIMIT_ANSWER_BYTES);
    return rd;
}

void pass_reader_free(struct dialect_reader *rd)
{
    if (!rd)
        return;
    json_scratch_done(&rd->scratch);
    wire_queue_done(&rd->queue);
    buf_done(&rd->texts);
    mem_free(rd);
}

/* Always false. */
static bool fail(struct dialect_reader *rd, const struct err *why, struct err *e)
{
    rd->err = *why;
    rd->state = FAILED;
    wire_queue_clear(&rd->queue);
    if (e)
        *e = rd->err;
    return false;
}

/* --- a piece ---------------------------------------------------------------------------------- */

/* Completions have `text`; Mistral answers a fill-in as a chat. */
static struct span text_of(json_val *choice)
{
    json_val *text = json_get(choice, "text"), *said = json_get(choice, "delta");
    if (!said)
        said = json_get(choice, "message");
    return json_str(text ? text : json_get(said, "content"));
}

/* All that the texts of a piece say, for who counts it. */
static bool read_choices(struct dialect_reader *rd, json_val *root, struct span *out, struct err *e)
{
    json_val *list = json_get(root, "choices"), *c;
    struct span key, one = SPAN("");
    buf_clear(&rd->texts);
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &c);) {
        int64_t index = wire_tokens(json_get(c, "index"), 0);
        struct span text = text_of(c);
        rd->texts_seen = index < rd->texts_seen ? rd->texts_seen : index + 1;
        rd->ends += json_str(json_get(c, "finish_reason")).n > 0;
        if (text.n == 0)
            continue;
        if (one.n > 0 && rd->texts.n == 0 && !buf_add(&rd->texts, one, e))
            return false;
        if (one.n > 0 && !buf_add(&rd->texts, text, e))
            return false;
        one = one.n > 0 ? one : text;
    }
    *out = rd->texts.n > 0 ? buf_span(&rd->texts) : one;
    return true;
}

static bool push_piece(struct dialect_reader *rd, json_val *root, struct span raw, struct err *e)
{
    struct span text;
    struct chat_usage u;
    if (!read_choices(rd, root, &text, e))
        return false;
    struct wire_pending *p = wire_push(&rd->queue, CHAT_EV_TEXT, e);
    if (!p)
        return false;
    p->ev.text = text;
    p->ev.raw = raw;
    rd->delivered = true;
    if (oai_read_usage(json_get(root, "usage"), &u)) {
        rd->usage = u;
        rd->has_usage = true;
    }
    return true;
}

static bool finish_up(struct dialect_reader *rd, struct err *e)
{
    struct wire_pending *p;
    if (rd->has_usage) {
        if (!(p = wire_push(&rd->queue, CHAT_EV_USAGE, e)))
            return false;
        p->ev.usage = rd->usage;
    }
    if (!(p = wire_push(&rd->queue, CHAT_EV_FINISH, e)))
        return false;
    p->ev.finish = CHAT_FINISH_STOP;
    rd->state = ENDED;
    return true;
}

static bool end_stream(struct dialect_reader *rd, bool whole, struct err *e)
{
    if (whole && rd->ends > 0)
        return finish_up(rd, e);
    return err_set(e, ERR_CUT, "the upstream's answer ended before its end");
}

/* --- the dialect's functions ------------------------------------------------------------------ */

/* What the upstream itself says of its failure is told by reader_next(). */
static bool settle(struct dialect_reader *rd, bool ok, const struct err *why)
{
    if (!ok)
        fail(rd, why, NULL);
    return true;
}

bool pass_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e)
{
    struct err why; /* large: set where something fails, not per piece */
    json_val *root = NULL;
    wire_queue_clear(&rd->queue);
    data = span_trim(data);
    if (rd->state == ENDED || data.n == 0 || span_eq(type, SPAN("ping")))
        return true;
    if (rd->state == FAILED) {
        if (e)
            *e = rd->err;
        return false;
    }
    if (span_eq(data, SPAN("[DONE]")))
        return settle(rd, end_stream(rd, true, &why), &why);
    if (!json_parse_scratch(&rd->scratch, data, &root, &why) && why.cls == ERR_NOMEM)
        return settle(rd, false, &why);
    if (wire_stream_error(root, span_eq(type, SPAN("error")), rd->delivered, &why))
        return settle(rd, false, &why);
    if (json_is_obj(root))
        return settle(rd, push_piece(rd, root, data, &why), &why);
    err_set(&why, ERR_UPSTREAM, "the upstream's stream is not made of JSON objects");
    return fail(rd, &why, e);
}

bool pass_reader_body(struct dialect_reader *rd, struct span body, struct err *e)
{
    struct err why;
    json_val *root = NULL;
    wire_queue_clear(&rd->queue);
    body = span_trim(body);
    bool ok = json_parse_scratch(&rd->scratch, body, &root, &why) || why.cls != ERR_NOMEM;
    if (ok && wire_stream_error(root, false, false, &why))
        ok = false;
    else if (ok && !json_is_obj(root))
        ok = err_set(&why, ERR_UPSTREAM, "the upstream's answer is not a JSON object");
    else if (ok)
        ok = push_piece(rd, root, body, &why) && finish_up(rd, &why);
    return ok || fail(rd, &why, e);
}

void pass_reader_eof(struct dialect_reader *rd)
{
    struct err why;
    if (rd->state != OPEN)
        return;
    wire_queue_clear(&rd->queue);
    settle(rd, end_stream(rd, rd->ends >= rd->texts_seen, &why), &why);
}

enum dialect_status pass_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                     struct err *e)
{
    if (wire_pop(&rd->queue, NULL, out))
        return DIALECT_EVENT;
    if (rd->state != FAILED)
        return DIALECT_MORE;
    if (e)
        *e = rd->err;
    return DIALECT_FAIL;
}
