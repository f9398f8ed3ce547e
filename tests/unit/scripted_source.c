/* tests/unit/scripted_source.c - see scripted_source.h. */
#include "scripted_source.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "ledger/price.h"

/* Tests of memory faults fail one allocation; where it is one of ours, the second try works. */
#define TWICE(call) assert_true((call) || (call))

/* --- a call --------------------------------------------------------------------------------------
 */

struct scripted_call {
    struct chat_call call;
    struct scripted *model;
    struct chat_sink *sink;
    struct loop_timer timer;
    struct script script;
    struct span text;
    size_t sent;
    bool started, said_usage, paused, due, in_event, dead;
};

static void call_free(struct scripted_call *c)
{
    loop_timer_stop(&c->timer);
    mem_free(c);
}

/* False: cancelled inside. */
static bool emit(struct scripted_call *c, const struct chat_event *ev)
{
    c->in_event = true;
    c->sink->on_event(c->sink, ev);
    c->in_event = false;
    return !c->dead;
}

static void bill(struct scripted *m, const struct chat_usage *u)
{
    m->billed_nusd = nusd_add(m->billed_nusd, u->cost_nusd);
}

static bool say_usage(struct scripted_call *c)
{
    bill(c->model, &c->script.usage);
    c->said_usage = true;
    return emit(c, &(struct chat_event){.kind = CHAT_EV_USAGE, .usage = c->script.usage});
}

static void end(struct scripted_call *c)
{
    struct scripted *m = c->model;
    if (!c->script.no_usage && !c->script.early_usage && !say_usage(c)) {
        call_free(c);
        return;
    }
    m->ended++;
    if (c->script.err.cls != ERR_NONE)
        emit(c, &(struct chat_event){.kind = CHAT_EV_ERROR, .err = &c->script.err});
    else
        emit(c, &(struct chat_event){.kind = CHAT_EV_FINISH, .finish = c->script.finish});
    assert_false(c->dead); /* nobody cancels a call that has ended */
    call_free(c);
}

static bool begin(struct scripted_call *c)
{
    c->started = true;
    char names[24][32];
    struct span ignored[24];
    for (size_t i = 0; i < c->script.n_ignored; i++) {
        snprintf(names[i], sizeof names[i], "hint-%zu", i);
        ignored[i] = span_of(names[i]);
    }
    if (!emit(c, &(struct chat_event){.kind = CHAT_EV_START,
                                      .id = SPAN("upstream-1"),
                                      .model = c->model->name,
                                      .ignored = ignored,
                                      .n_ignored = c->script.n_ignored}))
        return false;
    if (c->script.early_usage && !say_usage(c))
        return false;
    if (c->script.reasoning.n > 0 &&
        !emit(c, &(struct chat_event){.kind = CHAT_EV_REASONING,
                                      .text = c->script.reasoning,
                                      .signature = c->script.signature}))
        return false;
    return c->script.refusal.n == 0 ||
           emit(c, &(struct chat_event){.kind = CHAT_EV_REFUSAL, .text = c->script.refusal});
}

static void step(struct scripted_call *c)
{
    struct span all = c->text;
    if (!c->started && !begin(c)) {
        call_free(c);
        return;
    }
    if (c->sent < all.n) {
        struct span piece = span_from(all, c->sent);
        if (c->script.chunk > 0)
            piece = span_upto(piece, c->script.chunk);
        c->sent += piece.n;
        if (!emit(c, &(struct chat_event){.kind = CHAT_EV_TEXT, .text = piece})) {
            call_free(c);
            return;
        }
        bool more = c->sent < all.n;
        if (!more && c->script.hang)
            return;
        TWICE(loop_timer_start(&c->timer, more ? c->script.every_us : c->script.end_us));
        return;
    }
    if (c->script.hang)
        return;
    if (c->script.tool.n > 0 && !emit(c, &(struct chat_event){.kind = CHAT_EV_TOOL,
                                                              .tool_id = SPAN("call-1"),
                                                              .tool_name = c->script.tool,
                                                              .arguments = SPAN("{}"),
                                                              .tool_done = true})) {
        call_free(c);
        return;
    }
    end(c);
}

static void on_timer(struct loop_timer *t)
{
    struct scripted_call *c = CONTAINER_OF(t, struct scripted_call, timer);
    if (c->paused)
        c->due = true;
    else
        step(c);
}

