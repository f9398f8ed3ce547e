/* fusion/plan_bound.c - the upper bound of a fusion: every call that the machine can make, at its
 * dearest. A token is at least one byte, so bytes of text bound the input of any model; what
 * members may write bounds what a judge reads. Estimates (expected_*) are rules of thumb and never
 * guard money. */
#include "fusion/plan_priv.h"
#include "fusion/prompt.h"
#include "ledger/price.h"

/* Chat templates add role marks to each message. */
#define TEMPLATE_TOK 16
/* Text with more bytes than this per token does not exist: over the window even so is surely over.
 */
#define MAX_BYTES_PER_TOK 5
/* Text with fewer bytes than this per token is rare: room is reckoned with it. */
#define MIN_BYTES_PER_TOK 3
/* Bytes that an answer in a judge's input has at least. */
#define MIN_ANSWER_BYTES 96
/* Usual length of an answer and of a prompt's token, for expected_nusd only. */
#define USUAL_ANSWER_TOK    400
#define USUAL_BYTES_PER_TOK 4
#define USUAL_VERDICT_TOK   60
#define LATENCY_SAMPLES     20

static int64_t add(int64_t a, int64_t b)
{
    int64_t sum;
    return a < 0 || b < 0 ? -1 : __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a < b ? a : b;
}

static bool only_text(const struct chat_request *r)
{
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            enum chat_part_kind kind = r->messages[i].parts[k].kind;
            if (kind == CHAT_PART_IMAGE || kind == CHAT_PART_DOCUMENT || kind == CHAT_PART_AUDIO)
                return false;
        }
    return true;
}

/* A window, or -1 when it is unknown. */
static int64_t window(const struct fusion_model *m)
{
    return m->context > 0 ? m->context : -1;
}

/* What the model can write at most: its cap, its limit or its window. */
static int64_t output_bound(const struct fusion_model *m, int64_t cap)
{
    return least(least(cap, m->max_output > 0 ? m->max_output : -1), window(m));
}

static int64_t call_bound(const struct fusion_model *m, int64_t input, int64_t output)
{
    if (!m->price.known)
        return -1;
    if (price_is_free(&m->price))
        return 0;
    int64_t once = input < 0 || output < 0 ? -1 : price_bound_nusd(&m->price, input, output);
    int64_t sum = once;
    for (unsigned i = 1; i < m->tries; i++)
        sum = nusd_add(sum, once);
    return sum;
}

static int64_t member_bytes(const struct chat_request *r, const struct plan_member *m)
{
    return chat_input_bytes(r) + (int64_t)m->spec->system.n;
}

static void bound_members(struct plan *p, const struct chat_request *r, bool text)
{
    for (size_t i = 0; i < p->n_members; i++) {
        const struct plan_member *m = &p->members[i];
        struct fusion_plan_call *c = &p->pub.members[i];
        int64_t input =
            text ? member_bytes(r, m) + (int64_t)(r->n_messages + 2) * TEMPLATE_TOK : -1;
        *c = (struct fusion_plan_call){.label = span_make(&m->label, 1),
                                       .model = m->model->name,
                                       .aspect = m->spec->aspect,
                                       .sample = m->sample,
                                       .max_tokens = m->max_tokens,
                                       .weight = m->spec->weight};
        c->input_bound_tok = least(input, window(m->model));
        c->worst_nusd =
            call_bound(m->model, c->input_bound_tok, output_bound(m->model, m->max_tokens));
    }
}

/* --- judges ------------------------------------------------------------------------------------
 */

/* All that the judge reads beside the answers, in bytes. */
static int64_t judge_fixed(const struct plan *p, const struct chat_request *r)
{
    int64_t n = prompt_judge_bytes(r, p->recipe.criteria, p->n_members);
    for (size_t i = 0; i < p->n_members; i++)
        n += (int64_t)p->members[i].spec->aspect.n;
    return n;
}

static int64_t answers_bound(const struct plan *p)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->n_members; i++)
        sum = add(sum, output_bound(p->members[i].model, p->members[i].max_tokens));
    return sum;
}

static const struct span verdict_labels[VERDICT_CALLS] = {
    SPAN_INIT("judge"), SPAN_INIT("judge, repair"), SPAN_INIT("judge, other order")};

