/* api/edge.c - see api/edge.h: from a parsed head to the right handler, and from its outcome to the
 * log. The checks follow SECURITY.md ("The edge"): Host list, foreign origins, JSON only, key. */
#include "api/edge.h"

#include "base/clock.h"
#include "dialect/dialect.h"

const struct api_route api_routes[] = {
    {HTTP_METHOD_POST, "/v1/chat/completions", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_openai_chat},
    {HTTP_METHOD_POST, "/v1/responses", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_openai_responses},
    {HTTP_METHOD_GET, "/v1/responses/resp_*", AUTH_CLIENT, 0, api_response},
    {HTTP_METHOD_DELETE, "/v1/responses/resp_*", AUTH_CLIENT, 0, api_response_delete},
    {HTTP_METHOD_POST, "/v1/messages", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_anthropic_messages},
    {HTTP_METHOD_POST, "/v1/messages/count_tokens", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES,
     api_count_tokens, &dialect_anthropic_messages},
    {HTTP_METHOD_POST, "/v1/embeddings", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_embeddings},
    {HTTP_METHOD_POST, "/v1/completions", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_completions},
    {HTTP_METHOD_POST, "/v1/fim/completions", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_chat,
     &dialect_fim},
    {HTTP_METHOD_POST, "/v1/fusions/plan", AUTH_CLIENT, LIMIT_CHAT_BODY_BYTES, api_fusion_plan},
    {HTTP_METHOD_GET, "/v1/models", AUTH_CLIENT, 0, api_models},
    {HTTP_METHOD_GET, "/v1/models/*", AUTH_CLIENT, 0, api_model},
    {HTTP_METHOD_GET, "/healthz", AUTH_NONE, 0, api_healthz},
    {HTTP_METHOD_GET, "/readyz", AUTH_NONE, 0, api_readyz},
    {HTTP_METHOD_GET, "/metrics", AUTH_CLIENT, 0, api_metrics},
    {HTTP_METHOD_POST, "/admin/reload", AUTH_LOCAL, LIMIT_SMALL_BODY_BYTES, api_admin_reload},
    {HTTP_METHOD_GET, "/admin/state", AUTH_LOCAL, 0, api_admin_state},
    {HTTP_METHOD_GET, "/admin/config", AUTH_LOCAL, 0, api_admin_config},
};
const size_t api_n_routes = COUNT_OF(api_routes);

/* --- finding the route
 * -------------------------------------------------------------------------------- */

/* Ids of answers have their prefix in the table: /v1/responses/compact and the like are not there,
 * which clients tell by 404. Those that are set up for OpenRouter have /api/v1 in front of the same routes. */
static bool path_matches(const struct api_route *r, struct span path, struct span *rest)
{
    struct span want = span_of(r->path);
    if (span_starts(path, SPAN("/api/v1/")) && span_starts(want, SPAN("/v1/")))
        path = span_from(path, 4);
    if (want.p[want.n - 1] != '*')
        return span_eq(path, want);
    struct span prefix = span_upto(want, want.n - 1);
    if (!span_starts(path, prefix) || path.n == prefix.n)
        return false;
    while (prefix.n > 0 && prefix.p[prefix.n - 1] != '/')
        prefix.n--;
    *rest = span_from(path, prefix.n);
    return true;
}

static const char *method_word(enum http_method m)
{
    switch (m) {
    case HTTP_METHOD_GET:
        return "GET, HEAD";
    case HTTP_METHOD_HEAD:
        return "HEAD";
    case HTTP_METHOD_POST:
        return "POST";
    case HTTP_METHOD_PUT:
        return "PUT";
    case HTTP_METHOD_DELETE:
        return "DELETE";
    case HTTP_METHOD_PATCH:
        return "PATCH";
    case HTTP_METHOD_OPTIONS:
        return "OPTIONS";
    case HTTP_METHOD_OTHER:
        break;
    }
    return "";
}

/* The methods that the path takes, "GET, HEAD, POST"; empty: it is no route. */
static struct span methods_of(struct http_exchange *x)
{
    struct span all = SPAN(""), rest;
    for (size_t i = 0; i < COUNT_OF(api_routes); i++) {
        if (!path_matches(&api_routes[i], http_path(x), &rest))
            continue;
        struct span more = arena_printf(http_arena(x), "%.*s%s%s", SPAN_ARG(all),
                                        all.n > 0 ? ", " : "", method_word(api_routes[i].method));
        if (more.p)
            all = more;
    }
    return all;
}

