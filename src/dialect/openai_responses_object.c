/* dialect/openai_responses_object.c - the items of an answer and the response object around them,
 * for a whole body and for the events that carry it.
 *
 * The object says back what was asked. What the request left open stands at its default, because
 * strict clients want a number and not a null (openresponses.org asks for more members than OpenAI
 * does, both are met). When an answer was completed is not said: no clock here. */
#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "dialect/responses_priv.h"

static void w_str(struct json_w *w, const char *key, struct span s)
{
    json_w_key(w, key);
    json_w_str(w, s);
}

static void w_i64(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    json_w_i64(w, v);
}

static void w_cstr(struct json_w *w, const char *key, const char *s)
{
    json_w_key(w, key);
    json_w_cstr(w, s);
}

/* JSON text, or what stands for it when there is none. */
static void w_raw(struct json_w *w, const char *key, struct span json, const char *otherwise)
{
    json_w_key(w, key);
    json_w_raw(w, json.p ? json : span_of(otherwise));
}

static void w_str_or_null(struct json_w *w, const char *key, struct span s)
{
    json_w_key(w, key);
    if (s.p)
        json_w_str(w, s);
    else
        json_w_null(w);
}

/* --- ids -------------------------------------------------------------------------------------- */

void resp_item_id(struct resp_item *it, struct span answer_id, size_t n)
{
    static const char *const prefixes[] = {[RESP_MESSAGE] = "msg_",
                                           [RESP_REASONING] = "rs_",
                                           [RESP_CALL] = "fc_",
                                           [RESP_FUSION] = "fusion_"};
    if (span_starts(answer_id, SPAN("resp_")))
        answer_id = span_from(answer_id, 5);
    answer_id = span_upto(answer_id, RESP_ID_BYTES - 32);
    snprintf(it->id, sizeof it->id, "%s%.*s_%zu", prefixes[it->kind], SPAN_ARG(answer_id), n);
}

void resp_reasoning_id(struct resp_item *it, struct span own)
{
    if (!wire_is_name(own) || own.n >= sizeof it->id)
        return;
    memcpy(it->id, own.p, own.n);
    it->id[own.n] = '\0';
}

void resp_call_id(const struct chat_collect *c, size_t i, struct span answer_id,
                  char out[static RESP_ID_BYTES])
{
    struct span id = buf_span(&c->tools[i].id);
    char made[WIRE_CALL_ID_BYTES];
    /* An id that another call has already is as good as none. */
    for (size_t k = 0; id.n > 0 && k < i; k++)
        if (span_eq(buf_span(&c->tools[k].id), id))
            id = (struct span){"", 0};
    id = wire_call_id(id, answer_id, i, made);
    memcpy(out, id.p, id.n);
    out[id.n] = '\0';
}

/* --- items ------------------------------------------------------------------------------------ */

void resp_write_part(struct json_w *w, bool refusal, struct span text)
{
    json_w_obj(w);
    w_cstr(w, "type", refusal ? "refusal" : "output_text");
    if (!refusal) {
        w_raw(w, "annotations", SPAN("[]"), "");
        w_raw(w, "logprobs", SPAN("[]"), "");
    }
    w_str(w, refusal ? "refusal" : "text", text);
    json_w_obj_end(w);
}

static struct span piece(const struct buf *b, size_t from, size_t n)
{
    return span_upto(span_from(buf_span(b), from), n);
}

static void write_message(struct json_w *w, const struct chat_collect *c,
                          const struct resp_item *it)
{
    w_cstr(w, "role", "assistant");
    json_w_key(w, "content");
    json_w_arr(w);
    for (int i = 0; i < 2; i++) {
        if (it->text_part == i)
            resp_write_part(w, false, piece(&c->text, it->text, it->text_n));
        if (it->refusal_part == i)
            resp_write_part(w, true, piece(&c->refusal, it->refusal, it->refusal_n));
    }
    json_w_arr_end(w);
}

