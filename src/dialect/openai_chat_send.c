/* dialect/openai_chat_send.c - chat_request -> a body for an upstream, in one pass.
 *
 * Built from scratch: nothing of the client's body passes but what chat_request holds. Extras go to
 * an upstream of their own dialect only; hints that stay behind are listed, anything else that
 * cannot be carried is a 400 that names it. */
#include "base/text.h"
#include "dialect/openai_chat_priv.h"

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

static void write_sampling(struct json_w *w, const struct chat_request *r,
                           const struct dialect_target *t)
{
    if (r->max_tokens >= 0) {
        json_w_key(w, t->max_completion_tokens ? "max_completion_tokens" : "max_tokens");
        json_w_i64(w, r->max_tokens);
    }
    number(w, "temperature", r->temperature);
    number(w, "top_p", r->top_p);
    number(w, "presence_penalty", r->presence_penalty);
    number(w, "frequency_penalty", r->frequency_penalty);
    number(w, "seed", r->seed);
    string(w, "reasoning_effort", r->reasoning_effort);
    if (r->n_stop == 0)
        return;
    json_w_key(w, "stop");
    json_w_arr(w);
    for (size_t i = 0; i < r->n_stop; i++)
        json_w_str(w, r->stop[i]);
    json_w_arr_end(w);
}

static void write_format(struct json_w *w, const struct chat_request *r)
{
    static const char *const names[] = {[CHAT_FORMAT_TEXT] = "text",
                                        [CHAT_FORMAT_JSON] = "json_object",
                                        [CHAT_FORMAT_SCHEMA] = "json_schema"};
    if (r->format == CHAT_FORMAT_UNSET)
        return;
    json_w_key(w, "response_format");
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, names[r->format]);
    if (r->format == CHAT_FORMAT_SCHEMA) {
        json_w_key(w, "json_schema");
        json_w_obj(w);
        string(w, "name", r->format_name.p ? r->format_name : SPAN("answer"));
        string(w, "description", r->format_description);
        number(w, "schema", r->format_schema);
        if (r->format_strict >= 0) {
            json_w_key(w, "strict");
            json_w_bool(w, r->format_strict != 0);
        }
        json_w_obj_end(w);
    }
    json_w_obj_end(w);
}

static void write_function(struct json_w *w, const struct chat_tool *tool)
{
    json_w_obj(w);
    string(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    string(w, "name", tool->name);
    string(w, "description", tool->description);
    number(w, "parameters", tool->parameters);
    if (tool->strict >= 0) {
        json_w_key(w, "strict");
        json_w_bool(w, tool->strict != 0);
    }
    json_w_obj_end(w);
    json_w_obj_end(w);
}

static void write_choice(struct json_w *w, const struct chat_request *r)
{
    static const char *const names[] = {[CHAT_CHOICE_AUTO] = "auto",
                                        [CHAT_CHOICE_NONE] = "none",
                                        [CHAT_CHOICE_REQUIRED] = "required"};
    if (r->tool_choice == CHAT_CHOICE_UNSET)
        return;
    json_w_key(w, "tool_choice");
    if (r->tool_choice != CHAT_CHOICE_NAMED) {
        json_w_cstr(w, names[r->tool_choice]);
        return;
    }
    json_w_obj(w);
    string(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    string(w, "name", r->tool_choice_name);
    json_w_obj_end(w);
    json_w_obj_end(w);
}

/* Without tools neither the choice nor parallel_tool_calls means anything, and servers refuse them.
 */
static bool write_tools(struct json_w *w, const struct chat_request *r, bool same, struct err *e)
{
    if (r->n_tools == 0)
        return true;
    json_w_key(w, "tools");
    json_w_arr(w);
    for (size_t i = 0; i < r->n_tools; i++) {
        const struct chat_tool *tool = &r->tools[i];
        struct span raw = tool->raw.p ? tool->raw : tool->whole;
        struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, i};
        if (raw.p && !same)
            return wire_bad(&below, e,
                           "is of a kind, or has members, that the upstream of this "
                           "model does not know");
        if (raw.p)
            json_w_raw(w, raw);
        else
            write_function(w, tool);
    }
    json_w_arr_end(w);
    write_choice(w, r);
    if (r->parallel_tool_calls >= 0) {
        json_w_key(w, "parallel_tool_calls");
        json_w_bool(w, r->parallel_tool_calls != 0);
    }
    return true;
}

/* Names with a dot stood inside an object that we write ourselves: only hints can be such. */
bool oai_write_extras(struct json_w *w, const struct chat_extra *extras, size_t n,
                      const struct wire_path *at, bool same, struct dialect_notes *notes,
                      struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct chat_extra *x = &extras[i];
        bool inner = span_find(x->name, ".") < x->name.n;
        if (x->hint && (!same || inner)) {
            wire_note(notes, x->name);
            continue;
        }
        if (!same) {
            char name[64];
            text_visible_cstr(name, sizeof name, x->name);
            return wire_bad_key(at, name, e,
                               "is a field that the upstream of this model does not "
                               "know: leave it out");
        }
        json_w_str(w, x->name);
        w->failed = w->failed || !buf_add_char(w->b, ':', w->e);
        w->comma = false;
        json_w_raw(w, x->json);
    }
    return true;
}

static void write_hints(struct json_w *w, const struct chat_request *r, bool same,
                        struct dialect_notes *notes)
{
    string(w, "user", r->user);
    if (r->metadata.p && !same)
        wire_note(notes, SPAN("metadata"));
    else
        number(w, "metadata", r->metadata);
}

/* Answers are read as a stream even when the client wants one body; stream_options belongs to
 * streams alone. */
static void write_stream(struct json_w *w, const struct dialect_target *t)
{
    if (t->unary)
        return;
    json_w_key(w, "stream");
    json_w_bool(w, true);
    if (t->omit_stream_options)
        return;
    json_w_key(w, "stream_options");
    json_w_raw(w, SPAN("{\"include_usage\":true}"));
}

bool oai_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e)
{
    bool same = span_eq(r->dialect, t->dialect);
    size_t from = out->n;
    struct json_w w;
    if (r->audio_out)
        return wire_bad_key(NULL, "modalities", e, "may not hold \"audio\": answers are text");
    json_w_init(&w, out, e);
    json_w_obj(&w);
    string(&w, "model", t->model.p ? t->model : r->model);
    json_w_key(&w, "messages");
    json_w_arr(&w);
    bool ok = true;
    for (size_t i = 0; ok && i < r->n_messages; i++)
        ok = oai_write_message(&w, &r->messages[i], i, t, same, notes, e);
    json_w_arr_end(&w);
    ok = ok && write_tools(&w, r, same, e);
    if (ok) {
        write_format(&w, r);
        write_sampling(&w, r, t);
        write_hints(&w, r, same, notes);
        write_stream(&w, t);
    }
    ok = ok && oai_write_extras(&w, r->extras, r->n_extras, NULL, same, notes, e);
    json_w_obj_end(&w);
    if (ok && json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}