static bool find_route(struct http_exchange *x, const struct api_route **out, struct span *rest,
                       struct err *e)
{
    struct span path = http_path(x);
    enum http_method m = http_method_of(x);
    if (m == HTTP_METHOD_HEAD)
        m = HTTP_METHOD_GET;
    for (size_t i = 0; i < COUNT_OF(api_routes); i++) {
        if (!path_matches(&api_routes[i], path, rest))
            continue;
        if (api_routes[i].method == m) {
            *out = &api_routes[i];
            return true;
        }
    }
    struct span shown = span_upto(path, 120), methods = methods_of(x);
    if (methods.n > 0) {
        (void)err_set(e, ERR_METHOD, "%.*s does not take %.*s; use %.*s", SPAN_ARG(shown),
                      SPAN_ARG(http_method_name(x)), SPAN_ARG(methods));
        return err_with_code(e, "method_not_allowed");
    }
    (void)err_set(e, ERR_NOT_FOUND,
                  "there is no route %.*s; the API starts at /v1 (POST /v1/chat/completions, "
                  "GET /v1/models)",
                  SPAN_ARG(shown));
    return err_with_code(e, "unknown_route");
}

/* --- the checks
 * ----------------------------------------------------------------------------------------- */

static bool is_loopback_name(struct span host)
{
    static const struct span names[] = {SPAN_INIT("localhost"), SPAN_INIT("127.0.0.1"),
                                        SPAN_INIT("[::1]")};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (span_eq_nocase(host, names[i]))
            return true;
    return false;
}

static struct span without_port(struct span host)
{
    size_t bracket = span_rindex(host, SPAN("]"));
    size_t colon = span_rindex(host, SPAN(":"));
    bool port = colon < host.n && (bracket == host.n || colon > bracket);
    return port ? span_upto(host, colon) : host;
}

static bool host_allowed(const struct config *c, struct span host)
{
    host = without_port(host);
    if (is_loopback_name(host) || span_eq_nocase(host, span_of(c->listen.address)))
        return true;
    for (size_t i = 0; i < c->n_hosts; i++)
        if (span_eq_nocase(host, c->hosts[i]))
            return true;
    return false;
}

static bool host_answered(const struct config *c, struct http_exchange *x)
{
    struct span host = http_header_of(x, "host");
    return http_is_local(x) || !host.p || host_allowed(c, host);
}

static bool origin_listed(const struct config *c, struct span origin)
{
    for (size_t i = 0; origin.p && i < c->n_cors_origins; i++)
        if (span_eq(origin, c->cors_origins[i]))
            return true;
    return false;
}

/* A page of another origin may not talk to a gateway on this machine (CSRF, DNS rebinding). */
static bool origin_allowed(const struct config *c, struct http_exchange *x)
{
    struct span origin = http_header_of(x, "origin");
    if (origin_listed(c, origin))
        return true;
    if (span_eq(http_header_of(x, "sec-fetch-site"), SPAN("cross-site")))
        return false;
    if (!origin.p)
        return true;
    size_t at = span_index(origin, SPAN("://"));
    struct span host = at < origin.n ? span_from(origin, at + 3) : origin;
    return span_eq_nocase(host, http_header_of(x, "host"));
}

static bool is_json(struct span type)
{
    struct span head;
    if (!span_cut(&type, ';', &head))
        return false;
    return span_eq_nocase(span_trim(head), SPAN("application/json"));
}

/* Every byte is looked at, whatever comes first, so that time tells nothing. */
static bool same_secret(struct span a, struct span b)
{
    unsigned char diff = a.n == b.n ? 0 : 1;
    for (size_t i = 0; i < a.n; i++)
        diff |= (unsigned char)(a.p[i] ^ (b.n ? b.p[i % b.n] : 1));
    return diff == 0;
}

static bool check_key(const struct config *c, struct http_exchange *x, struct err *e)
{
    if (!c->api_key || http_is_local(x))
        return true;
    struct span given = http_header_of(x, "authorization");
    if (span_eq_nocase(span_upto(given, 7), SPAN("bearer ")))
        given = span_trim(span_from(given, 7));
    else
        given = http_header_of(x, "x-api-key");
    if (given.p && same_secret(given, secret_reveal(c->api_key)))
        return true;
    (void)err_set(e, ERR_AUTH, "%s; send the configured key as `Authorization: Bearer ...`",
                  given.p ? "this API key is not the right one" : "an API key is needed");
    return err_with_code(e, "invalid_api_key");
}

