/* dialect/openai_responses_tool.c - a client's tools, tool_choice, text, reasoning and include ->
 * chat_request.
 *
 * Tools that the upstream runs by itself and whose outcome is in its text are kept whole, for an
 * upstream of this dialect. Those whose calls come back to the client as items of their own kind
 * are refused: an answer here is text, reasoning and function calls, and such a call would be lost.
 */
#include "base/text.h"
#include "dialect/responses_priv.h"

/* --- tools ------------------------------------------------------------------------------------ */

static const char *const refused[] = {
    "custom",      "local_shell", "shell",       "computer",         "computer_use_preview",
    "apply_patch", "namespace",   "tool_search", "image_generation", "programmatic_tool_calling",
};

static bool read_function(struct arena *a, const struct wire_path *at, json_val *v,
                          struct chat_tool *t, struct err *e)
{
    static const char *const names[] = {"type", "name", "description", "parameters", "strict"};
    json_val *parameters = wire_get(v, "parameters"), *strict = wire_get(v, "strict");
    struct span key;
    json_val *x;
    size_t unknown = 0;
    if (!wire_get_str(v, "name", true, at, &t->name, e) ||
        !wire_get_str(v, "description", false, at, &t->description, e))
        return false;
    if (!wire_is_name(t->name))
        return wire_bad_key(at, "name", e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    if (parameters && !json_is_obj(parameters))
        return wire_bad_key(at, "parameters", e, "must be a JSON Schema object");
    if (strict && !json_is_bool(strict))
        return wire_bad_key(at, "strict", e, "must be true or false");
    if (strict)
        t->strict = json_true(strict);
    if (parameters && !json_raw(a, parameters, &t->parameters, e))
        return false;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        size_t i = 0;
        while (i < COUNT_OF(names) && !span_eq(span_of(names[i]), key))
            i++;
        unknown += i == COUNT_OF(names) && !json_is_null(x);
    }
    return unknown == 0 || json_raw(a, v, &t->whole, e);
}

static bool read_tool(struct arena *a, const struct wire_path *at, json_val *v, struct chat_tool *t,
                      struct err *e)
{
    struct span type = {0};
    t->strict = -1;
    if (!json_is_obj(v))
        return wire_bad(at, e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, at, &type, e))
        return false;
    if (span_eq(type, SPAN("function")))
        return read_function(a, at, v, t, e);
    if (type.n == 0)
        return wire_bad_key(at, "type", e, "is empty");
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (span_eq(span_of(refused[i]), type))
            return wire_bad_key(
                at, "type", e, "%s is not supported, its calls cannot be passed on: use a function",
                refused[i]);
    t->name = type;
    return json_raw(a, v, &t->raw, e);
}

