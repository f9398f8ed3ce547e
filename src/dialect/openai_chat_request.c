/* dialect/openai_chat_request.c - a client's body -> chat_request: the fields of the top level.
 *
 * The table below is the whole truth about which field is what: carried, hint, meaning; a name that
 * is not in it is an extra. Messages and tools are in openai_chat_message.c. A null is an absent
 * field everywhere: that is how client libraries send an unset option. */
#include <stddef.h>

#include "dialect/openai_chat_priv.h"

struct in {
    struct arena *a;
    struct chat_request *r;
    struct chat_extra *extras; /* room for every member that may become one */
    size_t n_extras, cap_extras;
    struct err *e;
};

/* What a field is to others, see docs/api.md, "Fields". */
enum field_class {
    CARRIED, /* in chat_request */
    HINT,    /* no effect on the answer */
    MEANING, /* changes the answer, only this dialect has it */
};

enum field_how {
    OWN,    /* read() */
    NUMBER, /* number text at `at`, min..max */
    FLAG,   /* int8_t at `at` */
    STRING, /* span at `at` */
    KEEP,   /* kept as it is, for an upstream of this dialect */
    REFUSE, /* 400 with `why` */
};

struct field {
    struct span name;
    enum field_class cls;
    enum field_how how;
    size_t at;
    double min, max;
    bool (*read)(struct in *in, json_val *v);
    const char *why;
};

static bool top_bad(struct in *in, const char *key, json_val *v, const char *want)
{
    return wire_bad_key(NULL, key, in->e, "must be %s, not %s", want, json_type_name(v));
}

static bool add_extra(struct in *in, struct span name, json_val *v, bool hint)
{
    if (!in->extras) {
        in->extras = arena_array(in->a, in->cap_extras, sizeof *in->extras);
        if (!in->extras)
            return wire_no_memory(in->e);
    }
    struct chat_extra *x = &in->extras[in->n_extras];
    *x = (struct chat_extra){.name = name, .hint = hint};
    if (!json_raw(in->a, v, &x->json, in->e))
        return false;
    in->n_extras++;
    return true;
}

static bool read_model(struct in *in, json_val *v)
{
    if (!json_is_str(v) || json_str(v).n == 0)
        return wire_bad_key(NULL, "model", in->e, "must be the name of a model (GET /v1/models)");
    in->r->model = json_str(v);
    return true;
}

static bool read_messages(struct in *in, json_val *v)
{
    return oai_read_messages(in->a, v, in->r, in->e);
}

static bool read_tools(struct in *in, json_val *v)
{
    return oai_read_tools(in->a, v, in->r, in->e);
}

static bool read_tool_choice(struct in *in, json_val *v)
{
    bool extra = false;
    return oai_read_tool_choice(v, in->r, &extra, in->e) &&
           (!extra || add_extra(in, SPAN("tool_choice"), v, false));
}

