/* dialect/openai_responses_request.c - a client's body -> chat_request: the fields of the top
 * level.
 *
 * The table below is the whole truth about which field is what: carried, hint, meaning; a name that
 * is not in it is an extra (dialect/wire_fields.h). Members of `text`, `reasoning` and
 * `stream_options` that are not ours become extras under their path ("reasoning.context"). Input
 * items are in openai_responses_item.c, tools and settings in openai_responses_tool.c. */
#include "dialect/responses_priv.h"

static bool read_tokens(struct wire_in *in, json_val *v)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 1)
        return wire_bad_key(NULL, "max_output_tokens", in->e,
                            "must be a whole number of tokens, 1 or more");
    in->r->max_tokens = n;
    return true;
}

static bool read_top_logprobs(struct wire_in *in, json_val *v)
{
    if (!json_i64(v, &in->r->top_logprobs) || in->r->top_logprobs < 0)
        return wire_bad_key(NULL, "top_logprobs", in->e, "must be a whole number from 0 to 20");
    return in->r->top_logprobs == 0 ||
           wire_bad_key(NULL, "top_logprobs", in->e, "is not supported: leave the field out");
}

static bool read_store(struct wire_in *in, json_val *v)
{
    if (!json_is_bool(v))
        return wire_bad_type(in, "store", v, "true or false");
    in->r->store = json_true(v);
    return true;
}

static bool read_background(struct wire_in *in, json_val *v)
{
    if (!json_is_bool(v))
        return wire_bad_type(in, "background", v, "true or false");
    return !json_true(v) ||
           wire_bad_key(NULL, "background", in->e,
                        "is not supported: leave the field out and wait, or stream");
}

/* "disabled" is what happens without the field. */
static bool read_truncation(struct wire_in *in, json_val *v)
{
    if (span_eq(json_str(v), SPAN("disabled")))
        return true;
    if (!span_eq(json_str(v), SPAN("auto")))
        return wire_bad_key(NULL, "truncation", in->e, "must be auto or disabled");
    return wire_add_extra(in, SPAN("truncation"), v, false);
}

static bool read_previous(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v) || json_str(v).n == 0)
        return wire_bad_key(NULL, "previous_response_id", in->e, "must be the id of an answer");
    in->r->previous_id = json_str(v);
    return true;
}

/* How bytes look, never the answer. */
static bool read_stream_options(struct wire_in *in, json_val *v)
{
    struct span key;
    json_val *x;
    if (!json_is_obj(v))
        return wire_bad_type(in, "stream_options", v, "an object");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (json_is_null(x))
            continue;
        struct span name = arena_printf(in->a, "stream_options.%.*s", SPAN_ARG(key));
        if (!name.p)
            return wire_no_memory(in->e);
        if (!wire_add_extra(in, name, x, true))
            return false;
    }
    return true;
}

/* Requests with one key belong together: the upstream that has the prefix cached should get them
 * all. */
static bool read_cache_key(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v))
        return wire_bad_type(in, "prompt_cache_key", v, "a string");
    if (!in->r->session.p)
        in->r->session = json_str(v);
    return wire_add_extra(in, SPAN("prompt_cache_key"), v, true);
}

static bool read_session(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v))
        return wire_bad_type(in, "session_id", v, "a string");
    in->r->session = json_str(v);
    return true;
}

