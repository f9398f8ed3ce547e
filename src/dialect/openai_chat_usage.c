/* dialect/openai_chat_usage.c - the usage object, both ways: OpenAI's counts, and what we add to
 * them: `cost` in USD (OpenRouter's member), `estimated`, `fusion` (docs/api.md, "Usage"). */
#include "base/limits.h"
#include "dialect/openai_chat_priv.h"

/* --- reading ---------------------------------------------------------------------------------- */

/* Tokens: absent, negative and broken numbers count as `otherwise`. */
static int64_t tokens(json_val *v, int64_t otherwise)
{
    int64_t n;
    return json_i64(v, &n) && n >= 0 && n < INT64_MAX / 4 ? n : otherwise;
}

/* USD as it was written -> nano-USD, to the nearest; -1 when it is no amount. A double holds every
 * amount below 4 million USD to the nano-USD. */
static int64_t nusd(json_val *v)
{
    double usd;
    if (!json_f64(v, &usd) || usd < 0 || usd > 4e6)
        return -1;
    return (int64_t)(usd * 1e9 + 0.5);
}

static struct chat_usage member_usage(json_val *v)
{
    return (struct chat_usage){
        .input = tokens(json_get(v, "input"), 0),
        .cached = tokens(json_get(v, "cached"), 0),
        .output = tokens(json_get(v, "output"), 0),
        .reasoning = tokens(json_get(v, "reasoning"), 0),
        .cost_nusd = nusd(json_get(v, "cost")),
        .estimated = json_true(json_get(v, "estimated")),
    };
}

bool oai_read_usage(json_val *v, struct chat_usage *out)
{
    if (!json_is_obj(v))
        return false;
    json_val *in = json_get(v, "prompt_tokens_details");
    json_val *o = json_get(v, "completion_tokens_details");
    struct chat_usage u = {
        .input = tokens(json_get(v, "prompt_tokens"), 0),
        .output = tokens(json_get(v, "completion_tokens"), 0),
        .cache_write = tokens(json_get(in, "cache_write_tokens"), 0),
        .reasoning = tokens(json_get(o, "reasoning_tokens"), 0),
        .cost_nusd = nusd(json_get(v, "cost")),
        .estimated = json_true(json_get(v, "estimated")),
    };
    /* DeepSeek has said it outside of the details, before it said it there. */
    u.cached =
        tokens(json_get(in, "cached_tokens"), tokens(json_get(v, "prompt_cache_hit_tokens"), 0));
    /* xAI counts reasoning beside completion_tokens; its total gives it away. */
    int64_t total = tokens(json_get(v, "total_tokens"), 0);
    if (u.reasoning > 0 && total == u.input + u.output + u.reasoning)
        u.output += u.reasoning;
    *out = u;
    return true;
}

static enum chat_member_state state_of(struct span s)
{
    for (enum chat_member_state i = CHAT_MEMBER_WAITING; i < CHAT_MEMBER_ABANDONED; i++)
        if (span_eq(s, span_of(chat_member_state_name(i))))
            return i;
    return CHAT_MEMBER_ABANDONED;
}

static int64_t micros(json_val *v)
{
    double ms;
    return json_f64(v, &ms) && ms >= 0 && ms < 1e12 ? (int64_t)(ms * 1000) : -1;
}

bool oai_read_member(json_val *v, char *reason, size_t cap, struct chat_member *out)
{
    if (!json_is_obj(v))
        return false;
    struct span why = span_upto(json_str(json_get(v, "reason")), cap - 1);
    if (why.n > 0)
        memcpy(reason, why.p, why.n);
    reason[why.n] = '\0';
    *out = (struct chat_member){
        .label = json_str(json_get(v, "label")),
        .model = json_str(json_get(v, "model")),
        .judge = json_true(json_get(v, "judge")),
        .sample = (unsigned)(tokens(json_get(v, "sample"), 0) & 0xffff),
        .state = state_of(json_str(json_get(v, "status"))),
        .usage = member_usage(v),
        .ttft_us = micros(json_get(v, "ttft_ms")),
        .total_us = micros(json_get(v, "total_ms")),
        .bytes = (uint64_t)tokens(json_get(v, "bytes"), 0),
        .reason = why.n > 0 ? reason : NULL,
        .detail = json_str(json_get(v, "detail")),
    };
    return true;
}

