/* dialect/pass.c - embeddings, completions, fill in the middle: requests that are no chat and pass
 * as they came, to an upstream whose own dialect `passes`.
 *
 * They are dialects, and not a second way past the sources, because all that stands around a call
 * is wanted for them too: names, fallbacks, queues, books, timers, leaving clients. Of a body only
 * that is read which names a model, asks for a stream, or is reckoned; `model` alone is written
 * anew. An answer goes back in the upstream's own bytes, its `model` too: vectors of one model mean
 * nothing to another, and only the answer says whose they are. Sources of the format:
 * github.com/openai/openai-openapi (f85dbe2), github.com/mistralai/platform-docs-public
 * (222f4ba). */
#include "base/mem.h"
#include "dialect/openai_chat_priv.h"
#include "dialect/pass_priv.h"
#include "dialect/wire_fields.h"

/* A prompt may be written in tokens: what others are reckoned to have of bytes. */
#define TOKEN_BYTES 4

/* --- a client's request ----------------------------------------------------------------------- */

/* A text, or a list of texts, of tokens, or of lists of tokens. */
static int64_t text_bytes(json_val *v, int depth)
{
    struct span key;
    json_val *x;
    int64_t sum = 0;
    if (json_is_str(v))
        return (int64_t)json_str(v).n;
    if (json_is_num(v))
        return TOKEN_BYTES;
    for (struct json_iter it = json_iter_of(depth > 0 && json_is_arr(v) ? v : NULL);
         json_next(&it, &key, &x);)
        sum += text_bytes(x, depth - 1);
    return sum;
}

static int64_t input_bytes(json_val *root)
{
    static const char *const texts[] = {"input", "prompt", "suffix"};
    int64_t sum = 0;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        sum += text_bytes(json_get(root, texts[i]), 2);
    return sum;
}

static bool is_among(struct span key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq(key, span_of(names[i])))
            return true;
    return false;
}

/* Some servers embed images, and fetch them: a URL that is a member's value and no text is taken
 * for one, whatever the member is called. No deeper than the parser goes. */
static bool names_url(json_val *v)
{
    static const char *const texts[] = {"input",  "prompt", "suffix", "text",    "content",
                                        "system", "user",   "model",  "metadata"};
    struct span key;
    json_val *x;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        struct span head = span_upto(json_str(x), 16);
        bool text = json_is_obj(v) && is_among(key, texts, COUNT_OF(texts));
        if (json_is_str(x) && json_is_obj(v) && !text && span_index(head, SPAN("://")) < head.n)
            return true;
        if ((json_is_arr(x) || (json_is_obj(x) && !span_eq(key, SPAN("metadata")))) && names_url(x))
            return true;
    }
    return false;
}

static bool says_one(json_val *v)
{
    int64_t n;
    return !v || json_is_null(v) || (json_i64(v, &n) && n == 1);
}

/* Of the whole answer; unknown where it may have more than one text. */
static int64_t max_tokens(json_val *root)
{
    bool one = says_one(json_get(root, "n")) && says_one(json_get(root, "best_of")) &&
               json_is_str(json_get(root, "prompt"));
    return one ? wire_tokens(json_get(root, "max_tokens"), -1) : -1;
}

/* The client's text around the value of `model`. NULL: no memory. */
static struct chat_pass *split(struct arena *a, struct span body, json_val *root)
{
    struct chat_pass *p = arena_alloc(a, sizeof *p);
    struct span key;
    json_val *v;
    size_t i = 0;
    if (!p)
        return NULL;
    for (struct json_iter it = json_iter_of(root);
         json_next(&it, &key, &v) && !span_eq(key, SPAN("model"));)
        i++;
    struct span model = json_member_text(body, i);
    size_t at = (size_t)(model.p - body.p);
    *p = (struct chat_pass){span_upto(body, at), span_from(body, at + model.n), input_bytes(root),
                            names_url(root)};
    return p;
}

static bool read_request(struct arena *a, struct span body, const struct dialect *d,
                         struct chat_request *out, struct err *e)
{
    struct chat_request r = {.dialect = span_of(d->name),
                             .max_tokens = -1,
                             .parallel_tool_calls = -1,
                             .format_strict = -1,
                             .logprobs = -1,
                             .top_logprobs = -1,
                             .n = 1};
    struct wire_in in = {.a = a, .r = &r, .e = e};
    json_val *root;
    AUTO(arena) tree = arena_new(0); /* not for as long as the answer: most of it is in r.pass */
    if (!tree)
        return wire_no_memory(e);
    if (!json_parse(tree, body, &root, e))
        return false;
    if (!json_is_obj(root))
        return err_set(e, ERR_INPUT, "the body must be a JSON object, not %s",
                       json_type_name(root));
    json_val *model = json_get(root, "model"), *stream = wire_get(root, "stream");
    if (!model)
        return wire_bad_key(NULL, "model", e, "is missing");
    if (!wire_read_model(&in, model) || (stream && !wire_read_stream(&in, stream)))
        return false;
    r.max_tokens = max_tokens(root);
    r.model = arena_dup(a, r.model);
    r.pass = r.model.p ? split(a, body, root) : NULL;
    if (!r.pass)
        return wire_no_memory(e);
    *out = r;
    return true;
}

