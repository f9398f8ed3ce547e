/* dialect/openai_chat_request.c - a client's body -> chat_request: the fields of the top level.
 *
 * The table below is the whole truth about which field is what: carried, hint, meaning; a name that
 * is not in it is an extra. Messages are in openai_chat_message.c, tools in openai_chat_tool.c. */
#include "dialect/openai_chat_priv.h"
#include "dialect/wire_fields.h"

static bool read_messages(struct wire_in *in, json_val *v)
{
    return oai_read_messages(in->a, v, in->r, in->e);
}

static bool read_tools(struct wire_in *in, json_val *v)
{
    return oai_read_tools(in->a, v, in->r, in->e);
}

static bool read_tool_choice(struct wire_in *in, json_val *v)
{
    bool extra = false;
    return oai_read_tool_choice(v, in->r, &extra, in->e) &&
           (!extra || wire_add_extra(in, SPAN("tool_choice"), v, false));
}

bool oai_read_schema(struct arena *a, json_val *s, const struct wire_path *at,
                     struct chat_request *r, struct err *e)
{
    json_val *schema = wire_get(s, "schema"), *strict = wire_get(s, "strict");
    if (!wire_get_str(s, "name", true, at, &r->format_name, e) ||
        !wire_get_str(s, "description", false, at, &r->format_description, e))
        return false;
    if (!wire_is_name(r->format_name))
        return wire_bad_key(at, "name", e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    if (strict && !json_is_bool(strict))
        return wire_bad_key(at, "strict", e, "must be true or false");
    if (strict)
        r->format_strict = json_true(strict);
    if (schema && !json_is_obj(schema))
        return wire_bad_key(at, "schema", e, "must be a JSON Schema object");
    return !schema || json_raw(a, schema, &r->format_schema, e);
}

static bool read_format(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "response_format", 0};
    static const struct wire_path at_schema = {&at, "json_schema", 0};
    struct chat_request *r = in->r;
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad_type(in, "response_format", v, "an object");
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
    json_val *s = wire_get(v, "json_schema");
    if (!json_is_obj(s))
        return wire_bad(&at_schema, in->e, "must be an object with name and schema");
    return oai_read_schema(in->a, s, &at_schema, r, in->e);
}

/* Both spellings may come; a client that sends both must mean one number. */
static bool set_max_tokens(struct wire_in *in, json_val *v, const char *key)
{
    int64_t n;
    if (!json_i64(v, &n) || n < 1)
        return wire_bad_key(NULL, key, in->e, "must be a whole number of tokens, 1 or more");
    if (in->r->max_tokens >= 0 && in->r->max_tokens != n)
        return wire_bad_key(NULL, key, in->e,
                            "differs from its other spelling: send max_completion_tokens alone");
    in->r->max_tokens = n;
    return true;
}

static bool read_max_tokens(struct wire_in *in, json_val *v)
{
    return set_max_tokens(in, v, "max_tokens");
}

static bool read_max_completion_tokens(struct wire_in *in, json_val *v)
{
    return set_max_tokens(in, v, "max_completion_tokens");
}

static bool set_seed(struct wire_in *in, json_val *v, const char *key)
{
    int64_t n;
    if (!json_i64(v, &n))
        return wire_bad_key(NULL, key, in->e, "must be a whole number");
    if (in->r->seed.p && !span_eq(in->r->seed, json_num_text(v)))
        return wire_bad_key(NULL, key, in->e, "differs from its other spelling: send seed alone");
    in->r->seed = json_num_text(v);
    return true;
}

static bool read_seed(struct wire_in *in, json_val *v)
{
    return set_seed(in, v, "seed");
}

/* Mistral's word. */
static bool read_random_seed(struct wire_in *in, json_val *v)
{
    return set_seed(in, v, "random_seed");
}

