/* upstream/child_probe.c - does a local model's server answer? GET /health, which says whether
 * llama.cpp has loaded its model and which others may not have, then GET /v1/models, with the key.
 * One look; when to look again is child.c's business. */
#include "base/limits.h"
#include "base/text.h"
#include "json/json.h"
#include "upstream/child_priv.h"

/* A server that is loading may accept and say nothing for a while; one that is working answers at
 * once. */
#define CONNECT_US INT64_C(1000000)
#define ANSWER_US  INT64_C(5000000)

static const struct http_call_ops ops;

static void tell(struct child_probe *p, enum child_answer a)
{
    child_probe_stop(p);
    p->on_answer(p, a);
}

static bool ask(struct child_probe *p, struct err *e)
{
    const struct http_header headers[] = {
        {SPAN("authorization"), span_of(p->bearer)},
        {SPAN("user-agent"), SPAN("fusor/" FUSOR_VERSION)},
    };
    const struct http_call_spec spec = {
        .origin = &p->origin,
        .method = "GET",
        .target = p->models ? SPAN("/v1/models") : SPAN("/health"),
        .headers = headers,
        .n_headers = COUNT_OF(headers),
        .timeouts = {CONNECT_US, ANSWER_US, ANSWER_US, ANSWER_US},
        .max_body = LIMIT_SMALL_BODY_BYTES,
    };
    p->status = 0;
    buf_clear(&p->body);
    p->call = http_call_start(p->http, &spec, &ops, p, e);
    return p->call != NULL;
}

/* --- the answers, in order -------------------------------------------------------------------- */

static void on_head(void *owner, int status, const struct http_header *h, size_t n)
{
    struct child_probe *p = owner;
    p->status = status;
}

static void on_body(void *owner, struct span bytes)
{
    struct child_probe *p = owner;
    struct err e;
    if (p->models && !buf_add(&p->body, bytes, &e))
        buf_clear(&p->body); /* then it cannot be read, which only costs a warning */
}

/* llama.cpp's: {"data":[{"meta":{"n_ctx":2048}}]}, per slot. */
static int64_t context_of(struct span body)
{
    struct err e;
    json_val *v;
    int64_t n = 0;
    AUTO(arena) a = arena_new(0);
    if (a == NULL || !json_parse(a, body, &v, &e))
        return 0;
    struct json_iter it = json_iter_of(json_get(v, "data"));
    json_val *model;
    if (!json_next(&it, NULL, &model) || !json_i64(json_get(json_get(model, "meta"), "n_ctx"), &n))
        return 0;
    return n;
}

static void on_end(void *owner)
{
    struct child_probe *p = owner;
    p->call = NULL;
    snprintf(p->text, sizeof p->text, "it answers %d to GET %s", p->status,
             p->models ? "/v1/models" : "/health");
    if (!p->models && p->status < 500) {
        loop_defer(p->loop, &p->next); /* its status is no matter: many have no /health */
    } else if (p->status == 200) {
        p->context = context_of(buf_span(&p->body));
        tell(p, CHILD_ANSWERS);
    } else {
        bool refused = p->status == 401 || p->status == 403;
        tell(p, refused ? CHILD_REFUSES_KEY : CHILD_ANSWERS_NO);
    }
}

static void on_error(void *owner, const struct err *err)
{
    struct child_probe *p = owner;
    p->call = NULL;
    text_visible_cstr(p->text, sizeof p->text, span_of(err->msg));
    if (err->cls == ERR_CONNECT)
        tell(p, CHILD_NOT_LISTENING);
    else if (err->cls == ERR_TIMEOUT)
        tell(p, CHILD_SILENT);
    else
        tell(p, CHILD_ANSWERS_NO);
}

static const struct http_call_ops ops = {on_head, on_body, on_end, on_error};

static void on_next(struct loop_task *t)
{
    struct child_probe *p = CONTAINER_OF(t, struct child_probe, next);
    struct err e = {0};
    p->models = true;
    if (!ask(p, &e))
        on_error(p, &e);
}

/* --- for child.c ------------------------------------------------------------------------------ */

void child_probe_init(struct child_probe *p, struct loop *l, struct http_client *http,
                      void (*on_answer)(struct child_probe *p, enum child_answer a))
{
    *p = (struct child_probe){.loop = l, .http = http, .on_answer = on_answer};
    loop_task_init(&p->next, on_next);
    buf_init(&p->body, LIMIT_SMALL_BODY_BYTES);
}

bool child_probe_start(struct child_probe *p, int port, const char *key, struct err *e)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    if (!http_origin_parse(span_of(url), &p->origin, e))
        return false;
    snprintf(p->bearer, sizeof p->bearer, "Bearer %s", key);
    p->models = false;
    return ask(p, e);
}

bool child_probe_running(const struct child_probe *p)
{
    return p->call != NULL || !list_empty(&p->next.node);
}

void child_probe_stop(struct child_probe *p)
{
    if (p->call != NULL)
        http_call_cancel(TAKE(p->call));
    loop_undefer(&p->next);
    buf_done(&p->body);
    explicit_bzero(p->bearer, sizeof p->bearer);
}
