/* dialect/openai_chat_tool.c - a client's tools and tool_choice -> chat_request. */
#include "base/text.h"
#include "dialect/openai_chat_priv.h"

static bool read_function(struct arena *a, const struct wire_path *at, json_val *v,
                          struct chat_tool *t, struct err *e)
{
    struct wire_path below = {at, "function", 0};
    json_val *f = wire_get(v, "function"), *parameters = wire_get(f, "parameters");
    json_val *strict = wire_get(f, "strict");
    if (!json_is_obj(f))
        return wire_bad(&below, e, "must be an object with a name");
    if (!wire_get_str(f, "name", true, &below, &t->name, e) ||
        !wire_get_str(f, "description", false, &below, &t->description, e))
        return false;
    if (!wire_is_name(t->name))
        return wire_bad_key(&below, "name", e, "must match ^[a-zA-Z0-9_-]{1,64}$");
    if (parameters && !json_is_obj(parameters))
        return wire_bad_key(&below, "parameters", e, "must be a JSON Schema object");
    if (strict && !json_is_bool(strict))
        return wire_bad_key(&below, "strict", e, "must be true or false");
    if (strict)
        t->strict = json_true(strict);
    if (parameters && !json_raw(a, parameters, &t->parameters, e))
        return false;
    static const char *const names[] = {"name", "description", "parameters", "strict"};
    size_t known = 0;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        known += json_get(f, names[i]) != NULL;
    bool all = json_count(f) == known && json_count(v) == 2;
    return all || json_raw(a, v, &t->whole, e);
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
    if (span_eq(type, SPAN("custom")))
        return wire_bad_key(at, "type", e, "custom is not supported: use a function");
    t->name = type;
    return json_raw(a, v, &t->raw, e);
}

bool oai_read_tools(struct arena *a, json_val *v, struct chat_request *r, struct err *e)
{
    struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad(&at, e, "must be a list, not %s", json_type_name(v));
    struct chat_tool *list = arena_array(a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++)
        if (!read_tool(a, &below, item, &list[below.index], e))
            return false;
    r->tools = list;
    r->n_tools = json_count(v);
    return true;
}

bool oai_choice_of_name(struct span s, enum chat_tool_choice *out)
{
    static const struct {
        struct span name;
        enum chat_tool_choice choice;
    } names[] = {
        {SPAN_INIT("auto"), CHAT_CHOICE_AUTO},
        {SPAN_INIT("none"), CHAT_CHOICE_NONE},
        {SPAN_INIT("required"), CHAT_CHOICE_REQUIRED},
        {SPAN_INIT("any"), CHAT_CHOICE_REQUIRED}, /* Mistral's word */
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_eq(names[i].name, s)) {
            *out = names[i].choice;
            return true;
        }
    return false;
}

bool oai_read_tool_choice(json_val *v, struct chat_request *r, bool *out_extra, struct err *e)
{
    struct wire_path at = {NULL, "tool_choice", 0}, below = {&at, "function", 0};
    struct span type = {0};
    if (json_is_str(v))
        return oai_choice_of_name(json_str(v), &r->tool_choice) ||
               wire_bad(&at, e, "must be auto, none, required or an object naming a function");
    if (!json_is_obj(v))
        return wire_bad(&at, e, "must be a string or an object, not %s", json_type_name(v));
    if (!wire_get_str(v, "type", true, &at, &type, e))
        return false;
    if (span_eq(type, SPAN("allowed_tools"))) {
        *out_extra = true;
        return true;
    }
    if (!span_eq(type, SPAN("function")))
        return wire_bad_key(&at, "type", e, "must be function or allowed_tools");
    if (!json_is_obj(wire_get(v, "function")))
        return wire_bad(&below, e, "must be an object with a name");
    r->tool_choice = CHAT_CHOICE_NAMED;
    return wire_get_str(json_get(v, "function"), "name", true, &below, &r->tool_choice_name, e);
}

bool oai_check_tool_choice(const struct chat_request *r, const char *key, struct err *e)
{
    struct wire_path at = {NULL, "tool_choice", 0};
    bool forced = r->tool_choice == CHAT_CHOICE_NAMED || r->tool_choice == CHAT_CHOICE_REQUIRED;
    if (forced && r->n_tools == 0)
        return wire_bad(&at, e, "asks for a tool call, but there are no tools");
    if (r->tool_choice != CHAT_CHOICE_NAMED)
        return true;
    for (size_t i = 0; i < r->n_tools; i++)
        if (!r->tools[i].raw.p && span_eq(r->tools[i].name, r->tool_choice_name))
            return true;
    char shown[80];
    text_visible_cstr(shown, sizeof shown, r->tool_choice_name);
    return wire_bad_key(&at, key, e, "\"%s\" is not among the tools", shown);
}