static void on_cancel(struct chat_call *call, struct chat_usage *out)
{
    struct scripted_call *c = CONTAINER_OF(call, struct scripted_call, call);
    /* What came so far, at the model's price. */
    struct chat_usage u = {
        .input = 10, .output = (int64_t)(c->sent > 0 ? 1 + c->sent / 8 : 0), .estimated = true};
    assert_false(c->dead);
    u.cost_nusd = price_cost_nusd(&c->model->price, &u);
    if (c->said_usage)
        u = c->script.usage;
    else
        bill(c->model, &u);
    c->model->cancelled++;
    if (out)
        *out = u;
    c->dead = true;
    if (!c->in_event)
        call_free(c);
}

static void on_pause(struct chat_call *call)
{
    struct scripted_call *c = CONTAINER_OF(call, struct scripted_call, call);
    assert_false(c->dead);
    c->paused = true;
    c->model->pauses++;
}

static void on_resume(struct chat_call *call)
{
    struct scripted_call *c = CONTAINER_OF(call, struct scripted_call, call);
    assert_false(c->dead);
    c->paused = false;
    c->model->resumes++;
    if (c->due)
        TWICE(loop_timer_start(&c->timer, 0));
    c->due = false;
}

static const struct chat_call_ops call_ops = {on_cancel, on_pause, on_resume};

static void note_request(struct scripted *m, const struct chat_request *r)
{
    buf_clear(&m->asked);
    for (size_t i = 0; i < r->n_messages; i++) {
        TWICE(buf_addf(&m->asked, NULL, "[%s] ", chat_role_name(r->messages[i].role)));
        for (size_t k = 0; k < r->messages[i].n_parts; k++)
            TWICE(buf_add(&m->asked, r->messages[i].parts[k].text, NULL));
        TWICE(buf_add_char(&m->asked, '\n', NULL));
    }
    m->last = *r;
}

static struct chat_call *start(struct chat_source *s, const struct chat_request *r,
                               const struct chat_start_opts *o, struct chat_sink *sink,
                               struct err *e)
{
    struct scripted *m = CONTAINER_OF(s, struct scripted, source);
    size_t n = m->starts++;
    struct script script = m->scripts[n < m->n_scripts ? n : m->n_scripts - 1];
    assert_true(o->depth > 0);
    m->deadline_us = o->deadline_us;
    note_request(m, r);
    snprintf(m->fusion_id, sizeof m->fusion_id, "%.*s", SPAN_ARG(o->fusion_id));
    if (m->answer)
        m->answer(m, r, &script);
    if (script.no_start) {
        m->ended++;
        *e = script.err;
        return NULL;
    }
    struct scripted_call *c = mem_zalloc(sizeof *c);
    if (!c)
        c = mem_zalloc(sizeof *c);
    assert_non_null(c);
    c->call.ops = &call_ops;
    c->model = m;
    c->sink = sink;
    c->script = script;
    c->text = script.text;
    loop_timer_init(&c->timer, m->loop, on_timer);
    TWICE(loop_timer_start(&c->timer, script.first_us));
    return &c->call;
}

static const struct chat_source_ops source_ops = {start};

/* --- the environment -----------------------------------------------------------------------------
 */

static bool resolve(void *ctx, struct arena *a, struct span name, const struct chat_rule *rules,
                    struct fusion_model *out, struct err *e)
{
    struct lab *l = ctx;
    for (size_t i = 0; i < l->n; i++) {
        struct scripted *m = &l->models[i];
        if (!span_eq(m->name, name))
            continue;
        *out = (struct fusion_model){.name = m->name,
                                     .source = m->other ? m->other : &m->source,
                                     .price = m->price,
                                     .context = m->context,
                                     .max_output = m->max_output,
                                     .default_max_tokens = 8192,
                                     .json_schema = m->json_schema,
                                     .bills_on = m->bills_on,
                                     .latency = m->latency,
                                     .leaf_calls = m->leaf_calls};
        return true;
    }
    return err_set(e, ERR_NOT_FOUND, "no model '%.*s'", SPAN_ARG(name));
}

static uint64_t next_random(void *ctx)
{
    return rng_u64(&((struct lab *)ctx)->rng);
}

static void next_id(void *ctx, char out[32])
{
    snprintf(out, 32, "fus_%u", ++((struct lab *)ctx)->ids);
}

