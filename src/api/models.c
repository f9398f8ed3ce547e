/* api/models.c - GET /v1/models and /v1/models/{id}: what a client may name as `model`. The id may
 * stand raw or percent-encoded, with any number of slashes. What an entry holds: api/model_card.c.
 */
#include "api/edge.h"

#include "api/model_card.h"

static int64_t created_of(const struct api_request *rq)
{
    return rq->worker->app->started_wall_ms / 1000;
}

static void reply(struct api_request *rq, struct buf *b, bool ok, const struct err *e)
{
    if (ok)
        api_reply_json(rq, 200, buf_span(b));
    else
        api_reply_error(rq, e);
    buf_done(b);
}

void api_models(struct api_request *rq)
{
    const struct config *c = rq->lane->snapshot->config;
    struct buf b;
    struct err e = {0};
    struct json_w w;
    buf_init(&b, MIB(16));
    json_w_init(&w, &b, &e);
    json_w_obj(&w);
    json_w_key(&w, "object");
    json_w_cstr(&w, "list");
    json_w_key(&w, "data");
    json_w_arr(&w);
    for (size_t i = 0; i < c->n_aliases; i++)
        api_write_named(&w, c, c->aliases[i].name, created_of(rq));
    for (size_t i = 0; i < c->n_recipes; i++)
        api_write_named(&w, c, c->recipes[i].name, created_of(rq));
    for (size_t i = 0; i < c->n_models; i++)
        api_write_model(&w, c, &c->models[i], created_of(rq));
    json_w_arr_end(&w);
    json_w_obj_end(&w);
    reply(rq, &b, json_w_end(&w), &e);
}

/* Percent-decoding (RFC 3986 section 2.1); a broken escape is kept as it stands. */
static struct span decode(struct arena *a, struct span s)
{
    struct span copy = arena_dup(a, s);
    if (!copy.p)
        return s;
    char *out = (char *)(uintptr_t)copy.p; /* our own copy */
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned v;
        char hex[3] = {0};
        if (s.p[i] == '%' && i + 2 < s.n) {
            hex[0] = s.p[i + 1];
            hex[1] = s.p[i + 2];
        }
        if (hex[0] && strspn(hex, "0123456789abcdefABCDEF") == 2 && sscanf(hex, "%x", &v) == 1) {
            out[n++] = (char)v;
            i += 2;
        } else {
            out[n++] = s.p[i];
        }
    }
    return (struct span){out, n};
}

void api_model(struct api_request *rq)
{
    struct arena *a = http_arena(rq->x);
    const struct config *c = rq->lane->snapshot->config;
    struct span name = decode(a, rq->rest);
    struct route_target t;
    struct err e = {0};
    struct buf b;
    struct json_w w;
    buf_init(&b, KIB(64));
    bool ok = route_resolve(rq->lane->route, a, name, &t, &e);
    if (ok) {
        json_w_init(&w, &b, &e);
        if (t.alias)
            api_write_named(&w, c, t.alias->name, created_of(rq));
        else if (t.recipe)
            api_write_named(&w, c, t.recipe->name, created_of(rq));
        else
            api_write_model(&w, c, t.model, created_of(rq));
        ok = json_w_end(&w);
    }
    reply(rq, &b, ok, &e);
}