static void write_reasoning(struct json_w *w, const struct chat_collect *c,
                            const struct resp_item *it)
{
    const struct chat_collected_block *b = &c->blocks[it->index];
    struct resp_block block = {.id = buf_span(&b->id),
                               .signature = buf_span(&b->signature),
                               .format = buf_span(&b->format)};
    json_w_key(w, "summary");
    json_w_arr(w);
    if (it->text_n > 0) {
        json_w_obj(w);
        w_cstr(w, "type", "summary_text");
        w_str(w, "text", piece(&c->reasoning, it->text, it->text_n));
        json_w_obj_end(w);
    }
    json_w_arr_end(w);
    if (block.signature.n == 0 || !it->done)
        return;
    json_w_key(w, "encrypted_content");
    resp_write_sealed(w, &block, span_of(it->id));
}

static void write_call(struct json_w *w, const struct chat_collect *c, const struct resp_item *it)
{
    const struct chat_collected_tool *t = &c->tools[it->index];
    bool begins = strcmp(it->status, "in_progress") == 0;
    w_str(w, "call_id", span_of(it->call_id));
    w_str(w, "name", buf_span(&t->name));
    w_str(w, "arguments", begins ? SPAN("") : buf_span(&t->arguments));
    if (t->signature.n == 0 || begins)
        return;
    json_w_key(w, "extra_content");
    json_w_obj(w);
    json_w_key(w, "google");
    json_w_obj(w);
    w_str(w, "thought_signature", buf_span(&t->signature));
    json_w_obj_end(w);
    json_w_obj_end(w);
}

void resp_write_item(struct json_w *w, const struct chat_collect *c, const struct resp_item *it)
{
    static const char *const types[] = {[RESP_MESSAGE] = "message",
                                        [RESP_REASONING] = "reasoning",
                                        [RESP_CALL] = "function_call",
                                        [RESP_FUSION] = "openrouter:fusion"};
    json_w_obj(w);
    w_cstr(w, "type", types[it->kind]);
    w_str(w, "id", span_of(it->id));
    if (it->kind != RESP_REASONING)
        w_cstr(w, "status", it->status);
    if (it->kind == RESP_MESSAGE)
        write_message(w, c, it);
    else if (it->kind == RESP_REASONING)
        write_reasoning(w, c, it);
    else if (it->kind == RESP_CALL)
        write_call(w, c, it);
    json_w_obj_end(w);
}

/* --- the end of an answer --------------------------------------------------------------------- */

bool resp_releasable(const struct chat_collect *c, size_t i, enum chat_finish finish)
{
    return c->tools[i].name.n > 0 && (c->tools[i].whole || finish == CHAT_FINISH_TOOL_CALLS);
}

struct resp_end resp_end_of(const struct chat_collect *c, enum chat_finish finish, bool calls)
{
    static const struct resp_end completed = {"completed", NULL, NULL},
                                 cut = {"incomplete", "max_output_tokens", NULL},
                                 filtered = {"incomplete", "content_filter", NULL};
    if (calls)
        return completed; /* whatever the upstream said: agents end early otherwise */
    switch (finish) {
    case CHAT_FINISH_STOP:
    case CHAT_FINISH_TOOL_CALLS:
        return completed;
    case CHAT_FINISH_LENGTH:
        return cut;
    case CHAT_FINISH_CONTENT_FILTER:
        return filtered;
    case CHAT_FINISH_REFUSAL:
        return c->refusal.n > 0 ? completed : filtered;
    }
    return completed;
}

/* --- what is said back of the request --------------------------------------------------------- */

static bool is_own(const struct chat_request *r)
{
    return span_eq(r->dialect, RESP_NAME);
}

/* The raw JSON of an extra; p NULL: none. */
static struct span extra(const struct chat_request *r, const char *name)
{
    for (size_t i = 0; is_own(r) && i < r->n_extras; i++)
        if (span_eq(r->extras[i].name, span_of(name)))
            return r->extras[i].json;
    return (struct span){0};
}