static bool read_embeddings(struct arena *a, struct span body, struct chat_request *out,
                            struct err *e)
{
    if (!read_request(a, body, &dialect_embeddings, out, e))
        return false;
    if (out->stream)
        return wire_bad_key(NULL, "stream", e, "is not for embeddings: they come whole");
    out->max_tokens = 0;
    return true;
}

static bool read_completions(struct arena *a, struct span body, struct chat_request *out,
                             struct err *e)
{
    return read_request(a, body, &dialect_completions, out, e);
}

static bool read_fim(struct arena *a, struct span body, struct chat_request *out, struct err *e)
{
    return read_request(a, body, &dialect_fim, out, e);
}

/* --- to an upstream --------------------------------------------------------------------------- */

static bool write_request(const struct chat_request *r, const struct dialect_target *t,
                          struct buf *out, struct dialect_notes *notes, struct err *e)
{
    size_t from = out->n;
    if (buf_add(out, r->pass->head, e) && json_write_str(out, t->model, e) &&
        buf_add(out, r->pass->tail, e))
        return true;
    buf_cut(out, from);
    return false;
}

/* --- to a client ------------------------------------------------------------------------------ */

struct dialect_writer {
    bool ended; /* its last event is out */
};

static struct dialect_writer *writer_new(const struct dialect_reply *r)
{
    return mem_zalloc(sizeof(struct dialect_writer));
}

static void writer_free(struct dialect_writer *w)
{
    mem_free(w);
}

/* No string of JSON holds a line end as it is: one that is there is white space. */
static bool add_line(struct buf *out, struct span json, struct err *e)
{
    struct span line;
    bool first = true;
    while (span_cut(&json, '\n', &line)) {
        if ((!first && !buf_add_char(out, ' ', e)) || !buf_add(out, line, e))
            return false;
        first = false;
    }
    return true;
}

static bool add_error(struct buf *out, const struct err *err, struct err *e)
{
    struct json_w w;
    json_w_init(&w, out, e);
    oai_write_stream_error(&w, err);
    return json_w_end(&w);
}

static bool write_event(struct dialect_writer *w, const struct chat_event *ev, struct buf *out,
                        struct err *e)
{
    size_t from = out->n;
    bool text = ev->kind == CHAT_EV_TEXT && ev->raw.p;
    bool last = ev->kind == CHAT_EV_FINISH || ev->kind == CHAT_EV_ERROR;
    if (w->ended || (!text && !last))
        return true;
    bool ok = buf_add(out, SPAN("data: "), e);
    if (ok && text)
        ok = add_line(out, ev->raw, e);
    else if (ok && ev->kind == CHAT_EV_ERROR)
        ok = add_error(out, ev->err, e);
    else if (ok)
        ok = buf_add(out, SPAN("[DONE]"), e);
    if (ok && buf_add(out, SPAN("\n\n"), e)) {
        w->ended = last;
        return true;
    }
    buf_cut(out, from);
    return false;
}

static bool write_unary(const struct dialect_reply *r, const struct chat_collect *c,
                        struct buf *out, struct err *e)
{
    return buf_add(out, buf_span(&c->text), e);
}

/* --- the tables ------------------------------------------------------------------------------- */

/* Key, headers and errors of an upstream are those of its own dialect. */
#define PASS(word, at, read)                                                                       \
    {                                                                                              \
        .name = (word), .id_prefix = "", .path = (at), .read_request = (read),                     \
        .writer_new = writer_new, .writer_free = writer_free, .write_event = write_event,          \
        .write_unary = write_unary, .write_error = oai_write_error,                                \
        .write_request = write_request, .reader_new = pass_reader_new,                             \
        .reader_free = pass_reader_free, .reader_feed = pass_reader_feed,                          \
        .reader_body = pass_reader_body, .reader_eof = pass_reader_eof,                            \
        .reader_next = pass_reader_next,                                                           \
    }

const struct dialect dialect_embeddings = PASS("embeddings", "/embeddings", read_embeddings);
const struct dialect dialect_completions = PASS("completions", "/completions", read_completions);
const struct dialect dialect_fim = PASS("fim completions", "/fim/completions", read_fim);
