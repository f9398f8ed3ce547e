/* dialect/openai_responses_send.c - chat_request -> a body for an upstream, in one pass.
 *
 * Built from scratch: nothing of the client's body passes but what chat_request holds. Nothing is
 * kept at the upstream (store: false), so its encrypted reasoning is asked for and goes back with
 * the next turn. What this API has no word for: `stop`, `top_k` and penalties change the answer and
 * are refused; `seed` promises nothing anywhere and is left out and listed. */
#include "base/text.h"
#include "dialect/responses_priv.h"

/* A body being written. */
struct body {
    struct json_w *w;
    const struct chat_request *r;
    const struct dialect_target *t;
    bool same; /* the request came in this dialect */
    struct dialect_notes *notes;
    struct err *e;
};

static void number(struct json_w *w, const char *key, struct span text)
{
    if (!text.p)
        return;
    json_w_key(w, key);
    json_w_raw(w, text);
}

static void string(struct json_w *w, const char *key, struct span s)
{
    if (!s.p)
        return;
    json_w_key(w, key);
    json_w_str(w, s);
}

static void boolean(struct json_w *w, const char *key, bool v)
{
    json_w_key(w, key);
    json_w_bool(w, v);
}

static void integer(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    json_w_i64(w, v);
}

/* --- what cannot be said ---------------------------------------------------------------------- */

static bool is_zero(struct span number_text)
{
    for (size_t i = 0; i < number_text.n && number_text.p[i] != 'e' && number_text.p[i] != 'E'; i++)
        if (number_text.p[i] >= '1' && number_text.p[i] <= '9')
            return false;
    return true;
}

static bool check_known(const struct body *b)
{
    const struct chat_request *r = b->r;
    const struct {
        const char *name;
        bool asked;
    } unknown[] = {
        {"stop", r->n_stop > 0},
        {"top_k", r->top_k.p != NULL},
        {"presence_penalty", !b->same && !is_zero(r->presence_penalty)},
        {"frequency_penalty", !b->same && !is_zero(r->frequency_penalty)},
        {"n", r->n > 1},
        {"logprobs", r->logprobs > 0},
        {"top_logprobs", r->top_logprobs > 0},
        {"modalities", r->audio_out},
    };
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        if (unknown[i].asked)
            return wire_bad_key(
                NULL, unknown[i].name, b->e,
                "is a field that the upstream of this model does not know: leave it "
                "out");
    if (r->seed.p)
        wire_note(b->notes, SPAN("seed"));
    return true;
}

/* --- input ------------------------------------------------------------------------------------ */

/* The first message, when it can go as `instructions`: a client of this dialect says which it is;
 * of others the first word of the system is. */
static bool leads(const struct chat_request *r, bool same)
{
    const struct chat_message *m = r->messages;
    if (r->n_messages < 2 || (same && r->n_instructions == 0))
        return false;
    return (m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER) && m->n_parts == 1 &&
           m->parts[0].kind == CHAT_PART_TEXT && m->parts[0].text.n > 0 && !m->parts[0].raw.p &&
           !m->parts[0].cache_mark && !m->name.p && m->n_extras == 0;
}

static bool write_input(const struct body *b)
{
    const struct chat_request *r = b->r;
    struct resp_send s = {.w = b->w,
                          .same = b->same,
                          .omit_reasoning = b->t->omit_reasoning,
                          .notes = b->notes,
                          .e = b->e};
    size_t from = leads(r, b->same);
    bool ok = true;
    if (from > 0)
        string(b->w, "instructions", r->messages[0].parts[0].text);
    json_w_key(b->w, "input");
    json_w_arr(b->w);
    for (size_t i = from; ok && i < r->n_messages; i++)
        ok = resp_write_message(&s, &r->messages[i], i);
    json_w_arr_end(b->w);
    return ok;
}

/* --- tools ------------------------------------------------------------------------------------ */

/* This API takes a schema for strict unless told otherwise, Chat Completions does not: a request
 * from elsewhere says it. */
