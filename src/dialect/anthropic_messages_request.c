/* dialect/anthropic_messages_request.c - a client's body -> chat_request: the fields of the top
 * level.
 *
 * The table below is the whole truth about which field is what: carried, hint, meaning; a name that
 * is not in it is an extra. Messages are in anthropic_messages_message.c, tools in
 * anthropic_messages_tool.c. */
#include "dialect/anthropic_priv.h"

/* Both are read when all fields are known: `system` becomes the first message. */
static bool read_later(struct wire_in *in, json_val *v)
{
    return true;
}

static bool read_max_tokens(struct wire_in *in, json_val *v)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 1)
        return wire_bad_key(NULL, "max_tokens", in->e,
                            "must be a whole number of tokens, 1 or more");
    in->r->max_tokens = n;
    return true;
}

static bool read_top_k(struct wire_in *in, json_val *v)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 0)
        return wire_bad_key(NULL, "top_k", in->e, "must be a whole number, 0 or more");
    in->r->top_k = json_num_text(v);
    return true;
}

static bool read_stop_sequences(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "stop_sequences", 0};
    struct span key;
    json_val *s;
    size_t i = 0;
    if (!json_is_arr(v))
        return wire_bad(&at, in->e, "must be a list of strings, not %s", json_type_name(v));
    struct span *stop = arena_array(in->a, json_count(v), sizeof *stop);
    if (!stop)
        return wire_no_memory(in->e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &s); i++) {
        struct wire_path item = {&at, NULL, i};
        if (!json_is_str(s))
            return wire_bad(&item, in->e, "must be a string, not %s", json_type_name(s));
        stop[i] = json_str(s);
    }
    in->r->stop = stop;
    in->r->n_stop = i;
    return true;
}

static bool read_metadata(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "metadata", 0};
    static const char *const known[] = {"user_id", NULL};
    if (!json_is_obj(v))
        return wire_bad_type(in, "metadata", v, "an object");
    return wire_get_str(v, "user_id", false, &at, &in->r->user, in->e) &&
           wire_add_inner(in, "metadata", v, known, true);
}

/* What it says goes to reasoning_tokens and reasoning_effort, and is kept whole for an upstream of
 * this dialect: "adaptive" alone is what others do anyhow. */
static bool read_thinking(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "thinking", 0};
    struct chat_request *r = in->r;
    json_val *budget = wire_get(v, "budget_tokens");
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad_type(in, "thinking", v, "an object with a type");
    if (!wire_get_str(v, "type", true, &at, &type, in->e))
        return false;
    if (span_eq(type, SPAN("enabled"))) {
        if (!json_i64(budget, &r->reasoning_tokens) || r->reasoning_tokens < 1)
            return wire_bad_key(&at, "budget_tokens", in->e,
                                "must be a whole number of tokens, 1 or more");
    } else if (span_eq(type, SPAN("disabled")) || span_eq(type, SPAN("between_tools"))) {
        r->reasoning_effort = SPAN("none");
    } else if (!span_eq(type, SPAN("adaptive"))) {
        return wire_bad_key(&at, "type", in->e,
                            "must be adaptive, enabled, disabled or between_tools");
    }
    return json_raw(in->a, v, &r->thinking, in->e);
}

static bool read_format(struct wire_in *in, const struct wire_path *at, json_val *v)
{
    struct chat_request *r = in->r;
    json_val *schema = wire_get(v, "schema");
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(at, in->e, "must be an object with type and schema, not %s",
                        json_type_name(v));
    if (!wire_get_str(v, "type", true, at, &type, in->e))
        return false;
    if (!span_eq(type, SPAN("json_schema")))
        return wire_bad_key(at, "type", in->e, "must be json_schema");
    if (!json_is_obj(schema))
        return wire_bad_key(at, "schema", in->e, "must be a JSON Schema object");
    r->format = CHAT_FORMAT_SCHEMA;
    return json_raw(in->a, schema, &r->format_schema, in->e);
}

/* The name that `output_config.format` had before. */
static bool read_output_format(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "output_format", 0};
    return read_format(in, &at, v);
}

/* effort: without thinking it still says how much to write, which nobody else can be told; read
 * behind `thinking`, in finish_effort(). */
static bool read_output_config(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "output_config", 0};
    static const struct wire_path at_format = {&at, "format", 0};
    static const char *const known[] = {"effort", "format", NULL};
    json_val *format = wire_get(v, "format");
    struct span effort;
    if (!json_is_obj(v))
        return wire_bad_type(in, "output_config", v, "an object");
    return wire_get_str(v, "effort", false, &at, &effort, in->e) &&
           (!format || read_format(in, &at_format, format)) &&
           wire_add_inner(in, "output_config", v, known, false);
}