static bool read_format(struct in *in, json_val *v)
{
    static const struct wire_path at = {NULL, "response_format", 0};
    static const struct wire_path at_schema = {&at, "json_schema", 0};
    struct chat_request *r = in->r;
    struct span type = {0};
    if (!json_is_obj(v))
        return top_bad(in, "response_format", v, "an object");
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
    json_val *s = wire_get(v, "json_schema"), *schema = wire_get(s, "schema");
    json_val *strict = wire_get(s, "strict");
    if (!json_is_obj(s))
        return wire_bad(&at_schema, in->e, "must be an object with name and schema");
    if (!wire_get_str(s, "name", true, &at_schema, &r->format_name, in->e) ||
        !wire_get_str(s, "description", false, &at_schema, &r->format_description, in->e))
        return false;
    if (!wire_is_name(r->format_name))
        return wire_bad_key(&at_schema, "name", in->e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    if (strict && !json_is_bool(strict))
        return wire_bad_key(&at_schema, "strict", in->e, "must be true or false");
    if (strict)
        r->format_strict = json_true(strict);
    if (schema && !json_is_obj(schema))
        return wire_bad_key(&at_schema, "schema", in->e, "must be a JSON Schema object");
    return !schema || json_raw(in->a, schema, &r->format_schema, in->e);
}

/* Both spellings may come; a client that sends both must mean one number. */
static bool set_max_tokens(struct in *in, json_val *v, const char *key)
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

static bool read_max_tokens(struct in *in, json_val *v)
{
    return set_max_tokens(in, v, "max_tokens");
}

static bool read_max_completion_tokens(struct in *in, json_val *v)
{
    return set_max_tokens(in, v, "max_completion_tokens");
}

static bool read_seed(struct in *in, json_val *v)
{
    int64_t n;
    if (!json_i64(v, &n))
        return wire_bad_key(NULL, "seed", in->e, "must be a whole number");
    in->r->seed = json_num_text(v);
    return true;
}

static bool read_n(struct in *in, json_val *v)
{
    if (!json_i64(v, &in->r->n) || in->r->n < 1 || in->r->n > 128)
        return wire_bad_key(NULL, "n", in->e, "must be a whole number from 1 to 128");
    return in->r->n == 1 ||
           wire_bad_key(NULL, "n", in->e,
                       "above 1 is not supported: send the request several times, or ask a fusion "
                       "recipe with samples");
}

static bool read_logprobs(struct in *in, json_val *v)
{
    if (!json_is_bool(v))
        return top_bad(in, "logprobs", v, "true or false");
    in->r->logprobs = json_true(v);
    return !json_true(v) || wire_bad_key(NULL, "logprobs", in->e,
                                        "are not supported: leave the field out or send false");
}

static bool read_top_logprobs(struct in *in, json_val *v)
{
    if (!json_i64(v, &in->r->top_logprobs) || in->r->top_logprobs < 0)
        return wire_bad_key(NULL, "top_logprobs", in->e, "must be a whole number from 0 to 20");
    return in->r->top_logprobs == 0 ||
           wire_bad_key(NULL, "top_logprobs", in->e, "is not supported: leave the field out");
}

static bool read_stop(struct in *in, json_val *v)
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

static bool read_modalities(struct in *in, json_val *v)
{
    struct span key;
    json_val *s;
    if (!json_is_arr(v))
        return top_bad(in, "modalities", v, "a list");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &s);) {
        if (span_eq(json_str(s), SPAN("audio")))
            in->r->audio_out = true; /* for who answers to refuse: no dialect here speaks */
        else if (!span_eq(json_str(s), SPAN("text")))
            return wire_bad_key(NULL, "modalities", in->e, "may only hold \"text\" and \"audio\"");
    }
    return true;
}

static bool read_stream(struct in *in, json_val *v)
{
    if (!json_is_bool(v))
        return top_bad(in, "stream", v, "true or false");
    in->r->stream = json_true(v);
    return true;
}

/* Members other than include_usage change how bytes look, never the answer: hints. */
static bool read_stream_options(struct in *in, json_val *v)
{
    struct span key;
    json_val *x;
    if (!json_is_obj(v))
        return top_bad(in, "stream_options", v, "an object");
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);) {
        if (json_is_null(x))
            continue;
        if (span_eq(key, SPAN("include_usage"))) {
            if (!json_is_bool(x))
                return top_bad(in, "stream_options.include_usage", x, "true or false");
            in->r->stream_usage = json_true(x);
            continue;
        }
        struct span name = arena_printf(in->a, "stream_options.%.*s", SPAN_ARG(key));
        if (!name.p)
            return wire_no_memory(in->e);
        if (!add_extra(in, name, x, true))
            return false;
    }
    return true;
}

static bool read_metadata(struct in *in, json_val *v)
{
    return json_is_obj(v) ? json_raw(in->a, v, &in->r->metadata, in->e)
                          : top_bad(in, "metadata", v, "an object");
}

static bool read_fusion(struct in *in, json_val *v)
{
    return json_is_obj(v) ? json_raw(in->a, v, &in->r->fusion, in->e)
                          : top_bad(in, "fusion", v, "an object");
}

#define AT(member) offsetof(struct chat_request, member)