static void write_function(const struct body *b, const struct chat_tool *t)
{
    struct json_w *w = b->w;
    json_w_obj(w);
    string(w, "type", SPAN("function"));
    string(w, "name", t->name);
    string(w, "description", t->description);
    number(w, "parameters",
           t->parameters.p ? t->parameters : SPAN("{\"type\":\"object\",\"properties\":{}}"));
    if (t->strict >= 0 || !b->same)
        boolean(w, "strict", t->strict > 0);
    json_w_obj_end(w);
}

static bool has_extra(const struct chat_request *r, struct span name)
{
    for (size_t i = 0; i < r->n_extras; i++)
        if (span_eq(r->extras[i].name, name))
            return true;
    return false;
}

/* Without tools neither the choice nor parallel_tool_calls means anything, and servers refuse them.
 */
static bool write_tools(const struct body *b)
{
    const struct chat_request *r = b->r;
    if (r->n_tools == 0)
        return true;
    json_w_key(b->w, "tools");
    json_w_arr(b->w);
    for (size_t i = 0; i < r->n_tools; i++) {
        const struct chat_tool *t = &r->tools[i];
        struct span raw = t->raw.p ? t->raw : t->whole;
        struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, i};
        if (raw.p && !b->same)
            return wire_bad(
                &below, b->e,
                "is of a kind, or has members, that the upstream of this model does not "
                "know");
        if (raw.p)
            json_w_raw(b->w, raw);
        else
            write_function(b, t);
    }
    json_w_arr_end(b->w);
    if (r->tool_choice != CHAT_CHOICE_UNSET && !(b->same && has_extra(r, SPAN("tool_choice"))))
        resp_write_choice(b->w, r);
    if (r->parallel_tool_calls >= 0)
        boolean(b->w, "parallel_tool_calls", r->parallel_tool_calls != 0);
    return true;
}

/* --- settings --------------------------------------------------------------------------------- */

/* Extras that stood inside an object of that name, into it. */
static void write_inner(const struct body *b, struct span object)
{
    for (size_t i = 0; b->same && i < b->r->n_extras; i++) {
        struct span name = b->r->extras[i].name;
        if (!span_starts(name, object))
            continue;
        json_w_str(b->w, span_from(name, object.n));
        b->w->failed = b->w->failed || !buf_add_char(b->w->b, ':', b->w->e);
        b->w->comma = false;
        json_w_raw(b->w, b->r->extras[i].json);
    }
}

static bool has_inner(const struct body *b, struct span object)
{
    for (size_t i = 0; b->same && i < b->r->n_extras; i++)
        if (span_starts(b->r->extras[i].name, object))
            return true;
    return false;
}

static void write_text(const struct body *b)
{
    const struct chat_request *r = b->r;
    if (r->format == CHAT_FORMAT_UNSET && !r->verbosity.p && !has_inner(b, SPAN("text.")))
        return;
    json_w_key(b->w, "text");
    json_w_obj(b->w);
    if (r->format != CHAT_FORMAT_UNSET)
        resp_write_format(b->w, r, false);
    string(b->w, "verbosity", r->verbosity);
    write_inner(b, SPAN("text."));
    json_w_obj_end(b->w);
}

/* How hard to think, where the request says with how many tokens: rough, and therefore listed. */
static struct span effort_of(const struct body *b)
{
    const struct chat_request *r = b->r;
    if (r->reasoning_effort.p || b->same || r->reasoning_tokens == 0)
        return r->reasoning_effort;
    wire_note(b->notes, SPAN("reasoning.max_tokens"));
    return r->reasoning_tokens <= 2048   ? SPAN("low")
           : r->reasoning_tokens <= 8192 ? SPAN("medium")
                                         : SPAN("high");
}