static bool check_edge(const struct api_route *r, const struct config *c, struct http_exchange *x,
                       struct err *e)
{
    struct span host = http_header_of(x, "host");
    if (!host_answered(c, x)) {
        struct span shown = span_upto(host, 120);
        return err_set(e, ERR_FORBIDDEN,
                       "the host name \"%.*s\" is not answered here; add it to `hosts`",
                       SPAN_ARG(shown));
    }
    if (!origin_allowed(c, x))
        return err_set(e, ERR_FORBIDDEN,
                       "requests from pages of another origin are refused; add it to "
                       "`cors_origins` if it is yours");
    if (r->auth == AUTH_LOCAL && !http_is_local(x))
        return err_set(e, ERR_FORBIDDEN, "this route is answered on the Unix socket only");
    if (r->auth != AUTH_NONE && !check_key(c, x, e))
        return false;
    if (r->method == HTTP_METHOD_POST && !is_json(http_header_of(x, "content-type")))
        return err_set(e, ERR_MEDIA, "send the body as `content-type: application/json`");
    return true;
}

/* --- a request
 * ------------------------------------------------------------------------------------------ */

static bool id_ok(struct span id)
{
    if (id.n < 1 || id.n > 64)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

static struct span request_id(struct worker *w, struct http_exchange *x)
{
    struct span id = http_header_of(x, "x-request-id");
    if (id_ok(id))
        return id;
    char token[21];
    rng_name(&w->names, token, 20);
    return arena_printf(http_arena(x), "req_%s", token);
}

static struct api_request *request_new(struct worker *w, struct http_exchange *x)
{
    struct api_request *rq = arena_alloc(http_arena(x), sizeof *rq);
    if (!rq)
        return NULL;
    rq->x = x;
    rq->worker = w;
    rq->lane = lane_ref(w->lane);
    rq->start_us = clock_mono_us();
    rq->id = request_id(w, x);
    rq->outcome.ttft_us = -1;
    return rq;
}

/* Who needs no key to be answered, because the request is broken or refused, or asks how we are,
 * could fill the disk with lines: of those there is a quota. */
static bool may_log(struct api_request *rq)
{
    struct worker *w = rq->worker;
    uint64_t hidden = 0;
    if (rq->route && rq->route->auth != AUTH_NONE)
        return true;
    if (rq->log_word == 0) {
        rq->log_word = log_quota_take(&w->strangers, clock_mono_us(), &hidden) ? 1 : -1;
        if (hidden > 0)
            LOG_EVENT(w->app->log, LOG_INFO, "requests_not_logged",
                      LOG_I("count", (int64_t)hidden));
    }
    return rq->log_word > 0;
}

/* The last resort: an answer that needs no memory of ours. */
static void out_of_memory(struct http_exchange *x)
{
    static const struct http_header type = {SPAN_INIT("content-type"),
                                            SPAN_INIT("application/json")};
    http_reply(x, 503, &type, 1,
               SPAN("{\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\","
                    "\"param\":null,\"code\":\"out_of_memory\"}}"));
}

/* A browser asks so before a page of a listed origin may send JSON or a key (Fetch, "CORS-preflight
 * fetch"); what may really be done is checked when it is done. */
static bool is_preflight(const struct config *c, struct http_exchange *x)
{
    return http_method_of(x) == HTTP_METHOD_OPTIONS &&
           http_header_of(x, "access-control-request-method").p && host_answered(c, x) &&
           origin_listed(c, http_header_of(x, "origin"));
}

static void answer_preflight(struct worker *w, struct http_exchange *x)
{
    struct http_header h[API_MAX_HEADERS];
    struct api_request *rq = request_new(w, x);
    if (!rq) {
        out_of_memory(x);
        return;
    }
    size_t n = api_headers(rq, "text/plain", NULL, h);
    h[n++] = (struct http_header){SPAN("access-control-allow-methods"), SPAN("GET, POST, DELETE")};
    h[n++] = (struct http_header){SPAN("access-control-allow-headers"),
                                  SPAN("content-type, authorization, x-api-key, x-request-id, "
                                       "anthropic-version, anthropic-beta, x-fusor-policy")};
    h[n++] = (struct http_header){SPAN("access-control-max-age"), SPAN("600")};
    api_request_end(rq, 200, "ok");
    http_reply(x, 200, h, n, SPAN(""));
}

void api_note_ignored(struct api_request *rq, const struct span *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct span all = arena_printf(http_arena(rq->x), "%.*s%s%.*s", SPAN_ARG(rq->ignored),
                                       rq->ignored.n > 0 ? ", " : "", SPAN_ARG(names[i]));
        if (all.p)
            rq->ignored = all;
    }
}