/* -1 switches it off for vLLM and others. */
static bool read_top_k(struct wire_in *in, json_val *v)
{
    int64_t n;
    if (!json_i64(v, &n) || n < -1)
        return wire_bad_key(NULL, "top_k", in->e, "must be a whole number, 0 or more");
    in->r->top_k = json_num_text(v);
    return true;
}

static bool read_n(struct wire_in *in, json_val *v)
{
    if (!json_i64(v, &in->r->n) || in->r->n < 1 || in->r->n > 128)
        return wire_bad_key(NULL, "n", in->e, "must be a whole number from 1 to 128");
    return in->r->n == 1 ||
           wire_bad_key(NULL, "n", in->e,
                        "above 1 is not supported: send the request several times, or ask a fusion "
                        "recipe with samples");
}

static bool read_logprobs(struct wire_in *in, json_val *v)
{
    if (!json_is_bool(v))
        return wire_bad_type(in, "logprobs", v, "true or false");
    in->r->logprobs = json_true(v);
    return !json_true(v) || wire_bad_key(NULL, "logprobs", in->e,
                                         "are not supported: leave the field out or send false");
}

static bool read_top_logprobs(struct wire_in *in, json_val *v)
{
    if (!json_i64(v, &in->r->top_logprobs) || in->r->top_logprobs < 0)
        return wire_bad_key(NULL, "top_logprobs", in->e, "must be a whole number from 0 to 20");
    return in->r->top_logprobs == 0 ||
           wire_bad_key(NULL, "top_logprobs", in->e, "is not supported: leave the field out");
}

static bool read_stop(struct wire_in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "stop", 0};
    size_t n = json_is_str(v) ? 1 : json_count(v), i = 0;
    if (!json_is_str(v) && !json_is_arr(v))
        return wire_bad(&at, in->e, "must be a string or a list of up to 4 strings");
    if (n > 4)
        return wire_bad(&at, in->e, "holds %zu strings, 4 are allowed", n);
    struct span *stop = arena_array(in->a, n, sizeof *stop), key;
    if (!stop)
        return wire_no_memory(in->e);
    if (json_is_str(v)) {
        stop[0] = json_str(v);
    } else {
        struct json_iter it = json_iter_of(v);
        for (json_val *s; json_next(&it, &key, &s); i++) {
            struct wire_path item = {&at, NULL, i};
            if (!json_is_str(s))
                return wire_bad(&item, in->e, "must be a string, not %s", json_type_name(s));
            stop[i] = json_str(s);
        }
    }
    in->r->stop = stop;
    in->r->n_stop = n;
    return true;
}

static bool read_modalities(struct wire_in *in, json_val *v)
{
    struct span key;
    json_val *s;
    if (!json_is_arr(v))
        return wire_bad_type(in, "modalities", v, "a list");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &s);) {
        if (span_eq(json_str(s), SPAN("audio")))
            in->r->audio_out = true; /* for who answers to refuse: no dialect here speaks */
        else if (!span_eq(json_str(s), SPAN("text")))
            return wire_bad_key(NULL, "modalities", in->e, "may only hold \"text\" and \"audio\"");
    }
    return true;
}

/* Members other than include_usage change how bytes look, never the answer: hints. */
static bool read_stream_options(struct wire_in *in, json_val *v)
{
    static const char *const known[] = {"include_usage", NULL};
    json_val *usage = wire_get(v, "include_usage");
    if (!json_is_obj(v))
        return wire_bad_type(in, "stream_options", v, "an object");
    if (usage && !json_is_bool(usage))
        return wire_bad_type(in, "stream_options.include_usage", usage, "true or false");
    in->r->stream_usage = json_true(usage);
    return wire_add_inner(in, "stream_options", v, known, true);
}

static bool read_effort(struct wire_in *in, json_val *v)
{
    return json_is_str(v) ? oai_set_effort(in->r, NULL, "reasoning_effort", json_str(v), in->e)
                          : wire_bad_type(in, "reasoning_effort", v, "a string");
}