/* One call of the judge m; extra: input of its kind beside the usual. */
static void bound_judge(struct plan *p, const struct fusion_model *m, size_t kind, int64_t input)
{
    struct fusion_plan_call *c = &p->pub.judges[p->pub.n_judges++];
    int64_t cap = plan_judge_writes(p) ? p->judge_max_tokens : VERDICT_TOKENS;
    if (kind == 1)
        input = add(input, VERDICT_TOKENS + PROMPT_REPAIR_BYTES);
    *c = (struct fusion_plan_call){
        .label = verdict_labels[kind], .model = m->name, .max_tokens = cap, .weight = 1};
    c->input_bound_tok = least(input, window(m));
    c->worst_nusd = call_bound(m, c->input_bound_tok, output_bound(m, cap));
}

/* Without a named judge any member may have to be the one: the dearest counts. */
static void dearest_member(struct plan *p, struct fusion_plan_call *c, int64_t input)
{
    for (size_t i = 1; i < p->n_members && c->worst_nusd >= 0; i++) {
        const struct fusion_model *m = p->members[i].model;
        int64_t worst = call_bound(m, least(input, window(m)), output_bound(m, c->max_tokens));
        if (worst < 0 || worst > c->worst_nusd)
            c->worst_nusd = worst;
    }
}

static void bound_judges(struct plan *p, const struct chat_request *r, bool text)
{
    size_t kinds = plan_judge_writes(p) ? 1 : plan_judge_decides(p) ? VERDICT_CALLS : 0;
    size_t judges = p->n_judges > 0 ? p->n_judges : 1;
    int64_t input = text ? add(judge_fixed(p, r), answers_bound(p)) : -1;
    for (size_t j = 0; j < judges; j++)
        for (size_t k = 0; k < kinds; k++) {
            bound_judge(p, p->n_judges > 0 ? p->judges[j] : p->members[0].model, k, input);
            if (p->n_judges == 0)
                dearest_member(p, &p->pub.judges[p->pub.n_judges - 1],
                               k == 1 ? add(input, VERDICT_TOKENS + PROMPT_REPAIR_BYTES) : input);
        }
}

/* --- sums --------------------------------------------------------------------------------------
 */

static int64_t usual(const struct fusion_model *m, int64_t input_bytes, int64_t output, int64_t cap)
{
    if (!m->price.known)
        return -1;
    return price_bound_nusd(&m->price, input_bytes / USUAL_BYTES_PER_TOK, least(output, cap));
}

static int64_t median_us(const struct fusion_model *m)
{
    return m->latency && latency_count(m->latency) >= LATENCY_SAMPLES
               ? latency_quantile_us(m->latency, 0.5)
               : -1;
}

static void expect(struct plan *p, const struct chat_request *r)
{
    int64_t cost = 0, slowest = 0, answers = 0;
    for (size_t i = 0; i < p->n_members; i++) {
        const struct plan_member *m = &p->members[i];
        int64_t us = median_us(m->model);
        cost = nusd_add(cost, usual(m->model, member_bytes(r, m), USUAL_ANSWER_TOK, m->max_tokens));
        answers += least(USUAL_ANSWER_TOK, m->max_tokens) * USUAL_BYTES_PER_TOK;
        slowest = us < 0 || slowest < 0 ? -1 : us > slowest ? us : slowest;
    }
    bool writes = plan_judge_writes(p);
    /* A vote asks its judge only on a tie. */
    if (writes || (plan_judge_decides(p) && p->recipe.mode != FUSION_VOTE)) {
        const struct fusion_model *judge = p->n_judges > 0 ? p->judges[0] : p->members[0].model;
        cost = nusd_add(cost, usual(judge, judge_fixed(p, r) + answers,
                                    writes ? USUAL_ANSWER_TOK : USUAL_VERDICT_TOK,
                                    writes ? p->judge_max_tokens : -1));
        slowest = add(slowest, median_us(judge));
    }
    p->pub.expected_nusd = cost;
    p->pub.expected_us = slowest;
}