void lab_init(struct lab *l, uint64_t seed)
{
    memset(l, 0, sizeof *l);
    l->loop = loop_sim_new(NULL);
    assert_non_null(l->loop);
    rng_init(&l->rng, seed);
    l->env = (struct fusion_env){
        .loop = l->loop, .resolve = resolve, .ctx = l, .random = next_random, .fusion_id = next_id};
    recipe_init(&l->recipe);
    l->recipe.name = SPAN("council");
    fusion_source_init(&l->source, &l->env, &l->recipe);
}

void lab_done(struct lab *l)
{
    for (size_t i = 0; i < l->n; i++)
        buf_done(&l->models[i].asked);
    loop_free(l->loop);
}

struct scripted *lab_model(struct lab *l, const char *name, const char *text, int64_t after_ms)
{
    struct scripted *m = &l->models[l->n++];
    assert_true(l->n <= LAB_MODELS);
    *m = (struct scripted){.source.ops = &source_ops,
                           .loop = l->loop,
                           .name = span_of(name),
                           .price = {1000000, 1000000, 1000000, 1000000, true},
                           .leaf_calls = 1,
                           .n_scripts = 1};
    m->scripts[0] = (struct script){.text = span_of(text),
                                    .first_us = after_ms * 1000,
                                    .usage = {.input = 10, .output = 5, .cost_nusd = 15}};
    buf_init(&m->asked, MIB(64));
    return m;
}

struct scripted *lab_member(struct lab *l, const char *name, const char *text, int64_t after_ms)
{
    l->recipe.panel[l->recipe.n_panel++] = (struct recipe_member){
        .model = span_of(name), .max_tokens = -1, .samples = 1, .weight = 1, .seed = -1};
    return lab_model(l, name, text, after_ms);
}

struct scripted *lab_judge(struct lab *l, const char *name, const char *text, int64_t after_ms)
{
    l->recipe.judges[l->recipe.n_judges++] = span_of(name);
    return lab_model(l, name, text, after_ms);
}

struct err lab_error(enum err_class cls, const char *msg)
{
    struct err e;
    err_set(&e, cls, "%s", msg);
    e.sent = SENT_MAYBE;
    return e;
}

size_t lab_running(const struct lab *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->models[i].starts - l->models[i].ended - l->models[i].cancelled;
    return n;
}

/* --- the client ----------------------------------------------------------------------------------
 */

static void copy_report(struct client *c, const struct chat_fusion_report *r)
{
    assert_non_null(r);
    assert_true(r->n_members <= COUNT_OF(c->rep_members) && r->n_judges <= COUNT_OF(c->rep_judges));
    c->report = *r;
    memcpy(c->rep_members, r->members, r->n_members * sizeof *r->members);
    memcpy(c->rep_judges, r->judges, r->n_judges * sizeof *r->judges);
    for (size_t i = 0; i < r->n_members; i++)
        c->labels[i] = r->members[i].label.p[0];
    c->report.members = c->rep_members;
    c->report.judges = c->rep_judges;
    snprintf(c->degraded_why, sizeof c->degraded_why, "%.*s", SPAN_ARG(r->degraded_why));
}

static void add(struct buf *b, struct span s)
{
    TWICE(buf_add(b, s, NULL));
}

static void client_end(struct client *c)
{
    c->ended = true;
    c->call = NULL;
    c->ended_us = loop_now_us(c->lab->loop);
    loop_timer_stop(&c->leave);
    loop_timer_stop(&c->resume);
}

static void client_leave(struct client *c)
{
    if (!c->call)
        return;
    struct chat_call *call = c->call;
    c->call = NULL;
    c->gone = true;
    loop_timer_stop(&c->leave);
    loop_timer_stop(&c->resume);
    chat_cancel(call, &c->usage);
    assert_int_equal(lab_running(c->lab), 0); /* at once, in whatever phase */
}