static const struct wire_field fields[] = {
    {SPAN_INIT("model"), CARRIED, OWN, .read = wire_read_model},
    {SPAN_INIT("messages"), CARRIED, OWN, .read = read_later},
    {SPAN_INIT("system"), CARRIED, OWN, .read = read_later},
    {SPAN_INIT("max_tokens"), CARRIED, OWN, .read = read_max_tokens},
    {SPAN_INIT("stream"), CARRIED, OWN, .read = wire_read_stream},
    {SPAN_INIT("temperature"), CARRIED, NUMBER, WIRE_AT(temperature), 0, 1},
    {SPAN_INIT("top_p"), CARRIED, NUMBER, WIRE_AT(top_p), 0, 1},
    {SPAN_INIT("top_k"), CARRIED, OWN, .read = read_top_k},
    {SPAN_INIT("stop_sequences"), CARRIED, OWN, .read = read_stop_sequences},
    {SPAN_INIT("tools"), CARRIED, OWN, .read = ant_read_tools},
    {SPAN_INIT("tool_choice"), CARRIED, OWN, .read = ant_read_tool_choice},
    {SPAN_INIT("thinking"), CARRIED, OWN, .read = read_thinking},
    {SPAN_INIT("output_config"), CARRIED, OWN, .read = read_output_config},
    {SPAN_INIT("output_format"), CARRIED, OWN, .read = read_output_format},
    {SPAN_INIT("fusion"), CARRIED, OBJECT, WIRE_AT(fusion)},
    {SPAN_INIT("metadata"), HINT, OWN, .read = read_metadata},
    {SPAN_INIT("service_tier"), HINT, KEEP},
    {SPAN_INIT("speed"), HINT, KEEP},
    {SPAN_INIT("cache_control"), HINT, KEEP},
    {SPAN_INIT("diagnostics"), HINT, KEEP},
    {SPAN_INIT("user_profile_id"), HINT, KEEP},
    /* Leaves old tool results and thinking out to save tokens: who cannot is shown more, not less.
     */
    {SPAN_INIT("context_management"), HINT, KEEP},
    {SPAN_INIT("container"), MEANING, KEEP},
    {SPAN_INIT("mcp_servers"), MEANING, KEEP},
    {SPAN_INIT("inference_geo"), MEANING, KEEP},
    {SPAN_INIT("fallbacks"), MEANING, KEEP},
};

/* "No thinking" goes before how much to think; the effort is then a hint. */
static bool finish_effort(struct wire_in *in, json_val *root)
{
    struct chat_request *r = in->r;
    json_val *effort = wire_get(json_get(root, "output_config"), "effort");
    if (!effort)
        return true;
    if (r->reasoning_effort.p)
        return wire_add_extra(in, SPAN("output_config.effort"), effort, true);
    r->reasoning_effort = json_str(effort);
    return true;
}

static bool check_whole(const struct chat_request *r, bool answer, struct err *e)
{
    if (!r->model.p)
        return wire_bad_key(NULL, "model", e, "is missing");
    if (answer && r->max_tokens < 0)
        return wire_bad_key(NULL, "max_tokens", e, "is missing: this field is required");
    return ant_check_tool_choice(r, e);
}

static bool read_body(struct arena *a, struct span body, bool answer, struct chat_request *out,
                      struct err *e)
{
    struct chat_request r = {.dialect = ANT_NAME,
                             .max_tokens = -1,
                             .parallel_tool_calls = -1,
                             .format_strict = -1,
                             .logprobs = -1,
                             .top_logprobs = -1,
                             .n = 1};
    json_val *root;
    if (!json_parse(a, body, &root, e))
        return false;
    if (!json_is_obj(root))
        return err_set(e, ERR_INPUT, "the body must be a JSON object, not %s",
                       json_type_name(root));
    struct wire_in in = {.a = a, .r = &r, .e = e};
    in.cap_extras = json_count(root) + json_count(json_get(root, "metadata")) +
                    json_count(json_get(root, "output_config")) +
                    json_count(json_get(root, "tool_choice"));
    if (!wire_read_fields(&in, root, fields, COUNT_OF(fields)) || !finish_effort(&in, root) ||
        !check_whole(&r, answer, e) ||
        !ant_read_messages(a, wire_get(root, "system"), wire_get(root, "messages"), &r, e))
        return false;
    r.extras = in.extras;
    r.n_extras = in.n_extras;
    *out = r;
    return true;
}

bool ant_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e)
{
    return read_body(a, body, true, out, e);
}

bool ant_read_count(struct arena *a, struct span body, struct chat_request *out, struct err *e)
{
    return read_body(a, body, false, out, e);
}