static void write_reasoning(const struct body *b)
{
    const struct chat_request *r = b->r;
    struct span effort = effort_of(b);
    bool tokens = b->same && r->reasoning_tokens > 0;
    if (!effort.p && !r->reasoning_summary.p && !tokens && !has_inner(b, SPAN("reasoning.")))
        return;
    json_w_key(b->w, "reasoning");
    json_w_obj(b->w);
    string(b->w, "effort", effort);
    string(b->w, "summary", r->reasoning_summary);
    if (tokens)
        integer(b->w, "max_tokens", r->reasoning_tokens);
    write_inner(b, SPAN("reasoning."));
    json_w_obj_end(b->w);
}

static void write_sampling(const struct body *b)
{
    const struct chat_request *r = b->r;
    if (r->max_tokens >= 0)
        integer(b->w, "max_output_tokens", r->max_tokens);
    number(b->w, "temperature", r->temperature);
    number(b->w, "top_p", r->top_p);
    if (b->same) {
        number(b->w, "presence_penalty", r->presence_penalty);
        number(b->w, "frequency_penalty", r->frequency_penalty);
    }
}

/* OpenAI answers "Encrypted content is not supported with this model" for those that do not think.
 */
static bool thinks(struct span model)
{
    static const char *const without[] = {"gpt-3", "gpt-4", "chatgpt-"};
    size_t slash = span_rindex(model, SPAN("/"));
    if (slash < model.n)
        model = span_from(model, slash + 1);
    for (size_t i = 0; i < COUNT_OF(without); i++)
        if (span_starts(model, span_of(without[i])))
            return false;
    return span_index(model, SPAN("chat-latest")) == model.n;
}

static void write_keeping(const struct body *b, struct span model)
{
    boolean(b->w, "store", false);
    if (thinks(model) && !b->t->omit_reasoning) {
        json_w_key(b->w, "include");
        json_w_raw(b->w, SPAN("[\"reasoning.encrypted_content\"]"));
    }
}

static void write_stream(const struct body *b)
{
    if (b->t->unary)
        return;
    boolean(b->w, "stream", true);
    if (b->t->omit_stream_options || !has_inner(b, SPAN("stream_options.")))
        return;
    json_w_key(b->w, "stream_options");
    json_w_obj(b->w);
    write_inner(b, SPAN("stream_options."));
    json_w_obj_end(b->w);
}

static void write_hints(const struct body *b)
{
    string(b->w, "user", b->r->user);
    if (b->r->metadata.p && !b->same)
        wire_note(b->notes, SPAN("metadata"));
    else
        number(b->w, "metadata", b->r->metadata);
}

/* Those of the objects above are written there. */
static bool write_extras(const struct body *b)
{
    static const struct span objects[] = {SPAN_INIT("text."), SPAN_INIT("reasoning."),
                                          SPAN_INIT("stream_options.")};
    for (size_t i = 0; i < b->r->n_extras; i++) {
        bool inner = false;
        for (size_t k = 0; k < COUNT_OF(objects); k++)
            inner = inner || span_starts(b->r->extras[i].name, objects[k]);
        if (!(inner && b->same) &&
            !wire_write_extras(b->w, &b->r->extras[i], 1, NULL, b->same, NULL, b->notes, b->e))
            return false;
    }
    return true;
}

bool resp_write_request(const struct chat_request *r, const struct dialect_target *t,
                        struct buf *out, struct dialect_notes *notes, struct err *e)
{
    struct json_w w;
    struct body b = {.w = &w,
                     .r = r,
                     .t = t,
                     .same = span_eq(r->dialect, RESP_NAME) && span_eq(t->dialect, RESP_NAME),
                     .notes = notes,
                     .e = e};
    struct span model = t->model.p ? t->model : r->model;
    size_t from = out->n;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    string(&w, "model", model);
    bool ok = check_known(&b) && write_input(&b) && write_tools(&b);
    if (ok) {
        write_sampling(&b);
        write_text(&b);
        write_reasoning(&b);
        write_keeping(&b, model);
        write_stream(&b);
        write_hints(&b);
    }
    ok = ok && write_extras(&b);
    json_w_obj_end(&w);
    if (ok && json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}