static bool read_reasoning(struct wire_in *in, json_val *v)
{
    return oai_read_reasoning(v, in->r, &in->think, in->e);
}

static bool read_models(struct wire_in *in, json_val *v)
{
    return oai_read_models(in->a, v, in->r, in->e);
}

static bool read_provider(struct wire_in *in, json_val *v)
{
    return oai_read_routing(in->a, v, in->r, in->e);
}

static bool read_session(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v) || json_str(v).n == 0)
        return wire_bad_type(in, "session_id", v, "a string that is not empty");
    in->r->session = json_str(v);
    return true;
}

/* What shares a cache belongs to one upstream. */
static bool read_cache_key(struct wire_in *in, json_val *v)
{
    if (!json_is_str(v))
        return wire_bad_type(in, "prompt_cache_key", v, "a string");
    if (!in->r->session.p && json_str(v).n > 0)
        in->r->session = json_str(v);
    return wire_add_extra(in, SPAN("prompt_cache_key"), v, true);
}

/* false is what everybody does who does not know the field; LangChain always sends it. */
static bool read_safe_prompt(struct wire_in *in, json_val *v)
{
    if (!json_is_bool(v))
        return wire_bad_type(in, "safe_prompt", v, "true or false");
    return !json_true(v) || wire_add_extra(in, SPAN("safe_prompt"), v, false);
}

static bool read_transforms(struct wire_in *in, json_val *v)
{
    return oai_check_transforms(v, in->e);
}

static bool read_route(struct wire_in *in, json_val *v)
{
    return oai_check_route(v, in->e);
}

static bool read_plugins(struct wire_in *in, json_val *v)
{
    return oai_check_plugins(v, in->e);
}

/* OpenRouter's switch for usage with its cost: an answer always has both. */
static bool read_usage(struct wire_in *in, json_val *v)
{
    return json_is_obj(v) || wire_bad_type(in, "usage", v, "an object");
}

