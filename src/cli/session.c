/* cli/session.c - see cli/session.h. Beside a server, the server itself is an OpenAI-compatible
 * upstream at its Unix socket: the same source that talks to any provider talks to it. */
#include "cli/session.h"

#include "base/limits.h"
#include "base/mem.h"
#include "json/json.h"

struct session {
    struct arena *arena;
    struct app *app; /* in this process */
    struct chat_source *source;
    struct chat_request request;
    bool recipe;
    const struct chat_rule *rules;
    /* beside a server */
    bool remote;
    struct cli_server server;
    struct config *config;
    struct loop *loop;
    struct http_client *http;
    struct gate *gate;
    struct upstream_shared *shared;
    struct upstream *upstream;
    struct upstream_source upstream_source;
    struct config_model model;
};

void session_free(struct session *s)
{
    if (!s)
        return;
    upstream_free(s->upstream);
    upstream_shared_free(s->shared);
    gate_free(s->gate);
    http_client_free(s->http);
    if (s->remote)
        loop_free(s->loop);
    config_free(s->config);
    cli_server_done(&s->server);
    app_free(s->app);
    arena_free(s->arena);
    mem_free(s);
}

struct loop *session_loop(struct session *s)
{
    return s->loop;
}

struct arena *session_arena(struct session *s)
{
    return s->arena;
}

const struct chat_request *session_request(struct session *s)
{
    return &s->request;
}

bool session_is_recipe(const struct session *s)
{
    return s->recipe;
}

/* --- the request
 * -------------------------------------------------------------------------------------------- */

static void write_list(struct json_w *w, const char *csv)
{
    struct span left = span_of(csv), one;
    json_w_arr(w);
    while (span_cut(&left, ',', &one))
        json_w_str(w, span_trim(one));
    json_w_arr_end(w);
}

static bool decimal(const char *text)
{
    size_t n = strlen(text);
    return n > 0 && strspn(text, "0123456789.") == n && text[0] != '.' && text[n - 1] != '.';
}

static bool check_numbers(const struct ask_options *o, struct err *e)
{
    if (o->max_cost && !decimal(o->max_cost))
        return err_set(e, ERR_USAGE, "--max-cost takes an amount in USD such as 0.05, not \"%s\"",
                       o->max_cost);
    if (o->temperature && !decimal(o->temperature))
        return err_set(e, ERR_USAGE, "--temperature takes a number such as 0.7, not \"%s\"",
                       o->temperature);
    if (o->max_tokens && (!decimal(o->max_tokens) || strchr(o->max_tokens, '.')))
        return err_set(e, ERR_USAGE, "--max-tokens takes a whole number, not \"%s\"",
                       o->max_tokens);
    return true;
}

/* The `fusion` object of the flags. stream_members only where progress is carried as frames. */
static bool write_fusion(const struct ask_options *o, struct buf *b, struct err *e)
{
    struct json_w w;
    json_w_init(&w, b, e);
    json_w_obj(&w);
    if (o->mode) {
        json_w_key(&w, "mode");
        json_w_cstr(&w, o->mode);
    }
    if (o->panel) {
        json_w_key(&w, "panel");
        write_list(&w, o->panel);
    }
    if (o->judge) {
        json_w_key(&w, "judge");
        write_list(&w, o->judge);
    }
    if (o->criteria) {
        json_w_key(&w, "criteria");
        json_w_cstr(&w, o->criteria);
    }
    if (o->max_cost) {
        json_w_key(&w, "max_cost_usd");
        json_w_raw(&w, span_of(o->max_cost));
    }
    json_w_key(&w, "stream_members");
    json_w_bool(&w, true);
    json_w_obj_end(&w);
    return json_w_end(&w);
}

static struct chat_message message(struct arena *a, enum chat_role role, struct span text)
{
    struct chat_part *p = arena_alloc(a, sizeof *p);
    if (p)
        *p = (struct chat_part){.kind = CHAT_PART_TEXT, .text = text};
    return (struct chat_message){.role = role, .parts = p, .n_parts = p ? 1 : 0};
}

