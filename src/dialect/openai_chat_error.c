/* dialect/openai_chat_error.c - the error object to clients: before a stream and in one. What
 * upstreams send is read in wire_error.c. */
#include "dialect/openai_chat_priv.h"

static void w_str(struct json_w *w, const char *key, const char *s)
{
    json_w_key(w, key);
    json_w_cstr(w, s && *s ? s : NULL);
}

void oai_write_error_object(struct json_w *w, const struct err *err, bool in_stream)
{
    json_w_obj(w);
    json_w_key(w, "message");
    json_w_cstr(w, err->msg);
    w_str(w, "type", err_type(err->cls));
    w_str(w, "param", err->param);
    w_str(w, "code", err->code);
    if (in_stream) {
        json_w_key(w, "status");
        json_w_i64(w, err->status);
        json_w_key(w, "retry_after");
        if (err->retry_after_ms < 0)
            json_w_null(w);
        else
            json_w_i64(w, (err->retry_after_ms + 999) / 1000);
    }
    json_w_obj_end(w);
}

static void write_error(struct json_w *w, const struct err *err, bool in_stream)
{
    json_w_obj(w);
    json_w_key(w, "error");
    oai_write_error_object(w, err, in_stream);
    json_w_obj_end(w);
}

bool oai_write_error(const struct err *err, struct buf *out, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    write_error(&w, err, false);
    if (json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}

void oai_write_stream_error(struct json_w *w, const struct err *err)
{
    write_error(w, err, true);
}
