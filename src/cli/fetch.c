/* cli/fetch.c - see cli/fetch.h. */
#include "cli/fetch.h"

#include "base/limits.h"
#include "dialect/dialect.h"
#include "http/tls.h"

struct fetch_run {
    struct loop *loop;
    struct http_client *client;
    size_t left;
};

static void over(struct fetch *f)
{
    f->took_us = loop_now_us(f->run_->loop) - f->start_us_;
    if (--f->run_->left == 0)
        loop_stop(f->run_->loop);
}

static void on_head(void *owner, int status, const struct http_header *h, size_t n)
{
    struct fetch *f = owner;
    f->head_ = status;
}

static void on_body(void *owner, struct span bytes)
{
    struct fetch *f = owner;
    if (f->err.cls == ERR_NONE)
        (void)!buf_add(f->out, bytes, &f->err);
}

static void on_end(void *owner)
{
    struct fetch *f = owner;
    if (f->err.cls == ERR_NONE)
        f->status = f->head_;
    over(f);
}

static void on_error(void *owner, const struct err *e)
{
    struct fetch *f = owner;
    f->err = *e;
    over(f);
}

static const struct http_call_ops ops = {on_head, on_body, on_end, on_error};

#define MAX_HEADERS 4

/* The key is written into `room`. */
static size_t write_headers(const struct fetch *f, char *room, size_t cap,
                            struct http_header out[static MAX_HEADERS])
{
    const struct dialect *d = f->dialect ? f->dialect : &dialect_openai_chat;
    bool bearer = strcmp(d->key_header, "authorization") == 0;
    size_t n = 0;
    out[n++] = (struct http_header){SPAN("content-type"), SPAN("application/json")};
    for (size_t i = 0; i < COUNT_OF(d->headers) && d->headers[i].name; i++)
        out[n++] = (struct http_header){span_of(d->headers[i].name), span_of(d->headers[i].value)};
    if (!f->key)
        return n;
    struct span key = secret_reveal(f->key);
    int len = snprintf(room, cap, "%s%.*s", bearer ? "Bearer " : "", SPAN_ARG(key));
    out[n++] = (struct http_header){span_of(d->key_header), span_make(room, (size_t)len)};
    return n;
}

static bool start(struct fetch *f)
{
    if (!http_origin_parse(f->url, &f->origin_, &f->err))
        return false;
    if (f->proxy.n > 0 && !http_origin_parse(f->proxy, &f->proxy_, &f->err))
        return err_prefix(&f->err, "proxy");
    if (f->whole_path)
        f->origin_.base[0] = '\0';
    if (f->origin_.tls) {
        f->tls_ = tls_client_new(f->ca_file, &f->err);
        if (!f->tls_)
            return false;
    }
    char key[LIMIT_SECRET_BYTES + 16];
    struct http_header h[MAX_HEADERS];
    struct http_call_spec spec = {.origin = &f->origin_,
                                  .tls = f->tls_,
                                  .proxy = f->proxy.n > 0 ? &f->proxy_ : NULL,
                                  .proxy_auth = f->proxy_auth,
                                  .method = f->body.n ? "POST" : "GET",
                                  .target = f->path,
                                  .headers = h,
                                  .n_headers = write_headers(f, key, sizeof key, h),
                                  .body = f->body,
                                  .timeouts = f->timeouts};
    bool ok = http_call_start(f->run_->client, &spec, &ops, f, &f->err) != NULL;
    explicit_bzero(key, sizeof key);
    return ok;
}

static void fail_all(struct fetch *f, size_t n, const struct err *e)
{
    for (size_t i = 0; i < n; i++)
        f[i].err = *e;
}

void fetch_all(struct fetch *f, size_t n)
{
    struct err e = {0};
    struct fetch_run r = {0};
    AUTO(loop) l = r.loop = loop_new(&e);
    if (l)
        r.client = http_client_new(l, 1, 1000000, &e);
    if (!r.client) {
        fail_all(f, n, &e);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        f[i].run_ = &r;
        f[i].err = (struct err){0};
        f[i].start_us_ = loop_now_us(l);
        if (start(&f[i]))
            r.left++;
    }
    if (r.left > 0)
        loop_run(l);
    http_client_free(r.client);
    for (size_t i = 0; i < n; i++)
        tls_free(TAKE(f[i].tls_));
}
