/* dialect/openai_chat.c - OpenAI's Chat Completions, and all that speaks like it.
 *
 * Here: the table of the dialect and what its files share: paths for error messages. Sources of the
 * format: github.com/openai/openai-openapi (f85dbe2); what real servers and client libraries do
 * beside the book stands where it is handled. */
#include <stdio.h>

#include "dialect/openai_chat_priv.h"

const struct dialect dialect_openai_chat = {
    .name = "openai_chat",
    .path = "/chat/completions",
    .read_request = oai_read_request,
    .writer_new = oai_writer_new,
    .writer_free = oai_writer_free,
    .write_event = oai_write_event,
    .write_unary = oai_write_unary,
    .write_error = oai_write_error,
    .write_request = oai_write_request,
    .reader_new = oai_reader_new,
    .reader_free = oai_reader_free,
    .reader_feed = oai_reader_feed,
    .reader_body = oai_reader_body,
    .reader_eof = oai_reader_eof,
    .reader_next = oai_reader_next,
    .read_error = oai_read_error,
};

bool oai_is_name(struct span s)
{
    if (s.n == 0 || s.n > 64)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '_' || c == '-';
        if (!fine)
            return false;
    }
    return true;
}

bool oai_no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the request");
}

/* Writes the path from the root down; cut when it does not fit. Paths are a few steps deep. */
static size_t render(const struct oai_path *at, char *out, size_t cap)
{
    if (!at)
        return 0;
    size_t n = render(at->up, out, cap);
    if (n >= cap)
        return cap;
    int more = at->key ? snprintf(out + n, cap - n, "%s%s", n > 0 ? "." : "", at->key)
                       : snprintf(out + n, cap - n, "[%zu]", at->index);
    return more < 0 ? n : n + (size_t)more;
}

static bool bad(const struct oai_path *at, struct err *e, const char *fmt, va_list args)
{
    char param[sizeof e->param] = "", text[256];
    render(at, param, sizeof param);
    vsnprintf(text, sizeof text, fmt, args);
    return err_field(e, param, "%s %s", param, text);
}

bool oai_bad(const struct oai_path *at, struct err *e, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    bad(at, e, fmt, args);
    va_end(args);
    return false;
}

bool oai_bad_key(const struct oai_path *at, const char *key, struct err *e, const char *fmt, ...)
{
    struct oai_path below = {at, key, 0};
    va_list args;
    va_start(args, fmt);
    bad(&below, e, fmt, args);
    va_end(args);
    return false;
}

json_val *oai_get(json_val *obj, const char *key)
{
    json_val *v = json_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

bool oai_get_str(json_val *obj, const char *key, bool required, const struct oai_path *at,
                 struct span *out, struct err *e)
{
    json_val *v = oai_get(obj, key);
    if (!v)
        return !required || oai_bad_key(at, key, e, "is missing");
    if (!json_is_str(v))
        return oai_bad_key(at, key, e, "must be a string, not %s", json_type_name(v));
    *out = json_str(v);
    return true;
}
