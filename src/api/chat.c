/* api/chat.c - chat completions, responses, messages, and what passes as it came (embeddings,
 * completions): what is asked, and of whom. What a request goes on from is loaded first
 * (api/keep.h); what becomes of its events is reply.c's. */
#include "api/reply.h"

#include "base/clock.h"

#define MAX_POLICIES 8 /* of one request */

static bool auto_model(struct span name, struct err *e)
{
    if (!span_eq(name, SPAN("auto")))
        return true;
    return err_field(e, "model",
                     "the model `auto` comes with a later version; name a recipe such as `fusion`, "
                     "or a model");
}

static bool only_recipes_fuse(const struct chat_reply *r, struct err *e)
{
    if (!r->request.fusion.p || r->target.recipe)
        return true;
    return err_field(e, "fusion", "`fusion` settings go with a recipe; \"%.*s\" is a model",
                     SPAN_ARG(r->request.model));
}

/* What the recipe and the request say together, as far as it is for the wire and the books. The
 * fusion reads and checks the object itself. */
static bool read_recipe(struct chat_reply *r, struct err *e)
{
    if (!r->target.recipe)
        return true;
    struct recipe rec = *r->target.recipe;
    struct node n;
    if (r->request.fusion.p &&
        (!node_from_json(http_arena(r->rq->x), r->request.fusion, "fusion", &n, e) ||
         !recipe_read(n, true, &rec, e)))
        return false;
    r->head.members = rec.stream_members;
    r->mode = fusion_mode_name(rec.mode);
    r->n_members = recipe_members(&rec);
    return true;
}

/* All that are named hold, in one field or in several: whoever stands in front of us may add one to
 * the client's own. */
static bool read_policies(struct api_request *rq, struct app_ask *ask, struct err *e)
{
    size_t n = http_header_count(rq->x);
    struct span *names = NULL;
    for (size_t i = 0; i < n; i++) {
        struct http_header h = http_header_at(rq->x, i);
        struct span one = SPAN("");
        if (!span_eq_nocase(h.name, SPAN("x-fusor-policy")))
            continue;
        if (!names && !(names = arena_array(http_arena(rq->x), MAX_POLICIES, sizeof *names)))
            return err_set(e, ERR_NOMEM, "out of memory");
        do {
            if (ask->n_policies == MAX_POLICIES)
                return err_field(e, "x-fusor-policy", "x-fusor-policy: names more than %d policies",
                                 MAX_POLICIES);
            (void)span_cut(&h.value, ',', &one);
            names[ask->n_policies++] = span_trim(one);
        } while (h.value.n > 0);
    }
    ask->policies = names;
    return true;
}

bool api_resolve(struct api_request *rq, const struct chat_request *r, struct app_target *out,
                 struct err *e)
{
    struct app_ask ask = {.name = r->model, .request = r};
    if (!auto_model(r->model, e) || !read_policies(rq, &ask, e) ||
        !worker_resolve(rq->worker, http_arena(rq->x), &ask, out, e))
        return false;
    api_note_ignored(rq, out->ignored, out->n_ignored);
    return true;
}

/* Where nothing may be kept, an answer is not, and says so; but a conversation cannot go on. */
static bool may_keep(struct chat_reply *r, struct err *e)
{
    r->request.store = r->request.store && r->rq->lane->snapshot->config->keep_responses;
    if (!r->request.previous_id.p || r->rq->lane->snapshot->config->keep_responses)
        return true;
    return err_field(e, "previous_response_id",
                     "previous_response_id: no responses are kept here; send the whole input, or "
                     "allow it in the configuration (`responses: {store: allow}`)");
}

/* A header may come in several lines, which are one list (RFC 9110, 5.3). */
static struct span betas_of(struct api_request *rq)
{
    struct span all = http_header_of(rq->x, "anthropic-beta");
    bool first = true;
    for (size_t i = 0; i < http_header_count(rq->x) && all.p; i++) {
        struct http_header h = http_header_at(rq->x, i);
        if (!span_eq(h.name, SPAN("anthropic-beta")))
            continue;
        if (!first)
            all = arena_printf(http_arena(rq->x), "%.*s,%.*s", SPAN_ARG(all), SPAN_ARG(h.value));
        first = false;
    }
    return all;
}