static void reply_error(struct api_request *rq, const struct dialect *d, const struct err *err);

static const struct dialect *dialect_of(const struct api_route *r)
{
    return r && r->dialect ? r->dialect : &dialect_openai_chat;
}

static size_t on_head(void *app, struct http_exchange *x)
{
    struct worker *w = app;
    const struct api_route *r = NULL;
    struct span rest;
    struct err e = {0};
    if (is_preflight(w->lane->snapshot->config, x)) {
        answer_preflight(w, x);
        return 0;
    }
    if (find_route(x, &r, &rest, &e) && check_edge(r, w->lane->snapshot->config, x, &e))
        return r->body_cap;
    struct api_request *rq = request_new(w, x);
    if (rq)
        reply_error(rq, dialect_of(r), &e);
    else
        out_of_memory(x);
    return 0;
}

static void on_request(void *app, struct http_exchange *x)
{
    struct worker *w = app;
    struct api_request *rq = request_new(w, x);
    struct err e = {0};
    if (!rq) {
        out_of_memory(x);
        return;
    }
    /* on_head has let it through; a reload in between changes no route */
    if (find_route(x, &rq->route, &rq->rest, &e))
        rq->route->handler(rq);
    else
        api_reply_error(rq, &e);
}

/* No handler sees it, but it is a request like any other: with an id, in the log, in the metrics.
 * If on_head has let it through, so that its body is at fault, it has a route and goes into the
 * archive. */
static size_t on_bad_request(void *app, struct http_exchange *x, const struct err *err,
                             struct buf *body, struct http_header h[static HTTP_BAD_HEADERS])
{
    struct worker *w = app;
    struct api_request *rq = request_new(w, x);
    struct err e;
    _Static_assert(API_MAX_HEADERS <= HTTP_BAD_HEADERS, "they fit");
    if (!rq) {
        (void)dialect_openai_chat.write_error(err, body, NULL);
        metric_add(w->metrics.client_error, 1);
        return 0;
    }
    if (http_path(x).p && !find_route(x, &rq->route, &rq->rest, &e))
        rq->route = NULL;
    (void)dialect_of(rq->route)->write_error(err, body, NULL);
    rq->overhead_us = clock_mono_us() - rq->start_us;
    size_t n = api_headers(rq, "application/json", err, h);
    if (may_log(rq))
        log_err(w->app->log, LOG_DEBUG, "request_failed", rq->id, err);
    api_request_end(rq, err->status, err_class_name(err->cls));
    return n;
}

const struct http_handler api_http_handler = {on_head, on_request, on_bad_request};

/* --- answers
 * -------------------------------------------------------------------------------------------- */

/* A failure after the request may have reached a provider is not for the client's SDK to repeat: it
 * would be paid twice. Where Retry-After says when to come back, that speaks alone. */
static bool no_retry(const struct err *err)
{
    bool gateway = err->cls == ERR_UPSTREAM || err->cls == ERR_TIMEOUT || err->cls == ERR_CUT;
    return gateway && err->sent >= SENT_MAYBE && err->retry_after_ms <= 0;
}

size_t api_headers(struct api_request *rq, const char *content_type, const struct err *err,
                   struct http_header *out)
{
    struct arena *a = http_arena(rq->x);
    size_t n = 0;
    out[n++] = (struct http_header){SPAN("content-type"), span_of(content_type)};
    if (rq->id.p)
        out[n++] = (struct http_header){SPAN("x-request-id"), rq->id};
    struct span us = arena_printf(a, "%lld", (long long)rq->overhead_us);
    if (us.p)
        out[n++] = (struct http_header){SPAN("x-fusor-overhead-us"), us};
    if (rq->target.n > 0)
        out[n++] = (struct http_header){SPAN("x-fusor-model"), rq->target};
    if (rq->ignored.n > 0)
        out[n++] = (struct http_header){SPAN("x-fusor-ignored"), rq->ignored};
    if (rq->estimated)
        out[n++] = (struct http_header){SPAN("x-fusor-estimated"), SPAN("true")};
    if (err && err->retry_after_ms > 0) {
        struct span s = arena_printf(a, "%lld", (long long)((err->retry_after_ms + 999) / 1000));
        if (s.p)
            out[n++] = (struct http_header){SPAN("retry-after"), s};
    }
    if (err && err->cls == ERR_METHOD) /* RFC 9110, 15.5.6 */
        out[n++] = (struct http_header){SPAN("allow"), methods_of(rq->x)};
    if (err && no_retry(err))
        out[n++] = (struct http_header){SPAN("x-should-retry"), SPAN("false")};
    struct span origin = http_header_of(rq->x, "origin");
    if (origin_listed(rq->lane->snapshot->config, origin)) {
        out[n++] = (struct http_header){SPAN("access-control-allow-origin"), origin};
        out[n++] = (struct http_header){SPAN("vary"), SPAN("origin")};
    }
    return n;
}