static void on_event(struct chat_sink *k, const struct chat_event *ev)
{
    struct client *c = CONTAINER_OF(k, struct client, sink);
    static const char names[] = "StrfTmuFE";
    assert_false(c->ended);
    assert_false(c->gone);
    assert_non_null(c->call); /* not from inside start() */
    TWICE(buf_add_char(&c->log, names[ev->kind], NULL));
    if (ev->kind != CHAT_EV_MEMBER && ev->kind != CHAT_EV_ERROR && ev->kind != CHAT_EV_USAGE)
        assert_true(c->started || ev->kind == CHAT_EV_START);
    switch (ev->kind) {
    case CHAT_EV_START:
        assert_false(c->started);
        assert_true(ev->id.n > 0);
        c->started = true;
        for (size_t i = 0; i < ev->n_ignored; i++)
            TWICE(
                buf_addf(&c->ignored, NULL, "%s%.*s", i > 0 ? ", " : "", SPAN_ARG(ev->ignored[i])));
        c->first_us = loop_now_us(c->lab->loop);
        break;
    case CHAT_EV_TEXT:
        add(&c->text, ev->text);
        break;
    case CHAT_EV_REASONING:
        add(&c->reasoning, ev->text);
        c->signatures += ev->signature.n > 0;
        break;
    case CHAT_EV_REFUSAL:
        add(&c->refusal, ev->text);
        break;
    case CHAT_EV_TOOL:
        fail_msg("a fusion calls no tools");
        break;
    case CHAT_EV_MEMBER:
        assert_false(c->paused); /* progress waits, and comes as the latest state */
        c->members++;
        break;
    case CHAT_EV_USAGE:
        c->usages++;
        c->usage = ev->usage;
        copy_report(c, ev->report);
        break;
    case CHAT_EV_FINISH:
        assert_int_equal(c->usages, 1);
        c->finish = ev->finish;
        client_end(c);
        return;
    case CHAT_EV_ERROR:
        c->failed = true;
        c->err = *ev->err;
        client_end(c);
        return;
    }
    c->events++;
    if (c->cancel_at > 0 && c->events == c->cancel_at) {
        client_leave(c);
    } else if (c->pause_at > 0 && c->events == c->pause_at) {
        c->paused = true;
        chat_pause(c->call);
        TWICE(loop_timer_start(&c->resume, c->pause_us));
    }
}

static void on_leave(struct loop_timer *t)
{
    client_leave(CONTAINER_OF(t, struct client, leave));
}

static void on_resume_timer(struct loop_timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, resume);
    c->paused = false;
    if (c->call)
        chat_resume(c->call);
}

void client_init(struct client *c, struct lab *l)
{
    memset(c, 0, sizeof *c);
    c->sink.on_event = on_event;
    c->lab = l;
    struct buf *all[] = {&c->text, &c->reasoning, &c->refusal, &c->log, &c->ignored};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        buf_init(all[i], MIB(64));
    loop_timer_init(&c->leave, l->loop, on_leave);
    loop_timer_init(&c->resume, l->loop, on_resume_timer);
}

void client_leave_after(struct client *c, int64_t us)
{
    TWICE(loop_timer_start(&c->leave, us));
}

bool client_start(struct client *c, const struct chat_request *r)
{
    struct chat_start_opts o = {.role = "call", .progress = true};
    c->began_us = loop_now_us(c->lab->loop);
    c->call = chat_start(&c->lab->source.source, r, &o, &c->sink, &c->err);
    c->failed = c->call == NULL;
    if (c->failed)
        loop_timer_stop(&c->leave);
    return c->call != NULL;
}

bool client_run(struct client *c, const struct chat_request *r)
{
    bool ok = client_start(c, r);
    loop_run(c->lab->loop);
    return ok;
}

void client_done(struct client *c)
{
    buf_done(&c->text);
    buf_done(&c->reasoning);
    buf_done(&c->refusal);
    buf_done(&c->log);
    buf_done(&c->ignored);
}

struct span client_text(const struct client *c)
{
    return buf_span(&c->text);
}

struct chat_request ask(const char *question)
{
    static struct chat_part part;
    static struct chat_message message;
    part = (struct chat_part){.kind = CHAT_PART_TEXT, .text = span_of(question)};
    message = (struct chat_message){.role = CHAT_USER, .parts = &part, .n_parts = 1};
    return (struct chat_request){.dialect = SPAN("openai_chat"),
                                 .model = SPAN("council"),
                                 .messages = &message,
                                 .n_messages = 1,
                                 .parallel_tool_calls = -1,
                                 .format_strict = -1,
                                 .max_tokens = -1,
                                 .n = 1,
                                 .logprobs = -1,
                                 .top_logprobs = -1};
}