static bool read_request(struct chat_reply *r, struct err *e)
{
    struct api_request *rq = r->rq;
    struct arena *a = http_arena(rq->x);
    if (!r->dialect->read_request(a, http_body(rq->x), &r->request, e))
        return false;
    /* No second copy of a chat while it is answered; of what passes the body is the only one. */
    if (!r->request.pass)
        http_drop_body(rq->x);
    if (!may_keep(r, e))
        return false;
    r->request.betas = betas_of(rq);
    r->first = r->request.n_instructions;
    char token[25];
    rng_name(&rq->worker->names, token, 24);
    rq->outcome.model = r->request.model;
    r->head.id = arena_printf(a, "%s%s", r->dialect->id_prefix, token);
    r->head.request = &r->request;
    r->head.model = r->request.model;
    r->head.created = clock_wall_ms() / 1000;
    r->head.stream_usage = r->request.stream_usage;
    return r->head.id.p || err_set(e, ERR_NOMEM, "out of memory");
}

static bool find_target(struct chat_reply *r, struct err *e)
{
    return api_resolve(r->rq, &r->request, &r->target, e) && only_recipes_fuse(r, e) &&
           read_recipe(r, e);
}

static void start(struct chat_reply *r)
{
    struct api_request *rq = r->rq;
    struct err e = {0};
    struct chat_start_opts o = {.request_id = rq->id,
                                .role = r->request.pass ? "pass" : "call",
                                .fields = r->target.fields,
                                .rules = r->target.rules,
                                .progress = r->head.members && r->request.stream};
    bool keeps = rq->lane->snapshot->config->retain_reasoning_us > 0;
    bool collected = r->dialect == &dialect_openai_responses; /* its writer does */
    r->gathers = keeps && r->request.stream && r->request.n_tools > 0 && !collected;
    if (r->gathers)
        keep_gather_init(&r->collect);
    r->call = chat_start(r->target.source, &r->request, &o, &r->sink, &e);
    if (!r->call) {
        reply_fail(r, &e);
        return;
    }
    /* until the fusion itself says more: its client may leave before that */
    rq->outcome.mode = r->mode;
    rq->outcome.calls = r->mode ? (int64_t)r->n_members : 1;
    rq->overhead_us = clock_mono_us() - rq->start_us;
    if (reply_watch(r, &e))
        return;
    reply_cancel_call(r);
    reply_fail(r, &e);
}

/* Waits for `load`, which calls what comes next. */
static void wait_for(struct chat_reply *r, struct keep_load *load)
{
    struct err e = {0};
    r->load = load;
    if (!reply_watch(r, &e))
        reply_fail(r, &e);
}

static void on_reasoning(void *owner, const struct err *err)
{
    struct chat_reply *r = owner;
    (void)err; /* nobody waits for it in vain */
    r->load = NULL;
    start(r);
}

/* The conversation is whole. */
static void go_on(struct chat_reply *r)
{
    struct err e = {0};
    struct keep_load *load = NULL;
    if (!find_target(r, &e)) {
        reply_fail(r, &e);
        return;
    }
    if (r->target.wants_signed)
        load = keep_load_reasoning(r->rq, &r->request, on_reasoning, r);
    if (load)
        wait_for(r, load);
    else
        start(r);
}

static void on_turns(void *owner, const struct err *err)
{
    struct chat_reply *r = owner;
    r->load = NULL;
    if (err)
        reply_fail(r, err);
    else
        go_on(r);
}

void api_chat(struct api_request *rq)
{
    struct chat_reply *r = reply_new(rq);
    struct err e = {0};
    if (!r) {
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        api_reply_error(rq, &e);
        return;
    }
    if (!read_request(r, &e)) {
        reply_fail(r, &e);
        return;
    }
    if (!r->request.previous_id.p) {
        go_on(r);
        return;
    }
    struct keep_load *load = keep_load_turns(rq, &r->request, &r->first, on_turns, r, &e);
    if (load)
        wait_for(r, load);
    else
        reply_fail(r, &e);
}
