/* dialect/anthropic_messages_usage.c - the usage object both ways, the answer to a count of tokens,
 * and the error object to clients.
 *
 * input_tokens are those that neither came from the prompt cache nor went into it; in chat_usage
 * all three make up the input. */
#include "dialect/anthropic_priv.h"

/* --- usage ------------------------------------------------------------------------------------ */

bool ant_read_usage(json_val *v, struct chat_usage *u)
{
    if (!json_is_obj(v))
        return false;
    int64_t fresh = u->input - u->cached - u->cache_write;
    int64_t cached = wire_tokens(json_get(v, "cache_read_input_tokens"), u->cached);
    int64_t written = wire_tokens(json_get(v, "cache_creation_input_tokens"), u->cache_write);
    json_val *details = json_get(v, "output_tokens_details");
    u->input = wire_tokens(json_get(v, "input_tokens"), fresh) + cached + written;
    u->cached = cached;
    u->cache_write = written;
    u->output = wire_tokens(json_get(v, "output_tokens"), u->output);
    u->reasoning = wire_tokens(json_get(details, "thinking_tokens"), u->reasoning);
    wire_read_spend(v, u);
    return true;
}

static void w_i64(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    json_w_i64(w, v);
}

void ant_write_null(struct json_w *w, const char *key)
{
    json_w_key(w, key);
    json_w_null(w);
}

static void write_counts(struct json_w *w, const struct chat_usage *u)
{
    int64_t fresh = u->input - u->cached - u->cache_write;
    w_i64(w, "input_tokens", fresh > 0 ? fresh : 0);
    w_i64(w, "cache_creation_input_tokens", u->cache_write);
    w_i64(w, "cache_read_input_tokens", u->cached);
    w_i64(w, "output_tokens", u->output);
    if (u->reasoning <= 0)
        return;
    json_w_key(w, "output_tokens_details");
    json_w_obj(w);
    w_i64(w, "thinking_tokens", u->reasoning);
    json_w_obj_end(w);
}

void ant_write_unary_usage(struct json_w *w, const struct chat_usage *u,
                           const struct chat_fusion_report *report)
{
    static const char *const unknown[] = {"cache_creation", "inference_geo", "server_tool_use",
                                          "service_tier"};
    json_w_obj(w);
    write_counts(w, u);
    if (u->reasoning <= 0)
        ant_write_null(w, "output_tokens_details");
    for (size_t i = 0; i < COUNT_OF(unknown); i++)
        ant_write_null(w, unknown[i]);
    wire_write_spend(w, u, report);
    json_w_obj_end(w);
}

void ant_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report, bool bare)
{
    json_w_obj(w);
    write_counts(w, u);
    if (!bare)
        wire_write_spend(w, u, report);
    json_w_obj_end(w);
}

bool ant_write_count(int64_t input_tokens, struct buf *out, struct err *e)
{
    return buf_addf(out, e, "{\"input_tokens\":%lld}", (long long)input_tokens);
}

/* --- errors ----------------------------------------------------------------------------------- */

/* docs, "Errors"; statuses that Anthropic has no word for get that of their family. */
static const char *type_of(const struct err *err)
{
    static const struct {
        int status;
        const char *type;
    } types[] = {
        {401, "authentication_error"}, {402, "billing_error"},    {403, "permission_error"},
        {404, "not_found_error"},      {408, "timeout_error"},    {413, "request_too_large"},
        {429, "rate_limit_error"},     {503, "overloaded_error"}, {504, "timeout_error"},
        {529, "overloaded_error"},
    };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].status == err->status)
            return types[i].type;
    return err->status >= 500 ? "api_error" : "invalid_request_error";
}

static void write_open(struct json_w *w, const struct err *err)
{
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, "error");
    json_w_key(w, "error");
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, type_of(err));
    json_w_key(w, "message");
    json_w_cstr(w, err->msg);
}

bool ant_write_error(const struct err *err, struct buf *out, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    write_open(&w, err);
    json_w_obj_end(&w);
    json_w_obj_end(&w);
    if (json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}

void ant_write_stream_error(struct json_w *w, const struct err *err)
{
    write_open(w, err);
    json_w_key(w, "code");
    json_w_cstr(w, err->code);
    w_i64(w, "status", err->status);
    json_w_key(w, "retry_after");
    if (err->retry_after_ms < 0)
        json_w_null(w);
    else
        json_w_i64(w, (err->retry_after_ms + 999) / 1000);
    json_w_obj_end(w);
    json_w_obj_end(w);
}
