/* dialect/openai_chat_send.c - chat_request -> a body for an upstream, in one pass.
 *
 * Built from scratch: nothing of the client's body passes but what chat_request holds. Extras go to
 * an upstream of their own dialect only; hints that stay behind are listed, anything else that
 * cannot be carried is a 400 that names it. */
#include "dialect/openai_chat_priv.h"
#include "dialect/wire_fields.h"

static void write_sampling(struct json_w *w, const struct chat_request *r,
                           const struct dialect_target *t)
{
    if (r->max_tokens >= 0) {
        json_w_key(w, t->max_completion_tokens ? "max_completion_tokens" : "max_tokens");
        json_w_i64(w, r->max_tokens);
    }
    wire_raw(w, "temperature", r->temperature);
    wire_raw(w, "top_p", r->top_p);
    wire_raw(w, "presence_penalty", r->presence_penalty);
    wire_raw(w, "frequency_penalty", r->frequency_penalty);
    wire_raw(w, "seed", r->seed);
    /* Unknown to OpenAI itself, which says so; vLLM, llama.cpp and OpenRouter take it. */
    wire_raw(w, "top_k", r->top_k);
    wire_str(w, "verbosity", r->verbosity);
    oai_write_stop(w, r);
}

/* A budget is OpenRouter's object, for who sent one; there is no common word for it. */
static void write_reasoning(struct json_w *w, const struct chat_request *r, bool same,
                            struct dialect_notes *notes)
{
    wire_str(w, "reasoning_effort", r->reasoning_effort);
    if (r->reasoning_tokens > 0 && same) {
        json_w_key(w, "reasoning");
        json_w_obj(w);
        json_w_key(w, "max_tokens");
        json_w_i64(w, r->reasoning_tokens);
        json_w_obj_end(w);
    } else if (r->reasoning_tokens > 0) {
        wire_note(notes, SPAN("reasoning.max_tokens"));
    }
    if (r->reasoning_summary.p)
        wire_note(notes, SPAN("reasoning.summary"));
}

void oai_write_stop(struct json_w *w, const struct chat_request *r)
{
    if (r->n_stop == 0)
        return;
    json_w_key(w, "stop");
    json_w_arr(w);
    for (size_t i = 0; i < r->n_stop; i++)
        json_w_str(w, r->stop[i]);
    json_w_arr_end(w);
}

void oai_write_format(struct json_w *w, const struct chat_request *r)
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
        wire_str(w, "name", r->format_name.p ? r->format_name : SPAN("answer"));
        wire_str(w, "description", r->format_description);
        wire_raw(w, "schema", r->format_schema);
        if (r->format_strict >= 0) {
            json_w_key(w, "strict");
            json_w_bool(w, r->format_strict != 0);
        }
        json_w_obj_end(w);
    }
    json_w_obj_end(w);
}

void oai_write_function(struct json_w *w, const struct chat_tool *tool, struct span parameters)
{
    json_w_obj(w);
    wire_str(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    wire_str(w, "name", tool->name);
    wire_str(w, "description", tool->description);
    wire_raw(w, "parameters", parameters);
    if (tool->strict >= 0) {
        json_w_key(w, "strict");
        json_w_bool(w, tool->strict != 0);
    }
    json_w_obj_end(w);
    json_w_obj_end(w);
}

void oai_write_choice(struct json_w *w, const struct chat_request *r, const char *required)
{
    static const char *const names[] = {[CHAT_CHOICE_AUTO] = "auto", [CHAT_CHOICE_NONE] = "none"};
    if (r->tool_choice == CHAT_CHOICE_UNSET)
        return;
    json_w_key(w, "tool_choice");
    if (r->tool_choice != CHAT_CHOICE_NAMED) {
        json_w_cstr(w, r->tool_choice == CHAT_CHOICE_REQUIRED ? required : names[r->tool_choice]);
        return;
    }
    json_w_obj(w);
    wire_str(w, "type", SPAN("function"));
    json_w_key(w, "function");
    json_w_obj(w);
    wire_str(w, "name", r->tool_choice_name);
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
            oai_write_function(w, tool, tool->parameters);
    }
    json_w_arr_end(w);
    oai_write_choice(w, r, "required");
    if (r->parallel_tool_calls >= 0) {
        json_w_key(w, "parallel_tool_calls");
        json_w_bool(w, r->parallel_tool_calls != 0);
    }
    return true;
}

static void write_hints(struct json_w *w, const struct chat_request *r, bool same,
                        struct dialect_notes *notes)
{
    wire_str(w, "user", r->user);
    if (r->metadata.p && !same)
        wire_note(notes, SPAN("metadata"));
    else
        wire_raw(w, "metadata", r->metadata);
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
    wire_str(&w, "model", t->model.p ? t->model : r->model);
    json_w_key(&w, "messages");
    json_w_arr(&w);
    bool ok = true;
    for (size_t i = 0; ok && i < r->n_messages; i++)
        ok = oai_write_message(&w, &r->messages[i], i, t, same, notes, e);
    json_w_arr_end(&w);
    ok = ok && write_tools(&w, r, same, e);
    if (ok) {
        oai_write_format(&w, r);
        write_sampling(&w, r, t);
        write_reasoning(&w, r, same, notes);
        write_hints(&w, r, same, notes);
        write_stream(&w, t);
    }
    ok = ok && wire_write_extras(&w, r->extras, r->n_extras, NULL, same, NULL, notes, e);
    json_w_obj_end(&w);
    if (ok && json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}
