/* fusion/plan_write.c - a plan as JSON: what `fusor plan` prints. */
#include "fusion/fusion.h"
#include "json/json.h"

#define US_PER_MS 1000

static void nusd(struct json_w *w, const char *key, int64_t value)
{
    json_w_key(w, key);
    if (value < 0)
        json_w_null(w);
    else
        json_w_nusd(w, value);
}

static void number(struct json_w *w, const char *key, int64_t value)
{
    json_w_key(w, key);
    if (value < 0)
        json_w_null(w);
    else
        json_w_i64(w, value);
}

static void write_call(struct json_w *w, const struct fusion_plan_call *c, bool judge)
{
    json_w_obj(w);
    json_w_key(w, "label");
    json_w_str(w, c->label);
    json_w_key(w, "model");
    json_w_str(w, c->model);
    if (!judge) {
        number(w, "sample", c->sample);
        json_w_key(w, "weight");
        json_w_f64(w, c->weight);
    }
    if (c->aspect.n > 0) {
        json_w_key(w, "aspect");
        json_w_str(w, c->aspect);
    }
    number(w, "max_tokens", c->max_tokens);
    number(w, "input_bound", c->input_bound_tok);
    nusd(w, "worst_cost_usd", c->worst_nusd);
    json_w_obj_end(w);
}

bool fusion_plan_write(const struct fusion_plan *p, struct buf *out, struct err *e)
{
    struct json_w w;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    json_w_key(&w, "mode");
    json_w_cstr(&w, p->mode);
    json_w_key(&w, "members");
    json_w_arr(&w);
    for (size_t i = 0; i < p->n_members; i++)
        write_call(&w, &p->members[i], false);
    json_w_arr_end(&w);
    json_w_key(&w, "judge");
    json_w_arr(&w);
    for (size_t i = 0; i < p->n_judges; i++)
        write_call(&w, &p->judges[i], true);
    json_w_arr_end(&w);
    number(&w, "quorum", p->quorum);
    nusd(&w, "worst_cost_usd", p->worst_nusd);
    nusd(&w, "expected_cost_usd", p->expected_nusd);
    number(&w, "expected_ms", p->expected_us < 0 ? -1 : p->expected_us / US_PER_MS);
    nusd(&w, "max_cost_usd", p->max_cost_nusd);
    json_w_key(&w, "fits");
    json_w_bool(&w, p->fits);
    json_w_key(&w, "shrunk"); /* nothing is shrunk: a plan over its cap is refused */
    json_w_arr(&w);
    json_w_arr_end(&w);
    json_w_key(&w, "warnings");
    json_w_arr(&w);
    for (size_t i = 0; i < p->n_warnings; i++)
        json_w_str(&w, p->warnings[i]);
    json_w_arr_end(&w);
    number(&w, "seed", (int64_t)p->seed);
    json_w_obj_end(&w);
    return json_w_end(&w);
}