static void write_function(struct json_w *w, const struct chat_tool *t)
{
    json_w_obj(w);
    w_cstr(w, "type", "function");
    w_str(w, "name", t->name);
    w_str_or_null(w, "description", t->description);
    w_raw(w, "parameters", t->parameters, "null");
    w_raw(w, "strict",
          t->strict > 0    ? SPAN("true")
          : t->strict == 0 ? SPAN("false")
                           : SPAN("null"),
          "");
    json_w_obj_end(w);
}

static void write_tools(struct json_w *w, const struct chat_request *r)
{
    json_w_key(w, "tools");
    json_w_arr(w);
    for (size_t i = 0; i < r->n_tools; i++) {
        const struct chat_tool *t = &r->tools[i];
        struct span raw = t->raw.p ? t->raw : t->whole;
        if (raw.p && is_own(r))
            json_w_raw(w, raw);
        else if (!t->raw.p)
            write_function(w, t);
    }
    json_w_arr_end(w);
}

void resp_write_choice(struct json_w *w, const struct chat_request *r)
{
    static const char *const names[] = {[CHAT_CHOICE_UNSET] = "auto",
                                        [CHAT_CHOICE_AUTO] = "auto",
                                        [CHAT_CHOICE_NONE] = "none",
                                        [CHAT_CHOICE_REQUIRED] = "required"};
    json_w_key(w, "tool_choice");
    if (r->tool_choice != CHAT_CHOICE_NAMED) {
        json_w_cstr(w, names[r->tool_choice]);
        return;
    }
    json_w_obj(w);
    w_cstr(w, "type", "function");
    w_str(w, "name", r->tool_choice_name);
    json_w_obj_end(w);
}

/* whole: with a null for what is not there. */
void resp_write_format(struct json_w *w, const struct chat_request *r, bool whole)
{
    static const char *const names[] = {[CHAT_FORMAT_UNSET] = "text",
                                        [CHAT_FORMAT_TEXT] = "text",
                                        [CHAT_FORMAT_JSON] = "json_object",
                                        [CHAT_FORMAT_SCHEMA] = "json_schema"};
    json_w_key(w, "format");
    json_w_obj(w);
    w_cstr(w, "type", names[r->format]);
    if (r->format == CHAT_FORMAT_SCHEMA) {
        w_str(w, "name", r->format_name.p ? r->format_name : SPAN("answer"));
        if (r->format_description.p || whole)
            w_str_or_null(w, "description", r->format_description);
        w_raw(w, "schema", r->format_schema, "{}");
        if (r->format_strict >= 0 || whole)
            w_raw(w, "strict", r->format_strict > 0 ? SPAN("true") : SPAN("false"), "");
    }
    json_w_obj_end(w);
}

static void write_settings(struct json_w *w, const struct chat_request *r)
{
    json_w_key(w, "text");
    json_w_obj(w);
    resp_write_format(w, r, true);
    w_str(w, "verbosity", r->verbosity.p ? r->verbosity : SPAN("medium"));
    json_w_obj_end(w);
    json_w_key(w, "reasoning");
    json_w_obj(w);
    w_str_or_null(w, "effort", r->reasoning_effort);
    w_str_or_null(w, "summary", r->reasoning_summary);
    json_w_obj_end(w);
}

/* The instructions are the first message when the client sent such. */
static struct span instructions_of(const struct chat_request *r)
{
    bool any = is_own(r) && r->n_instructions > 0 && r->n_messages > 0 &&
               r->messages[0].n_parts == 1 && r->messages[0].parts[0].kind == CHAT_PART_TEXT;
    return any ? r->messages[0].parts[0].text : (struct span){0};
}