static bool make_request(struct session *s, const struct ask_options *o, struct err *e)
{
    struct arena *a = s->arena;
    struct chat_message *m = arena_array(a, 2, sizeof *m);
    struct chat_request *r = &s->request;
    struct buf b;
    size_t n = 0;
    if (!m)
        return err_set(e, ERR_NOMEM, "out of memory");
    if (o->system)
        m[n++] = message(a, CHAT_SYSTEM, span_of(o->system));
    m[n++] = message(a, CHAT_USER, o->prompt);
    *r = (struct chat_request){.dialect = SPAN("openai_chat"),
                               .model = span_of(o->model ? o->model : "fusion"),
                               .messages = m,
                               .n_messages = n,
                               .max_tokens = -1,
                               .parallel_tool_calls = -1,
                               .format_strict = -1,
                               .logprobs = -1,
                               .top_logprobs = -1,
                               .n = 1,
                               .stream = true};
    int64_t max_tokens = -1;
    if (o->max_tokens && span_to_i64(span_of(o->max_tokens), &max_tokens))
        r->max_tokens = max_tokens;
    if (o->temperature)
        r->temperature = span_of(o->temperature);
    buf_init(&b, MIB(1));
    bool ok = write_fusion(o, &b, e);
    if (ok)
        r->fusion = arena_dup(a, buf_span(&b));
    buf_done(&b);
    return ok;
}

/* Fusion flags are for recipes; a plain model gets none. */
static bool settle_fusion(struct session *s, const struct ask_options *o, struct err *e)
{
    if (s->recipe)
        return true;
    if (o->mode || o->panel || o->judge || o->max_cost || o->criteria)
        return err_set(e, ERR_USAGE,
                       "--mode, --panel, --judge, --criteria and --max-cost go with a recipe; "
                       "\"%.*s\" is a model",
                       SPAN_ARG(s->request.model));
    s->request.fusion = (struct span){0};
    return true;
}

/* --- beside a server
 * ------------------------------------------------------------------------------------------ */

static bool server_config(struct session *s, struct err *e)
{
    struct buf b;
    buf_init(&b, KIB(8));
    bool ok = buf_addf(&b, e, "providers:\n  server: {kind: openai, base_url: \"%s\"%s}\n",
                       s->server.url, s->server.key ? ", key: \"env:FUSOR_KEY\"" : "");
    if (ok)
        s->config = config_parse(buf_span(&b), "(server)", e);
    buf_done(&b);
    return s->config != NULL;
}

/* A recipe is known by its owner in GET /v1/models/{id}. */
static bool ask_kind(struct session *s, struct err *e)
{
    char path[600];
    struct buf b;
    json_val *v;
    struct span name = s->request.model;
    buf_init(&b, MIB(1));
    size_t at = (size_t)snprintf(path, sizeof path, "/v1/models/");
    for (size_t i = 0; i < name.n && at + 4 < sizeof path; i++)
        at += (size_t)snprintf(path + at, sizeof path - at, "%%%02X", (unsigned char)name.p[i]);
    bool ok =
        cli_call(&s->server, path, SPAN(""), &b, e) && json_parse(s->arena, buf_span(&b), &v, e);
    if (ok)
        s->recipe = span_eq(json_str(json_get(v, "owned_by")), SPAN("fusor"));
    buf_done(&b);
    return ok;
}

static bool open_remote(struct session *s, struct err *e)
{
    s->remote = true;
    if (!server_config(s, e) || !ask_kind(s, e))
        return false;
    s->loop = loop_new(e);
    if (!s->loop)
        return false;
    s->http = http_client_new(s->loop, 2, 1000000, e);
    s->gate = s->http ? gate_new(s->loop, NULL) : NULL;
    s->shared = s->gate ? upstream_shared_new(s->config, e) : NULL;
    if (!s->shared)
        return s->gate || !s->http ? false : err_set(e, ERR_NOMEM, "out of memory");
    struct upstream_env env = {.loop = s->loop, .http = s->http, .gate = s->gate};
    s->upstream = upstream_new(&env, s->shared, e);
    if (!s->upstream)
        return false;
    s->model = (struct config_model){.name = s->request.model,
                                     .provider = &s->config->providers[0],
                                     .id = s->request.model,
                                     .price = {-1, -1, -1, -1, false},
                                     .timeouts = s->config->providers[0].timeouts};
    upstream_source_init(&s->upstream_source, s->upstream, &s->model);
    s->source = &s->upstream_source.source;
    return true;
}