static const struct field fields[] = {
    {SPAN_INIT("model"), CARRIED, OWN, .read = read_model},
    {SPAN_INIT("messages"), CARRIED, OWN, .read = read_messages},
    {SPAN_INIT("stream"), CARRIED, OWN, .read = read_stream},
    {SPAN_INIT("stream_options"), CARRIED, OWN, .read = read_stream_options},
    {SPAN_INIT("temperature"), CARRIED, NUMBER, AT(temperature), 0, 2},
    {SPAN_INIT("top_p"), CARRIED, NUMBER, AT(top_p), 0, 1},
    {SPAN_INIT("presence_penalty"), CARRIED, NUMBER, AT(presence_penalty), -2, 2},
    {SPAN_INIT("frequency_penalty"), CARRIED, NUMBER, AT(frequency_penalty), -2, 2},
    {SPAN_INIT("seed"), CARRIED, OWN, .read = read_seed},
    {SPAN_INIT("random_seed"), CARRIED, OWN, .read = read_seed}, /* Mistral's client libraries */
    {SPAN_INIT("max_tokens"), CARRIED, OWN, .read = read_max_tokens},
    {SPAN_INIT("max_completion_tokens"), CARRIED, OWN, .read = read_max_completion_tokens},
    {SPAN_INIT("stop"), CARRIED, OWN, .read = read_stop},
    {SPAN_INIT("tools"), CARRIED, OWN, .read = read_tools},
    {SPAN_INIT("tool_choice"), CARRIED, OWN, .read = read_tool_choice},
    {SPAN_INIT("parallel_tool_calls"), CARRIED, FLAG, AT(parallel_tool_calls)},
    {SPAN_INIT("response_format"), CARRIED, OWN, .read = read_format},
    {SPAN_INIT("reasoning_effort"), CARRIED, STRING, AT(reasoning_effort)},
    {SPAN_INIT("fusion"), CARRIED, OWN, .read = read_fusion},
    {SPAN_INIT("n"), MEANING, OWN, .read = read_n},
    {SPAN_INIT("logprobs"), MEANING, OWN, .read = read_logprobs},
    {SPAN_INIT("top_logprobs"), MEANING, OWN, .read = read_top_logprobs},
    {SPAN_INIT("modalities"), MEANING, OWN, .read = read_modalities},
    {SPAN_INIT("audio"), MEANING, REFUSE, .why = "is not supported: answers are text"},
    {SPAN_INIT("functions"), MEANING, REFUSE, .why = "is the old form: use tools"},
    {SPAN_INIT("function_call"), MEANING, REFUSE, .why = "is the old form: use tool_choice"},
    {SPAN_INIT("logit_bias"), MEANING, KEEP},
    {SPAN_INIT("prediction"), MEANING, KEEP},
    {SPAN_INIT("verbosity"), MEANING, KEEP},
    {SPAN_INIT("web_search_options"), MEANING, KEEP},
    {SPAN_INIT("moderation"), MEANING, KEEP},
    {SPAN_INIT("user"), HINT, STRING, AT(user)},
    {SPAN_INIT("metadata"), HINT, OWN, .read = read_metadata},
    {SPAN_INIT("store"), HINT, KEEP},
    {SPAN_INIT("service_tier"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_key"), HINT, KEEP},
    {SPAN_INIT("prompt_cache_retention"), HINT, KEEP},
    {SPAN_INIT("safety_identifier"), HINT, KEEP},
};

static const struct field *find_field(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (span_eq(fields[i].name, name))
            return &fields[i];
    return NULL;
}

static bool read_number(struct in *in, const struct field *f, json_val *v)
{
    double x;
    if (!json_f64(v, &x) || x < f->min || x > f->max)
        return wire_bad_key(NULL, f->name.p, in->e, "must be a number from %g to %g", f->min,
                           f->max);
    *(struct span *)(void *)((char *)in->r + f->at) = json_num_text(v);
    return true;
}

static bool read_field(struct in *in, const struct field *f, json_val *v)
{
    char *at = (char *)in->r + f->at;
    switch (f->how) {
    case OWN:
        return f->read(in, v);
    case NUMBER:
        return read_number(in, f, v);
    case FLAG:
        if (!json_is_bool(v))
            return top_bad(in, f->name.p, v, "true or false");
        *(int8_t *)at = json_true(v);
        return true;
    case STRING:
        if (!json_is_str(v))
            return top_bad(in, f->name.p, v, "a string");
        *(struct span *)(void *)at = json_str(v);
        return true;
    case KEEP:
        return add_extra(in, f->name, v, f->cls == HINT);
    case REFUSE:
        return wire_bad_key(NULL, f->name.p, in->e, "%s", f->why);
    }
    return true;
}

static bool check_whole(const struct chat_request *r, struct err *e)
{
    if (!r->model.p)
        return wire_bad_key(NULL, "model", e, "is missing");
    if (r->n_messages == 0)
        return wire_bad_key(NULL, "messages", e, "is missing");
    return oai_check_tool_choice(r, e);
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
    json_val *root, *v;
    struct span key;
    if (!json_parse(a, body, &root, e))
        return false;
    if (!json_is_obj(root))
        return err_set(e, ERR_INPUT, "the body must be a JSON object, not %s",
                       json_type_name(root));
    struct in in = {.a = a, .r = &r, .e = e};
    in.cap_extras = json_count(root) + json_count(json_get(root, "stream_options"));
    for (struct json_iter it = json_iter_of(root); json_next(&it, &key, &v);) {
        const struct field *f = json_is_null(v) ? NULL : find_field(key);
        if (f ? !read_field(&in, f, v) : !json_is_null(v) && !add_extra(&in, key, v, false))
            return false;
    }
    if (!check_whole(&r, e))
        return false;
    r.stream_usage = r.stream_usage && r.stream;
    r.extras = in.extras;
    r.n_extras = in.n_extras;
    *out = r;
    return true;
}