/* A NUL-terminated copy; NULL for no string, and when memory runs out. */
static const char *copy_cstr(struct arena *a, json_val *v)
{
    return json_is_str(v) ? arena_dup(a, json_str(v)).p : NULL;
}

static struct span copy(struct arena *a, struct span s)
{
    return s.n > 0 ? arena_dup(a, s) : (struct span){"", 0};
}

/* Sets *out_n only when all went well: a list that does not fit is left out. */
static const struct chat_member *read_members(struct arena *a, json_val *list, bool judges,
                                              size_t *out_n)
{
    struct span key;
    json_val *v;
    size_t n = json_is_arr(list) ? json_count(list) : 0, i = 0;
    if (n == 0 || n > 4 * LIMIT_PANEL)
        return NULL;
    struct chat_member *m = arena_array(a, n, sizeof *m);
    if (!m)
        return NULL;
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &v); i++) {
        char *reason = arena_alloc(a, json_str(json_get(v, "reason")).n + 1);
        if (!reason || !oai_read_member(v, reason, json_str(json_get(v, "reason")).n + 1, &m[i]))
            return NULL;
        m[i].judge = judges;
        m[i].label = copy(a, m[i].label);
        m[i].model = copy(a, m[i].model);
        m[i].detail = copy(a, m[i].detail);
        if (!m[i].label.p || !m[i].model.p || !m[i].detail.p)
            return NULL;
    }
    *out_n = n;
    return m;
}

static void read_notes(struct arena *a, json_val *list, struct chat_fusion_report *r)
{
    struct span key;
    json_val *v;
    size_t n = json_is_arr(list) ? json_count(list) : 0, i = 0;
    struct span *notes = n > 0 && n < 256 ? arena_array(a, n, sizeof *notes) : NULL;
    if (!notes)
        return;
    for (struct json_iter it = json_iter_of(list); json_next(&it, &key, &v); i++)
        notes[i] = copy(a, json_str(v));
    r->notes = notes;
    r->n_notes = n;
}

static double ratio(json_val *v)
{
    double x;
    return json_f64(v, &x) ? x : -1;
}