void api_reply_json(struct api_request *rq, int status, struct span body)
{
    struct http_header h[API_MAX_HEADERS];
    struct http_exchange *x = rq->x;
    rq->overhead_us = clock_mono_us() - rq->start_us;
    size_t n = api_headers(rq, "application/json", NULL, h);
    api_request_end(rq, status, "ok");
    http_reply(x, status, h, n, body);
}

static void reply_error(struct api_request *rq, const struct dialect *d, const struct err *err)
{
    struct http_header h[API_MAX_HEADERS];
    struct http_exchange *x = rq->x;
    struct buf body;
    buf_init(&body, KIB(16));
    if (rq->overhead_us == 0)
        rq->overhead_us = clock_mono_us() - rq->start_us;
    bool ok = d->write_error(err, &body, NULL);
    size_t n = api_headers(rq, "application/json", err, h);
    if (may_log(rq))
        log_err(rq->worker->app->log, err->status >= 500 ? LOG_WARN : LOG_DEBUG, "request_failed",
                rq->id, err);
    api_request_end(rq, err->status, err_class_name(err->cls));
    if (ok)
        http_reply(x, err->status, h, n, buf_span(&body));
    else
        out_of_memory(x);
    buf_done(&body);
}

void api_reply_error(struct api_request *rq, const struct err *err)
{
    reply_error(rq, dialect_of(rq->route), err);
}

static void count(struct worker *w, const struct api_outcome *o)
{
    struct metric *m = o->status >= 500   ? w->metrics.server_error
                       : o->status == 499 ? w->metrics.left
                       : o->status >= 400 ? w->metrics.client_error
                                          : w->metrics.ok;
    metric_add(m, 1);
    if (o->fused)
        metric_add(w->metrics.fusions, 1);
}

void api_request_end(struct api_request *rq, int status, const char *word)
{
    struct api_outcome *o = &rq->outcome;
    struct worker *w = rq->worker;
    struct app *a = w->app;
    struct span path = rq->route ? span_of(rq->route->path) : span_upto(http_path(rq->x), 120);
    int64_t total_us = clock_mono_us() - rq->start_us;
    o->status = status;
    o->word = word;
    count(w, o);
    metric_observe_us(w->metrics.seconds, total_us);
    if (log_on(a->log, LOG_INFO) && may_log(rq))
        LOG_EVENT(a->log, LOG_INFO, "request", LOG_S("id", rq->id), LOG_S("route", path),
                  LOG_I("status", o->status), LOG_S("outcome", span_of(o->word)),
                  LOG_S("model", o->model), LOG_I("total_us", total_us),
                  LOG_I("overhead_us", rq->overhead_us), LOG_I("input", o->usage.input),
                  LOG_I("output", o->usage.output), LOG_I("cost_nusd", o->usage.cost_nusd));
    if (rq->route && rq->route->method == HTTP_METHOD_POST)
        store_add_request(a->store,
                          &(struct store_request){.id = rq->id,
                                                  .route = path,
                                                  .model = o->model,
                                                  .mode = span_of(o->mode),
                                                  .outcome = span_of(o->word),
                                                  .time_ms = clock_wall_ms() - total_us / 1000,
                                                  .status = o->status,
                                                  .ttft_us = o->ttft_us,
                                                  .total_us = total_us,
                                                  .overhead_us = rq->overhead_us,
                                                  .input = o->usage.input,
                                                  .output = o->usage.output,
                                                  .cost_nusd = o->usage.cost_nusd,
                                                  .calls = o->calls});
    lane_free(rq->lane);
    rq->lane = NULL;
}
