/* dialect/anthropic_messages_tool.c - a client's tools and tool_choice -> chat_request. Tools that
 * Anthropic runs itself ("web_search_20260318") are kept whole. */
#include "base/text.h"
#include "dialect/anthropic_priv.h"

bool ant_is_tool_name(struct span s)
{
    return wire_is_name(s) || (s.n > 64 && s.n <= 128 && wire_is_name(span_upto(s, 64)) &&
                               wire_is_name(span_from(s, 64)));
}

/* eager_input_streaming asks how arguments are cut into pieces: an answer's arguments leave us
 * whole. */
static size_t known_members(json_val *v)
{
    static const char *const names[] = {
        "type",   "name",          "description",          "input_schema",
        "strict", "cache_control", "eager_input_streaming"};
    size_t known = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        known += json_get(v, names[i]) != NULL;
    return known;
}

static bool read_function(struct wire_in *in, const struct wire_path *at, json_val *v,
                          struct chat_tool *t)
{
    json_val *schema = wire_get(v, "input_schema"), *strict = wire_get(v, "strict");
    if (!wire_get_str(v, "name", true, at, &t->name, in->e) ||
        !wire_get_str(v, "description", false, at, &t->description, in->e))
        return false;
    if (!ant_is_tool_name(t->name))
        return wire_bad_key(at, "name", in->e, "must match ^[a-zA-Z0-9_-]{1,128}$");
    if (!json_is_obj(schema))
        return wire_bad_key(at, "input_schema", in->e, "must be a JSON Schema object");
    if (strict && !json_is_bool(strict))
        return wire_bad_key(at, "strict", in->e, "must be true or false");
    if (strict)
        t->strict = json_true(strict);
    return json_raw(in->a, schema, &t->parameters, in->e) &&
           (json_count(v) == known_members(v) || json_raw(in->a, v, &t->whole, in->e));
}

static bool read_tool(struct wire_in *in, const struct wire_path *at, json_val *v,
                      struct chat_tool *t)
{
    struct span type = SPAN("custom");
    t->strict = -1;
    if (!json_is_obj(v))
        return wire_bad(at, in->e, "must be an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", false, at, &type, in->e) ||
        !ant_read_mark(in->a, v, &t->cache_mark, &t->cache, in->e))
        return false;
    if (span_eq(type, SPAN("custom")))
        return read_function(in, at, v, t);
    if (type.n == 0)
        return wire_bad_key(at, "type", in->e, "is empty");
    t->name = type;
    return json_raw(in->a, v, &t->raw, in->e);
}

bool ant_read_tools(struct wire_in *in, json_val *v)
{
    struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad(&at, in->e, "must be a list, not %s", json_type_name(v));
    struct chat_tool *list = arena_array(in->a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(in->e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_tool(in, &below, item, &list[below.index]))
            return false;
    in->r->tools = list;
    in->r->n_tools = json_count(v);
    return true;
}

bool ant_read_tool_choice(struct wire_in *in, json_val *v)
{
    static const struct {
        struct span name;
        enum chat_tool_choice choice;
    } types[] = {
        {SPAN_INIT("auto"), CHAT_CHOICE_AUTO},
        {SPAN_INIT("any"), CHAT_CHOICE_REQUIRED},
        {SPAN_INIT("tool"), CHAT_CHOICE_NAMED},
        {SPAN_INIT("none"), CHAT_CHOICE_NONE},
    };
    static const char *const known[] = {"type", "name", "disable_parallel_tool_use", NULL};
    struct wire_path at = {NULL, "tool_choice", 0};
    struct chat_request *r = in->r;
    json_val *single = wire_get(v, "disable_parallel_tool_use");
    struct span type = {0};
    if (!json_is_obj(v))
        return wire_bad(&at, in->e, "must be an object with a type, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, &at, &type, in->e))
        return false;
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (span_eq(types[i].name, type))
            r->tool_choice = types[i].choice;
    if (r->tool_choice == CHAT_CHOICE_UNSET)
        return wire_bad_key(&at, "type", in->e, "must be auto, any, tool or none");
    if (single && !json_is_bool(single))
        return wire_bad_key(&at, "disable_parallel_tool_use", in->e, "must be true or false");
    if (single)
        r->parallel_tool_calls = !json_true(single);
    return wire_get_str(v, "name", r->tool_choice == CHAT_CHOICE_NAMED, &at, &r->tool_choice_name,
                        in->e) &&
           wire_add_inner(in, "tool_choice", v, known, false);
}

bool ant_check_tool_choice(const struct chat_request *r, struct err *e)
{
    struct wire_path at = {NULL, "tool_choice", 0};
    bool forced = r->tool_choice == CHAT_CHOICE_NAMED || r->tool_choice == CHAT_CHOICE_REQUIRED;
    if (forced && r->n_tools == 0)
        return wire_bad(&at, e, "asks for a tool call, but there are no tools");
    if (r->tool_choice != CHAT_CHOICE_NAMED)
        return true;
    for (size_t i = 0; i < r->n_tools; i++)
        if (r->tools[i].raw.p || span_eq(r->tools[i].name, r->tool_choice_name))
            return true; /* a tool that Anthropic runs may be called so */
    char shown[80];
    text_visible_cstr(shown, sizeof shown, r->tool_choice_name);
    return wire_bad_key(&at, "name", e, "\"%s\" is not among the tools", shown);
}