static const struct wire_field fields[] = {
    {SPAN_INIT("model"), CARRIED, OWN, .read = wire_read_model},
    {SPAN_INIT("messages"), CARRIED, OWN, .read = read_messages},
    {SPAN_INIT("stream"), CARRIED, OWN, .read = wire_read_stream},
    {SPAN_INIT("stream_options"), CARRIED, OWN, .read = read_stream_options},
    {SPAN_INIT("temperature"), CARRIED, NUMBER, WIRE_AT(temperature), 0, 2},
    {SPAN_INIT("top_p"), CARRIED, NUMBER, WIRE_AT(top_p), 0, 1},
    {SPAN_INIT("presence_penalty"), CARRIED, NUMBER, WIRE_AT(presence_penalty), -2, 2},
    {SPAN_INIT("frequency_penalty"), CARRIED, NUMBER, WIRE_AT(frequency_penalty), -2, 2},
    {SPAN_INIT("seed"), CARRIED, OWN, .read = read_seed},
    {SPAN_INIT("random_seed"), CARRIED, OWN, .read = read_random_seed},
    {SPAN_INIT("top_k"), CARRIED, OWN, .read = read_top_k},
    {SPAN_INIT("max_tokens"), CARRIED, OWN, .read = read_max_tokens},
    {SPAN_INIT("max_completion_tokens"), CARRIED, OWN, .read = read_max_completion_tokens},
    {SPAN_INIT("stop"), CARRIED, OWN, .read = read_stop},
    {SPAN_INIT("tools"), CARRIED, OWN, .read = read_tools},
    {SPAN_INIT("tool_choice"), CARRIED, OWN, .read = read_tool_choice},
    {SPAN_INIT("parallel_tool_calls"), CARRIED, FLAG, WIRE_AT(parallel_tool_calls)},
    {SPAN_INIT("response_format"), CARRIED, OWN, .read = read_format},
    {SPAN_INIT("reasoning_effort"), CARRIED, OWN, .read = read_effort},
    {SPAN_INIT("reasoning"), CARRIED, OWN, .read = read_reasoning},
    {SPAN_INIT("verbosity"), CARRIED, STRING, WIRE_AT(verbosity)},
    {SPAN_INIT("models"), CARRIED, OWN, .read = read_models},
    {SPAN_INIT("provider"), CARRIED, OWN, .read = read_provider},
    {SPAN_INIT("session_id"), CARRIED, OWN, .read = read_session},
    {SPAN_INIT("fusion"), CARRIED, OBJECT, WIRE_AT(fusion)},
    {SPAN_INIT("n"), MEANING, OWN, .read = read_n},
    {SPAN_INIT("logprobs"), MEANING, OWN, .read = read_logprobs},
    {SPAN_INIT("top_logprobs"), MEANING, OWN, .read = read_top_logprobs},
    {SPAN_INIT("modalities"), MEANING, OWN, .read = read_modalities},
    {SPAN_INIT("audio"), MEANING, REFUSE, .why = "is not supported: answers are text"},
    {SPAN_INIT("functions"), MEANING, REFUSE, .why = "is the old form: use tools"},
    {SPAN_INIT("function_call"), MEANING, REFUSE, .why = "is the old form: use tool_choice"},
    {SPAN_INIT("logit_bias"), MEANING, KEEP},
    {SPAN_INIT("prediction"), MEANING, KEEP},
    {SPAN_INIT("web_search_options"), MEANING, KEEP},
    {SPAN_INIT("moderation"), MEANING, KEEP},
    {SPAN_INIT("safe_prompt"), MEANING, OWN, .read = read_safe_prompt}, /* Mistral's, and ... */
    {SPAN_INIT("prompt_mode"), MEANING, KEEP},
    {SPAN_INIT("guardrails"), MEANING, KEEP},                         /* ... up to here */
    {SPAN_INIT("transforms"), MEANING, OWN, .read = read_transforms}, /* OpenRouter's, and ... */
    {SPAN_INIT("route"), MEANING, OWN, .read = read_route},
    {SPAN_INIT("plugins"), MEANING, OWN, .read = read_plugins},
    {SPAN_INIT("usage"), HINT, OWN, .read = read_usage}, /* ... up to here */
    {SPAN_INIT("user"), HINT, STRING, WIRE_AT(user)},
    {SPAN_INIT("metadata"), HINT, OBJECT, WIRE_AT(metadata)},
    {SPAN_INIT("store"), HINT, KEEP},
    {SPAN_INIT("service_tier"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_key"), HINT, OWN, .read = read_cache_key},
    {SPAN_INIT("cache_control"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_retention"), HINT, KEEP},
    {SPAN_INIT("safety_identifier"), HINT, KEEP},
};

/* OpenRouter's clients may name models in `models` alone. */
static void take_first_model(struct chat_request *r)
{
    if (r->model.p || r->n_fallbacks == 0)
        return;
    r->model = r->fallbacks[0];
    r->fallbacks++;
    r->n_fallbacks--;
}

static bool check_whole(struct chat_request *r, bool think, struct err *e)
{
    take_first_model(r);
    if (!r->model.p)
        return wire_bad_key(NULL, "model", e, "is missing");
    if (r->n_messages == 0)
        return wire_bad_key(NULL, "messages", e, "is missing");
    return oai_check_reasoning(r, think, e) && oai_check_tool_choice(r, "function.name", e);
}

bool oai_read_request(struct arena *a, struct span body, struct chat_request *out, struct err *e)
{
    struct chat_request r = {.dialect = OAI_NAME,
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
    in.cap_extras = json_count(root) + json_count(json_get(root, "stream_options"));
    if (!wire_read_fields(&in, root, fields, COUNT_OF(fields)))
        return false;
    if (!check_whole(&r, in.think, e))
        return false;
    r.stream_usage = r.stream_usage && r.stream;
    r.extras = in.extras;
    r.n_extras = in.n_extras;
    *out = r;
    return true;
}
