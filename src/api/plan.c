/* api/plan.c - what a request would be, without any call: how many tokens it has, and what a fusion
 * would ask and cost.
 */
#include "api/edge.h"

#include "dialect/dialect.h"

/* --- POST /v1/messages/count_tokens
 * ---------------------------------------------------------------------------------- */

/* Without the model's own tokeniser: English prose has some four bytes a token, code and other
 * scripts fewer. Too many is the safer mistake for who asks whether a conversation still fits. */
static int64_t reckoned_tokens(const struct chat_request *r)
{
    return (chat_input_bytes(r) * 2 + 6) / 7 + 4 * (int64_t)r->n_messages;
}

void api_count_tokens(struct api_request *rq)
{
    const struct dialect *d = rq->route->dialect;
    struct chat_request r;
    struct app_target t;
    struct err e = {0};
    struct buf out;
    buf_init(&out, KIB(4));
    if (d->read_count(http_arena(rq->x), http_body(rq->x), &r, &e) && api_resolve(rq, &r, &t, &e) &&
        d->write_count(reckoned_tokens(&r), &out, &e)) {
        rq->estimated = true;
        api_reply_json(rq, 200, buf_span(&out));
    } else {
        api_reply_error(rq, &e);
    }
    buf_done(&out);
}

/* --- POST /v1/fusions/plan
 * ---------------------------------------------------------------------------------------- */

static bool make_plan(struct api_request *rq, struct buf *out, struct err *e)
{
    struct arena *a = http_arena(rq->x);
    struct chat_request r;
    struct app_target t;
    struct fusion_plan plan;
    if (!dialect_openai_chat.read_request(a, http_body(rq->x), &r, e) ||
        !api_resolve(rq, &r, &t, e))
        return false;
    if (!t.recipe)
        return err_field(e, "model", "\"%.*s\" is a model; a plan is made for a recipe",
                         SPAN_ARG(r.model));
    return fusion_plan_make(a, worker_fusion_env(rq->worker), t.recipe, &r, t.rules, &plan, e) &&
           fusion_plan_write(&plan, out, e);
}

void api_fusion_plan(struct api_request *rq)
{
    struct err e = {0};
    struct buf out;
    buf_init(&out, MIB(4));
    if (make_plan(rq, &out, &e))
        api_reply_json(rq, 200, buf_span(&out));
    else
        api_reply_error(rq, &e);
    buf_done(&out);
}