static uint64_t read_seed(json_val *v)
{
    struct span s = json_num_text(v);
    uint64_t seed = 0;
    for (size_t i = 0; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        seed = seed * 10 + (uint64_t)(s.p[i] - '0');
    return seed;
}

const struct chat_fusion_report *oai_read_report(struct arena *a, json_val *v)
{
    if (!json_is_obj(v) || !json_is_str(json_get(v, "mode")))
        return NULL;
    struct chat_fusion_report *r = arena_alloc(a, sizeof *r);
    if (!r)
        return NULL;
    json_val *latency = json_get(v, "latency_ratio");
    r->id = copy(a, json_str(json_get(v, "fusion_id")));
    r->mode = copy_cstr(a, json_get(v, "mode"));
    r->degraded = copy_cstr(a, json_get(v, "degraded"));
    r->degraded_why = copy(a, json_str(json_get(v, "degraded_why")));
    r->agreement = ratio(json_get(v, "agreement"));
    r->planned_nusd = nusd(json_get(v, "planned_cost"));
    r->seed = read_seed(json_get(v, "seed"));
    r->members = read_members(a, json_get(v, "members"), false, &r->n_members);
    r->judges = read_members(a, json_get(v, "judge"), true, &r->n_judges);
    r->latency_ratio_slowest = ratio(json_get(latency, "slowest"));
    r->latency_ratio_best = ratio(json_get(latency, "best"));
    read_notes(a, json_get(v, "notes"), r);
    return r->mode && r->id.p ? r : NULL;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void w_i64(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    json_w_i64(w, v);
}

static void w_str(struct json_w *w, const char *key, struct span s)
{
    json_w_key(w, key);
    json_w_str(w, s);
}

static void w_cost(struct json_w *w, const char *key, int64_t v)
{
    json_w_key(w, key);
    if (v < 0)
        json_w_null(w);
    else
        json_w_nusd(w, v);
}

/* Measures that did not come so far are null. */
static void w_millis(struct json_w *w, const char *key, int64_t us)
{
    json_w_key(w, key);
    if (us < 0)
        json_w_null(w);
    else
        json_w_i64(w, us / 1000);
}

static void w_ratio(struct json_w *w, const char *key, double v)
{
    json_w_key(w, key);
    if (v < 0)
        json_w_null(w);
    else
        json_w_f64(w, v);
}

static void write_member(struct json_w *w, const struct chat_member *m, bool progress)
{
    const struct chat_usage *u = &m->usage;
    json_w_obj(w);
    w_str(w, "label", m->label);
    w_str(w, "model", m->model);
    if (progress) {
        json_w_key(w, "judge");
        json_w_bool(w, m->judge);
    }
    w_i64(w, "sample", m->sample);
    json_w_key(w, "status");
    json_w_cstr(w, chat_member_state_name(m->state));
    w_i64(w, "input", u->input);
    w_i64(w, "cached", u->cached);
    w_i64(w, "output", u->output);
    w_i64(w, "reasoning", u->reasoning);
    w_cost(w, "cost", u->cost_nusd);
    json_w_key(w, "estimated");
    json_w_bool(w, u->estimated);
    w_i64(w, "bytes", (int64_t)m->bytes);
    w_millis(w, "ttft_ms", m->ttft_us);
    w_millis(w, "total_ms", m->total_us);
    if (m->reason || progress) {
        json_w_key(w, "reason");
        json_w_cstr(w, m->reason);
    }
    if (m->detail.n > 0)
        w_str(w, "detail", m->detail);
    json_w_obj_end(w);
}

void oai_write_member(struct json_w *w, const struct chat_member *m)
{
    write_member(w, m, true);
}

static void write_members(struct json_w *w, const char *key, const struct chat_member *m, size_t n)
{
    json_w_key(w, key);
    json_w_arr(w);
    for (size_t i = 0; i < n; i++)
        write_member(w, &m[i], false);
    json_w_arr_end(w);
}

static void write_report(struct json_w *w, const struct chat_fusion_report *r)
{
    json_w_key(w, "fusion");
    json_w_obj(w);
    write_members(w, "members", r->members, r->n_members);
    write_members(w, "judge", r->judges, r->n_judges);
    json_w_key(w, "mode");
    json_w_cstr(w, r->mode);
    json_w_key(w, "degraded");
    json_w_cstr(w, r->degraded);
    if (r->degraded_why.n > 0)
        w_str(w, "degraded_why", r->degraded_why);
    w_ratio(w, "agreement", r->agreement);
    w_cost(w, "planned_cost", r->planned_nusd);
    w_str(w, "fusion_id", r->id);
    char seed[24];
    int n = snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed);
    json_w_key(w, "seed");
    json_w_raw(w, (struct span){seed, (size_t)n});
    json_w_key(w, "latency_ratio");
    json_w_obj(w);
    w_ratio(w, "slowest", r->latency_ratio_slowest);
    w_ratio(w, "best", r->latency_ratio_best);
    json_w_obj_end(w);
    if (r->n_notes > 0) {
        json_w_key(w, "notes");
        json_w_arr(w);
        for (size_t i = 0; i < r->n_notes; i++)
            json_w_str(w, r->notes[i]);
        json_w_arr_end(w);
    }
    json_w_obj_end(w);
}

void oai_write_usage(struct json_w *w, const struct chat_usage *u,
                     const struct chat_fusion_report *report)
{
    json_w_obj(w);
    w_i64(w, "prompt_tokens", u->input);
    w_i64(w, "completion_tokens", u->output);
    w_i64(w, "total_tokens", u->input + u->output);
    json_w_key(w, "prompt_tokens_details");
    json_w_obj(w);
    w_i64(w, "cached_tokens", u->cached);
    if (u->cache_write > 0)
        w_i64(w, "cache_write_tokens", u->cache_write);
    json_w_obj_end(w);
    json_w_key(w, "completion_tokens_details");
    json_w_obj(w);
    w_i64(w, "reasoning_tokens", u->reasoning);
    json_w_obj_end(w);
    w_cost(w, "cost", u->cost_nusd);
    if (u->estimated) {
        json_w_key(w, "estimated");
        json_w_bool(w, true);
    }
    if (report)
        write_report(w, report);
    json_w_obj_end(w);
}