void resp_write_echo(struct json_w *w, const struct chat_request *r)
{
    static const struct chat_request none = {.max_tokens = -1, .parallel_tool_calls = -1};
    r = r ? r : &none;
    w_str_or_null(w, "instructions", instructions_of(r));
    json_w_key(w, "max_output_tokens");
    if (r->max_tokens >= 0)
        json_w_i64(w, r->max_tokens);
    else
        json_w_null(w);
    w_raw(w, "max_tool_calls", extra(r, "max_tool_calls"), "null");
    w_raw(w, "metadata", r->metadata, "{}");
    json_w_key(w, "parallel_tool_calls");
    json_w_bool(w, r->parallel_tool_calls != 0);
    w_raw(w, "presence_penalty", r->presence_penalty, "0");
    w_raw(w, "frequency_penalty", r->frequency_penalty, "0");
    w_str_or_null(w, "previous_response_id", r->previous_id);
    w_raw(w, "prompt_cache_key", extra(r, "prompt_cache_key"), "null");
    w_raw(w, "safety_identifier", extra(r, "safety_identifier"), "null");
    w_cstr(w, "service_tier", "default");
    json_w_key(w, "store");
    json_w_bool(w, r->store);
    w_raw(w, "temperature", r->temperature, "1");
    w_raw(w, "top_p", r->top_p, "1");
    w_i64(w, "top_logprobs", 0);
    write_settings(w, r);
    write_tools(w, r);
    if (extra(r, "tool_choice").p)
        w_raw(w, "tool_choice", extra(r, "tool_choice"), "");
    else
        resp_write_choice(w, r);
    w_raw(w, "truncation", extra(r, "truncation"), "\"disabled\"");
    if (r->user.p) /* the one member that the book does not let be null */
        w_str(w, "user", r->user);
}

/* --- the object ------------------------------------------------------------------------------- */

static void write_usage(struct json_w *w, const struct chat_collect *c)
{
    /* A client's library may not do without usage: an answer whose end did not say counts as 0. */
    static const struct chat_usage none = {.cost_nusd = -1, .estimated = true};
    const struct chat_usage *u = c->has_usage ? &c->usage : &none;
    json_w_obj(w);
    w_i64(w, "input_tokens", u->input);
    json_w_key(w, "input_tokens_details");
    json_w_obj(w);
    w_i64(w, "cached_tokens", u->cached);
    w_i64(w, "cache_write_tokens", u->cache_write);
    json_w_obj_end(w);
    w_i64(w, "output_tokens", u->output);
    json_w_key(w, "output_tokens_details");
    json_w_obj(w);
    w_i64(w, "reasoning_tokens", u->reasoning);
    json_w_obj_end(w);
    w_i64(w, "total_tokens", u->input + u->output);
    wire_write_spend(w, u, c->report);
    json_w_obj_end(w);
}

/* The book has a list of codes for this place, of which these can be meant; two are not in it that
 * the API sends and clients look for. The `error` event has our own. */
static const char *code_of(const struct err *err)
{
    if (strcmp(err->code, "context_length_exceeded") == 0)
        return err->code;
    return err->cls == ERR_BUSY     ? "rate_limit_exceeded"
           : err->cls == ERR_BUDGET ? "insufficient_quota"
           : err->cls == ERR_INPUT  ? "invalid_prompt"
                                    : "server_error";
}

static void write_end(struct json_w *w, const struct resp_end *end)
{
    w_cstr(w, "status", end->status);
    json_w_key(w, "error");
    if (end->err) {
        json_w_obj(w);
        w_cstr(w, "code", code_of(end->err));
        w_cstr(w, "message", end->err->msg);
        json_w_obj_end(w);
    } else {
        json_w_null(w);
    }
    json_w_key(w, "incomplete_details");
    if (end->reason) {
        json_w_obj(w);
        w_cstr(w, "reason", end->reason);
        json_w_obj_end(w);
    } else {
        json_w_null(w);
    }
}

