/* dialect/openai_chat_router.c - the fields of the top level that are OpenRouter's: fallbacks,
 * routing, the `reasoning` object, and what asks for work on the prompt or the answer that nobody
 * does here. Source: OpenRouter's API reference ("Create a chat completion"), its guides on
 * reasoning tokens, message transforms and plugins. */
#include "base/text.h"
#include "dialect/openai_chat_priv.h"

/* More than anyone lists; each is looked up. */
#define MAX_FALLBACKS 16

bool oai_read_models(struct arena *a, json_val *v, struct chat_request *r, struct err *e)
{
    static const struct wire_path at = {NULL, "models", 0};
    struct wire_path below = {&at, NULL, 0};
    struct span key;
    json_val *item;
    if (!json_is_arr(v))
        return wire_bad(&at, e, "must be a list of model names, not %s", json_type_name(v));
    if (json_count(v) > MAX_FALLBACKS)
        return wire_bad(&at, e, "holds %zu names, %d are allowed", json_count(v), MAX_FALLBACKS);
    struct span *list = arena_array(a, json_count(v), sizeof *list);
    if (!list)
        return wire_no_memory(e);
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++) {
        list[below.index] = json_str(item);
        if (list[below.index].n == 0)
            return wire_bad(&below, e, "must be the name of a model (GET /v1/models)");
    }
    r->fallbacks = list;
    r->n_fallbacks = json_count(v);
    return true;
}

bool oai_read_routing(struct arena *a, json_val *v, struct chat_request *r, struct err *e)
{
    return json_is_obj(v)
               ? json_raw(a, v, &r->routing, e)
               : wire_bad_key(NULL, "provider", e, "must be an object, not %s", json_type_name(v));
}

/* --- reasoning -------------------------------------------------------------------------------- */

static const struct wire_path at_reasoning = {NULL, "reasoning", 0};

bool oai_set_effort(struct chat_request *r, const struct wire_path *at, const char *key,
                    struct span effort, struct err *e)
{
    if (effort.n == 0)
        return wire_bad_key(at, key, e, "is empty");
    if (r->reasoning_effort.p && !span_eq(r->reasoning_effort, effort))
        return wire_bad_key(at, key, e,
                            "differs from what another field says: send reasoning_effort alone");
    r->reasoning_effort = effort;
    return true;
}

static bool read_budget(json_val *v, struct chat_request *r, struct err *e)
{
    return (json_i64(v, &r->reasoning_tokens) && r->reasoning_tokens > 0) ||
           wire_bad_key(&at_reasoning, "max_tokens", e,
                        "must be a whole number of tokens, 1 or more");
}

static bool read_switch(struct span key, json_val *v, struct chat_request *r, bool *out_default,
                        struct err *e)
{
    const char *name = span_eq(key, SPAN("enabled")) ? "enabled" : "exclude";
    if (!json_is_bool(v))
        return wire_bad_key(&at_reasoning, name, e, "must be true or false");
    if (span_eq(key, SPAN("exclude")))
        r->reasoning_hidden = json_true(v);
    else if (json_true(v))
        *out_default = true;
    else
        return oai_set_effort(r, &at_reasoning, "enabled", SPAN("none"), e);
    return true;
}

static bool read_member(struct span key, json_val *v, struct chat_request *r, bool *out_default,
                        struct err *e)
{
    char shown[48];
    if (span_eq(key, SPAN("max_tokens")))
        return read_budget(v, r, e);
    if (span_eq(key, SPAN("enabled")) || span_eq(key, SPAN("exclude")))
        return read_switch(key, v, r, out_default, e);
    bool effort = span_eq(key, SPAN("effort"));
    text_visible_cstr(shown, sizeof shown, key);
    if (!effort && !span_eq(key, SPAN("summary")))
        return wire_bad_key(&at_reasoning, shown, e, "is not known: leave it out");
    if (!json_is_str(v))
        return wire_bad_key(&at_reasoning, shown, e, "must be a string, not %s", json_type_name(v));
    if (effort)
        return oai_set_effort(r, &at_reasoning, "effort", json_str(v), e);
    r->reasoning_summary = json_str(v);
    return true;
}

bool oai_read_reasoning(json_val *v, struct chat_request *r, bool *out_default, struct err *e)
{
    struct span key;
    json_val *x;
    if (!json_is_obj(v))
        return wire_bad(&at_reasoning, e, "must be an object, not %s", json_type_name(v));
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &x);)
        if (!json_is_null(x) && !read_member(key, x, r, out_default, e))
            return false;
    return true;
}

bool oai_check_reasoning(struct chat_request *r, bool by_default, struct err *e)
{
    if (r->reasoning_tokens > 0 && r->reasoning_effort.p)
        return wire_bad_key(&at_reasoning, "max_tokens", e,
                            "and an effort say the same thing in two ways: send one of them");
    if (by_default && r->reasoning_tokens == 0 && !r->reasoning_effort.p)
        r->reasoning_effort = SPAN("medium"); /* what `enabled` alone means there */
    return true;
}

/* --- work on the prompt or the answer --------------------------------------------------------- */

bool oai_check_transforms(json_val *v, struct err *e)
{
    if (json_is_arr(v) && json_count(v) == 0)
        return true;
    return wire_bad_key(NULL, "transforms", e,
                        "are not supported: a prompt is never shortened here; shorten the messages "
                        "and leave the field out, or send []");
}

bool oai_check_route(json_val *v, struct err *e)
{
    return span_eq(json_str(v), SPAN("fallback")) ||
           wire_bad_key(NULL, "route", e,
                        "must be \"fallback\", which is what `models` does anyway: leave it out");
}

/* A plugin that is switched off is as good as none. */
bool oai_check_plugins(json_val *v, struct err *e)
{
    static const struct wire_path at = {NULL, "plugins", 0};
    struct wire_path below = {&at, NULL, 0};
    struct span key, id = {0};
    json_val *item;
    char shown[48];
    if (!json_is_arr(v))
        return wire_bad(&at, e, "must be a list, not %s", json_type_name(v));
    for (struct json_iter it = json_iter_of(v); json_next(&it, &key, &item); below.index++) {
        json_val *on = wire_get(item, "enabled");
        if (!json_is_obj(item))
            return wire_bad(&below, e, "must be an object, not %s", json_type_name(item));
        if (!wire_get_str(item, "id", true, &below, &id, e))
            return false;
        if (json_is_bool(on) && !json_true(on))
            continue;
        text_visible_cstr(shown, sizeof shown, id);
        return wire_bad_key(&below, "id", e,
                            "\"%s\" is not a plugin of this server: do its work in the client (a "
                            "search as a tool, a document as a file part), or leave it out",
                            shown);
    }
    return true;
}