static bool read_models(struct wire_in *in, json_val *v)
{
    struct wire_path at = {NULL, "models", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *x;
    if (!json_is_arr(v))
        return wire_bad_type(in, "models", v, "a list");
    struct span *list = arena_array(in->a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(in->e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x); below.index++) {
        if (json_str(x).n == 0)
            return wire_bad(&below, in->e, "must be the name of a model (GET /v1/models)");
        list[below.index] = json_str(x);
    }
    in->r->fallbacks = list;
    in->r->n_fallbacks = json_count(v);
    return true;
}

/* input and instructions are read together, when all is known of both. */
static bool skip(struct wire_in *in, json_val *v)
{
    return true;
}

static const struct wire_field fields[] = {
    {SPAN_INIT("model"), CARRIED, OWN, .read = wire_read_model},
    {SPAN_INIT("input"), CARRIED, OWN, .read = skip},
    {SPAN_INIT("instructions"), CARRIED, OWN, .read = skip},
    {SPAN_INIT("stream"), CARRIED, OWN, .read = wire_read_stream},
    {SPAN_INIT("store"), CARRIED, OWN, .read = read_store},
    {SPAN_INIT("previous_response_id"), CARRIED, OWN, .read = read_previous},
    {SPAN_INIT("tools"), CARRIED, OWN, .read = resp_read_tools},
    {SPAN_INIT("tool_choice"), CARRIED, OWN, .read = resp_read_tool_choice},
    {SPAN_INIT("parallel_tool_calls"), CARRIED, FLAG, WIRE_AT(parallel_tool_calls)},
    {SPAN_INIT("max_output_tokens"), CARRIED, OWN, .read = read_tokens},
    {SPAN_INIT("temperature"), CARRIED, NUMBER, WIRE_AT(temperature), 0, 2},
    {SPAN_INIT("top_p"), CARRIED, NUMBER, WIRE_AT(top_p), 0, 1},
    /* Not OpenAI's: the open form of this API has them (openresponses.org). */
    {SPAN_INIT("presence_penalty"), CARRIED, NUMBER, WIRE_AT(presence_penalty), -2, 2},
    {SPAN_INIT("frequency_penalty"), CARRIED, NUMBER, WIRE_AT(frequency_penalty), -2, 2},
    {SPAN_INIT("text"), CARRIED, OWN, .read = resp_read_text},
    {SPAN_INIT("reasoning"), CARRIED, OWN, .read = resp_read_reasoning},
    {SPAN_INIT("include"), CARRIED, OWN, .read = resp_read_include},
    {SPAN_INIT("fusion"), CARRIED, OBJECT, WIRE_AT(fusion)},
    {SPAN_INIT("models"), CARRIED, OWN, .read = read_models},
    {SPAN_INIT("provider"), CARRIED, OBJECT, WIRE_AT(routing)},
    {SPAN_INIT("session_id"), CARRIED, OWN, .read = read_session},
    {SPAN_INIT("top_logprobs"), MEANING, OWN, .read = read_top_logprobs},
    {SPAN_INIT("truncation"), MEANING, OWN, .read = read_truncation},
    {SPAN_INIT("background"), MEANING, OWN, .read = read_background},
    {SPAN_INIT("conversation"), MEANING, REFUSE,
     .why = "is not supported: send the whole input, or store answers and name the last one in "
            "previous_response_id"},
    {SPAN_INIT("prompt"), MEANING, KEEP},
    {SPAN_INIT("context_management"), MEANING, KEEP},
    {SPAN_INIT("moderation"), MEANING, KEEP},
    {SPAN_INIT("stream_options"), HINT, OWN, .read = read_stream_options},
    {SPAN_INIT("user"), HINT, STRING, WIRE_AT(user)},
    {SPAN_INIT("metadata"), HINT, OBJECT, WIRE_AT(metadata)},
    {SPAN_INIT("client_metadata"), HINT, KEEP}, /* Codex */
    {SPAN_INIT("safety_identifier"), HINT, KEEP},
    {SPAN_INIT("service_tier"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_key"), HINT, OWN, .read = read_cache_key},
    {SPAN_INIT("prompt_cache_retention"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_options"), HINT, KEEP},
    /* It counts calls of tools that the upstream runs, and those go to this dialect only. */
    {SPAN_INIT("max_tool_calls"), HINT, KEEP},
};

static bool one_text(struct wire_in *in, struct chat_message *m, enum chat_role role,
                     struct span text)
{
    struct chat_part *p = arena_alloc(in->a, sizeof *p);
    if (!p)
        return wire_no_memory(in->e);
    *p = (struct chat_part){.kind = CHAT_PART_TEXT, .text = text};
    *m = (struct chat_message){.role = role, .parts = p, .n_parts = 1};
    return true;
}

static bool read_input(struct wire_in *in, json_val *root)
{
    static const struct wire_path at = {NULL, "input", 0};
    json_val *input = wire_get(root, "input");
    struct span instructions = {0};
    struct chat_request *r = in->r;
    struct chat_message *list = NULL;
    if (!wire_get_str(root, "instructions", false, NULL, &instructions, in->e))
        return false;
    size_t before = instructions.n > 0, n = before + 1;
    if (!input)
        return wire_bad(&at, in->e, "is missing");
    if (json_is_arr(input) && json_count(input) == 0)
        return wire_bad(&at, in->e, "is empty: send at least one item, or a string");
    if (json_is_arr(input)) {
        if (!resp_read_items(in->a, input, &at, before, &list, &n, in->e))
            return false;
    } else if (json_is_str(input)) {
        list = arena_array(in->a, n, sizeof *list);
        if (!list)
            return wire_no_memory(in->e);
        if (!one_text(in, &list[before], CHAT_USER, json_str(input)))
            return false;
    } else {
        return wire_bad_type(in, "input", input, "a string or a list of items");
    }
    if (before && !one_text(in, &list[0], CHAT_SYSTEM, instructions))
        return false;
    r->messages = list;
    r->n_messages = n;
    r->n_instructions = before;
    return true;
}

/* Their members may become extras, named by their path. */
static const char *const objects[] = {"stream_options", "text", "reasoning"};

static size_t count_members(json_val *root)
{
    size_t n = json_count(root);
    for (size_t i = 0; i < COUNT_OF(objects); i++)
        n += json_count(json_get(root, objects[i]));
    return n;
}

/* A field whose own name looks like such a path would be taken for one. */
static bool check_names(json_val *root, struct err *e)
{
    struct span key;
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, NULL);) {
        size_t dot = span_find(key, ".");
        for (size_t i = 0; dot < key.n && i < COUNT_OF(objects); i++)
            if (span_eq(span_upto(key, dot), span_of(objects[i])))
                return wire_bad_key(NULL, objects[i], e,
                                    "is an object: a field whose name has it in front of a dot is "
                                    "not known");
    }
    return true;
}

bool resp_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e)
{
    struct chat_request r = {.dialect = RESP_NAME,
                             .max_tokens = -1,
                             .parallel_tool_calls = -1,
                             .format_strict = -1,
                             .logprobs = -1,
                             .top_logprobs = -1,
                             .n = 1,
                             .store = true};
    json_val *root;
    if (!json_parse(a, body, &root, e))
        return false;
    if (!json_is_obj(root))
        return err_set(e, ERR_INPUT, "the body must be a JSON object, not %s",
                       json_type_name(root));
    struct wire_in in = {.a = a, .r = &r, .e = e, .cap_extras = count_members(root)};
    if (!check_names(root, e) || !wire_read_fields(&in, root, fields, COUNT_OF(fields)) ||
        !read_input(&in, root))
        return false;
    if (!r.model.p)
        return wire_bad_key(NULL, "model", e, "is missing");
    if (!oai_check_tool_choice(&r, "name", e))
        return false;
    r.extras = in.extras;
    r.n_extras = in.n_extras;
    *out = r;
    return true;
}