/* The `fusion` object reaches a server as what it is to an upstream: a field of the same dialect.
 */
static bool pass_fusion(struct session *s, struct err *e)
{
    if (!s->request.fusion.p)
        return true;
    struct chat_extra *x = arena_alloc(s->arena, sizeof *x);
    if (!x)
        return err_set(e, ERR_NOMEM, "out of memory");
    *x = (struct chat_extra){.name = SPAN("fusion"), .json = s->request.fusion};
    s->request.extras = x;
    s->request.n_extras = 1;
    s->request.fusion = (struct span){0};
    return true;
}

/* --- in this process
 * --------------------------------------------------------------------------------------------- */

static bool open_here(struct session *s, const struct ask_options *o, struct err *e)
{
    struct app_options ao = {.config_path = o->config, .serve = false, .log_fd = -1};
    if (getenv("FUSOR_LOG"))
        ao.log_fd = 2;
    s->app = app_open(&ao, e);
    if (!s->app)
        return false;
    s->loop = app_loop(s->app);
    struct app_target t;
    struct app_ask ask = {.name = s->request.model, .request = &s->request};
    if (!worker_resolve(app_worker(s->app), s->arena, &ask, &t, e))
        return false;
    s->source = t.source;
    s->rules = t.rules;
    s->recipe = t.recipe != NULL;
    return true;
}

static bool open_session(struct session *s, const struct ask_options *o, struct err *e)
{
    AUTO(config) c = config_load(o->config, e);
    if (!c || !check_numbers(o, e) || !make_request(s, o, e))
        return false;
    bool there = cli_find_server(c, &s->server, e);
    if (e->cls != ERR_NONE)
        return false;
    if (!(there ? open_remote(s, e) : open_here(s, o, e)))
        return false;
    return settle_fusion(s, o, e);
}

struct session *session_open(const struct ask_options *o, struct err *e)
{
    AUTO(session) s = mem_zalloc(sizeof *s);
    if (s)
        s->arena = arena_new(0);
    if (!s || !s->arena)
        return err_set(e, ERR_NOMEM, "out of memory"), NULL;
    return open_session(s, o, e) ? TAKE(s) : NULL;
}

struct chat_call *session_start(struct session *s, struct chat_sink *sink, struct err *e)
{
    struct chat_start_opts o = {
        .request_id = SPAN("cli"), .role = "call", .progress = s->recipe, .rules = s->rules};
    if (s->remote && !pass_fusion(s, e))
        return NULL;
    return chat_start(s->source, &s->request, &o, sink, e);
}

static bool remote_plan(struct session *s, struct buf *out, struct err *e)
{
    struct buf body;
    struct dialect_notes notes = {0};
    struct dialect_target t = {
        .model = s->request.model, .dialect = SPAN("openai_chat"), .unary = true};
    buf_init(&body, MIB(64));
    bool ok = pass_fusion(s, e) &&
              dialect_openai_chat.write_request(&s->request, &t, &body, &notes, e) &&
              cli_call(&s->server, "/v1/fusions/plan", buf_span(&body), out, e);
    buf_done(&body);
    return ok;
}

bool session_plan(struct session *s, struct buf *out, struct err *e)
{
    if (!s->recipe)
        return err_set(e, ERR_USAGE, "\"%.*s\" is a model; a plan is made for a recipe",
                       SPAN_ARG(s->request.model));
    if (s->remote)
        return remote_plan(s, out, e);
    struct worker *w = app_worker(s->app);
    struct app_target t;
    struct app_ask ask = {.name = s->request.model, .request = &s->request};
    struct fusion_plan plan;
    return worker_resolve(w, s->arena, &ask, &t, e) &&
           fusion_plan_make(s->arena, worker_fusion_env(w), t.recipe, &s->request, t.rules, &plan,
                            e) &&
           fusion_plan_write(&plan, out, e);
}
