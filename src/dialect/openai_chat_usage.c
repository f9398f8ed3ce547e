/* dialect/openai_chat_usage.c - the usage object, both ways: OpenAI's counts, and what we add to
 * them (wire_report.c). */
#include "dialect/openai_chat_priv.h"

bool oai_read_usage(json_val *v, struct chat_usage *out)
{
    if (!json_is_obj(v))
        return false;
    json_val *in = json_get(v, "prompt_tokens_details");
    json_val *o = json_get(v, "completion_tokens_details");
    in = in ? in : json_get(v, "input_tokens_details");
    o = o ? o : json_get(v, "output_tokens_details");
    struct chat_usage u = {
        .input =
            wire_tokens(json_get(v, "prompt_tokens"), wire_tokens(json_get(v, "input_tokens"), 0)),
        .output = wire_tokens(json_get(v, "completion_tokens"),
                              wire_tokens(json_get(v, "output_tokens"), 0)),
        .cache_write = wire_tokens(json_get(in, "cache_write_tokens"), 0),
        .reasoning = wire_tokens(json_get(o, "reasoning_tokens"), 0),
    };
    wire_read_spend(v, &u);
    /* DeepSeek and Mistral have said it outside of the details, before they said it there. */
    u.cached = wire_tokens(json_get(v, "num_cached_tokens"), 0);
    u.cached = wire_tokens(json_get(v, "prompt_cache_hit_tokens"), u.cached);
    u.cached = wire_tokens(json_get(in, "cached_tokens"), u.cached);
    /* xAI counts reasoning beside completion_tokens; its total gives it away. */
    int64_t total = wire_tokens(json_get(v, "total_tokens"), 0);
    if (u.reasoning > 0 && total == u.input + u.output + u.reasoning)
        u.output += u.reasoning;
    *out = u;
    return true;
}

static void w_i64(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    json_w_i64(w, v);
}

void oai_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report)
{
    json_w_obj(w);
    w_i64(w, "prompt_tokens", u->input);
    w_i64(w, "completion_tokens", u->output);
    w_i64(w, "total_tokens", u->input + u->output);
    json_w_key(w, "prompt_tokens_details");
    json_w_obj(w);
    w_i64(w, "cached_tokens", u->cached);
    if (u->cache_write > 0)
        w_i64(w, "cache_write_tokens", u->cache_write);
    json_w_obj_end(w);
    json_w_key(w, "completion_tokens_details");
    json_w_obj(w);
    w_i64(w, "reasoning_tokens", u->reasoning);
    json_w_obj_end(w);
    wire_write_spend(w, u, report);
    json_w_obj_end(w);
}