void resp_write_object(struct json_w *w, const struct dialect_reply *r, const struct resp_end *end,
                       struct span echo, const struct chat_collect *c,
                       const struct resp_item *items, size_t n)
{
    json_w_obj(w);
    w_str(w, "id", r->id);
    w_cstr(w, "object", "response");
    w_i64(w, "created_at", r->created);
    w_raw(w, "completed_at", SPAN("null"), "");
    w_raw(w, "background", SPAN("false"), "");
    write_end(w, end);
    w_str(w, "model", r->model);
    json_w_key(w, "output");
    json_w_arr(w);
    for (size_t i = 0; i < n; i++)
        if (items[i].done)
            resp_write_item(w, c, &items[i]);
    json_w_arr_end(w);
    json_w_key(w, "usage");
    if (c)
        write_usage(w, c);
    else
        json_w_null(w);
    w->failed = w->failed || !buf_add_char(w->b, ',', w->e) || !buf_add(w->b, echo, w->e);
    json_w_obj_end(w);
}

/* --- one body --------------------------------------------------------------------------------- */

/* Where the upstream's own id of a block stands for another block too, it is no id. */
static bool is_first(const struct chat_collect *c, size_t block)
{
    for (size_t i = 0; i < block; i++)
        if (span_eq(buf_span(&c->blocks[i].id), buf_span(&c->blocks[block].id)))
            return false;
    return true;
}

static size_t list_items(const struct dialect_reply *r, const struct chat_collect *c,
                         enum chat_finish finish, struct resp_item *items)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_blocks; i++) {
        struct resp_item *it = &items[n];
        *it = (struct resp_item){.kind = RESP_REASONING,
                                 .index = i,
                                 .text = c->blocks[i].from,
                                 .text_n = c->blocks[i].n};
        resp_item_id(it, r->id, n++);
        if (is_first(c, i))
            resp_reasoning_id(it, buf_span(&c->blocks[i].id));
    }
    struct resp_item *message = &items[n];
    *message = (struct resp_item){.kind = RESP_MESSAGE,
                                  .text_n = c->text.n,
                                  .refusal_n = c->refusal.n,
                                  .text_part = c->text.n > 0 ? 0 : -1,
                                  .refusal_part = c->refusal.n > 0 ? c->text.n > 0 : -1};
    resp_item_id(message, r->id, n);
    n += c->text.n > 0 || c->refusal.n > 0;
    for (size_t i = 0; i < c->n_tools; i++) {
        if (!resp_releasable(c, i, finish))
            continue;
        items[n] = (struct resp_item){.kind = RESP_CALL, .index = i};
        resp_call_id(c, i, r->id, items[n].call_id);
        resp_item_id(&items[n], r->id, n);
        n++;
    }
    if (n == 0 && c->n_tools == 0) { /* nothing was said: an empty message says so */
        message->text_part = 0;
        n = 1;
    }
    return n;
}

bool resp_write_unary(const struct dialect_reply *r, const struct chat_collect *c, struct buf *out,
                      struct err *e)
{
    size_t from = out->n, n = 0, calls = 0;
    struct resp_item *items = mem_alloc((c->n_blocks + c->n_tools + 1) * sizeof *items);
    struct buf echo;
    struct json_w w;
    buf_init(&echo, LIMIT_CHAT_BODY_BYTES);
    json_w_init(&w, &echo, e);
    resp_write_echo(&w, r->request);
    bool ok = items ? json_w_end(&w) : wire_no_memory(e);
    if (ok) {
        n = list_items(r, c, c->finish, items);
        for (size_t i = 0; i < n; i++)
            calls += items[i].kind == RESP_CALL;
        enum chat_finish finish = c->over ? CHAT_FINISH_LENGTH : c->finish;
        struct resp_end end = resp_end_of(c, finish, calls > 0);
        for (size_t i = 0; i < n; i++) {
            items[i].done = true;
            items[i].status = i == n - 1 ? end.status : "completed";
        }
        json_w_init(&w, out, e);
        resp_write_object(&w, r, &end, buf_span(&echo), c, items, n);
        ok = json_w_end(&w);
    }
    mem_free(items);
    buf_done(&echo);
    if (!ok)
        buf_cut(out, from);
    return ok;
}