bool resp_read_tools(struct wire_in *in, json_val *v)
{
    struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad_type(in, "tools", v, "a list");
    struct chat_tool *list = arena_array(in->a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(in->e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_tool(in->a, &below, item, &list[below.index], in->e))
            return false;
    in->r->tools = list;
    in->r->n_tools = json_count(v);
    return true;
}

/* A choice among allowed tools, or of a tool that the upstream runs, has no field of a request. */
bool resp_read_tool_choice(struct wire_in *in, json_val *v)
{
    struct wire_path at = {NULL, "tool_choice", 0};
    struct span type = {0};
    if (json_is_str(v))
        return oai_choice_of_name(json_str(v), &in->r->tool_choice) ||
               wire_bad(&at, in->e, "must be auto, none, required or an object naming a function");
    if (!json_is_obj(v))
        return wire_bad(&at, in->e, "must be a string or an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, &at, &type, in->e))
        return false;
    if (!span_eq(type, SPAN("function")))
        return wire_add_extra(in, SPAN("tool_choice"), v, false);
    in->r->tool_choice = CHAT_CHOICE_NAMED;
    return wire_get_str(v, "name", true, &at, &in->r->tool_choice_name, in->e);
}

/* --- objects of settings ---------------------------------------------------------------------- */

/* A member of an object of settings that is not ours: an extra under its path. */
static bool keep_member(struct wire_in *in, const char *object, struct span key, json_val *v,
                        bool hint)
{
    struct span name = arena_printf(in->a, "%s.%.*s", object, SPAN_ARG(key));
    if (!name.p)
        return wire_no_memory(in->e);
    return wire_add_extra(in, name, v, hint);
}

static bool read_format(struct wire_in *in, const struct wire_path *text, json_val *v)
{
    struct wire_path at = {text, "format", 0};
    struct chat_request *r = in->r;
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(&at, in->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, &at, &type, in->e))
        return false;
    r->format = span_eq(type, SPAN("text"))          ? CHAT_FORMAT_TEXT
                : span_eq(type, SPAN("json_object")) ? CHAT_FORMAT_JSON
                : span_eq(type, SPAN("json_schema")) ? CHAT_FORMAT_SCHEMA
                                                     : CHAT_FORMAT_UNSET;
    if (r->format == CHAT_FORMAT_UNSET)
        return wire_bad_key(&at, "type", in->e, "must be text, json_object or json_schema");
    if (r->format != CHAT_FORMAT_SCHEMA)
        return true;
    if (!json_is_obj(wire_get(v, "schema")))
        return wire_bad_key(&at, "schema", in->e, "must be a JSON Schema object");
    return oai_read_schema(in->a, v, &at, r, in->e);
}

bool resp_read_text(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "text", 0};
    struct span key;
    json_val *x;
    if (!json_is_obj(v))
        return wire_bad_type(in, "text", v, "an object");
    if (!wire_get_str(v, "verbosity", false, &at, &in->r->verbosity, in->e))
        return false;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (json_is_null(x) || span_eq(key, SPAN("verbosity")))
            continue;
        if (span_eq(key, SPAN("format")) ? !read_format(in, &at, x)
                                         : !keep_member(in, "text", key, x, false))
            return false;
    }
    return true;
}

bool resp_read_reasoning(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "reasoning", 0};
    struct chat_request *r = in->r;
    struct span key;
    json_val *x;
    if (!json_is_obj(v))
        return wire_bad_type(in, "reasoning", v, "an object");
    if (!wire_get_str(v, "effort", false, &at, &r->reasoning_effort, in->e) ||
        !wire_get_str(v, "generate_summary", false, &at, &r->reasoning_summary, in->e) ||
        !wire_get_str(v, "summary", false, &at, &r->reasoning_summary, in->e))
        return false;
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (json_is_null(x) || span_eq(key, SPAN("effort")) || span_eq(key, SPAN("summary")) ||
            span_eq(key, SPAN("generate_summary")))
            continue;
        if (!span_eq(key, SPAN("max_tokens"))) { /* OpenRouter's */
            if (!keep_member(in, "reasoning", key, x, false))
                return false;
        } else if (!json_i64(x, &r->reasoning_tokens) || r->reasoning_tokens < 1) {
            return wire_bad_key(&at, "max_tokens", in->e,
                                "must be a whole number of tokens, 1 or more");
        }
    }
    return true;
}

/* What an answer should hold besides. Encrypted reasoning it always holds; two are about input that
 * is said back, which answers do not do; the rest would be missed in the answer. */
bool resp_read_include(struct wire_in *in, json_val *v)
{
    struct wire_path at = {NULL, "include", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *x;
    char shown[64];
    if (!json_is_arr(v))
        return wire_bad_type(in, "include", v, "a list");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x); below.index++) {
        if (span_eq(json_str(x), SPAN("reasoning.encrypted_content")))
            continue;
        if (span_eq(json_str(x), SPAN("message.input_image.image_url")) ||
            span_eq(json_str(x), SPAN("computer_call_output.output.image_url")))
            continue;
        text_visible_cstr(shown, sizeof shown, json_str(x));
        return wire_bad(&below, in->e,
                        "\"%s\" is not supported: only reasoning.encrypted_content can be included",
                        shown);
    }
    return true;
}