static bool sum_up(struct plan *p, bool text, struct err *e)
{
    const struct fusion_plan_call *lists[] = {p->pub.members, p->pub.judges};
    size_t counts[] = {p->pub.n_members, p->pub.n_judges};
    int64_t sum = 0, cap = p->recipe.max_cost_nusd;
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < counts[l]; i++) {
            const struct fusion_plan_call *c = &lists[l][i];
            if (c->worst_nusd < 0 && cap >= 0)
                return err_set(e, ERR_BUDGET,
                               text
                                   ? "the price of '%.*s' is unknown, so max_cost_usd cannot be "
                                     "kept: set its price in the configuration or leave the cap out"
                                   : "what an image or a document costs '%.*s' is unknown, so "
                                     "max_cost_usd cannot be kept: leave it or the cap out",
                               SPAN_ARG(c->model));
            sum = nusd_add(sum, c->worst_nusd);
        }
    p->pub.worst_nusd = sum;
    p->pub.fits = cap < 0 || (sum >= 0 && sum <= cap);
    return true;
}

/* --- windows -----------------------------------------------------------------------------------
 */

int64_t plan_judge_window(const struct fusion_model *m)
{
    return m->least_context > 0 ? m->least_context : m->context;
}

bool plan_answer_room(int64_t context, int64_t fixed_bytes, int64_t output_tok, size_t n,
                      size_t *out_bytes)
{
    int64_t least_bytes = (int64_t)n * MIN_ANSWER_BYTES;
    *out_bytes = 0;
    if (context <= 0)
        return true;
    if (output_tok < 0 || output_tok > context / 4)
        output_tok = context / 4;
    int64_t room = (context - output_tok) * MIN_BYTES_PER_TOK - fixed_bytes;
    *out_bytes = (size_t)(room > least_bytes ? room : least_bytes);
    return (fixed_bytes + least_bytes) / MAX_BYTES_PER_TOK < context;
}

static bool too_long(struct err *e, const char *who, int64_t bytes, int64_t context)
{
    err_field(e, "messages",
              "the conversation has %lld bytes of text; %s of this recipe can take it "
              "(largest window: %lld tokens)",
              (long long)bytes, who, (long long)context);
    return err_with_code(e, "context_length_exceeded");
}

static bool check_windows(const struct plan *p, const struct chat_request *r, struct err *e)
{
    int64_t bytes = chat_input_bytes(r), fixed = judge_fixed(p, r), largest = 0;
    size_t room, named = p->n_judges, n = named > 0 ? named : p->n_members;
    bool fits = false;
    for (size_t i = 0; i < p->n_members; i++) {
        int64_t context = p->members[i].model->context;
        fits =
            fits || context <= 0 || member_bytes(r, &p->members[i]) / MAX_BYTES_PER_TOK < context;
        largest = context > largest ? context : largest;
    }
    if (!fits)
        return too_long(e, "no member", bytes, largest);
    if (!plan_judge_writes(p) && !(plan_judge_decides(p) && p->recipe.mode == FUSION_BEST_OF))
        return true;
    fits = false;
    for (size_t i = 0; i < n; i++) {
        const struct fusion_model *m = named > 0 ? p->judges[i] : p->members[i].model;
        int64_t context = plan_judge_window(m);
        fits = fits || plan_answer_room(context, fixed, VERDICT_TOKENS, p->n_members, &room);
        largest = i == 0 || context > largest ? context : largest;
    }
    return fits || too_long(e, "no judge", bytes, largest);
}

bool plan_bound(struct plan *p, struct arena *a, const struct chat_request *r, struct err *e)
{
    bool text = only_text(r);
    size_t judges = (p->n_judges > 0 ? p->n_judges : 1) * VERDICT_CALLS;
    p->pub.members = arena_array(a, p->n_members, sizeof *p->pub.members);
    p->pub.judges = arena_array(a, judges, sizeof *p->pub.judges);
    if (!p->pub.members || !p->pub.judges)
        return err_set(e, ERR_NOMEM, "no memory for a plan");
    p->pub.n_members = p->n_members;
    if (!check_windows(p, r, e))
        return false;
    bound_members(p, r, text);
    bound_judges(p, r, text);
    expect(p, r);
    return sum_up(p, text, e);
}
