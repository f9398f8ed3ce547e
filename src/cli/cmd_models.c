/* cli/cmd_models.c - fusor models */
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "json/json.h"
#include "ledger/price.h"

/* --- as JSON ---------------------------------------------------------------------------------- */

static void write_nusd(struct json_w *w, const char *key, bool known, int64_t nusd)
{
    json_w_key(w, key);
    if (known && nusd >= 0)
        json_w_nusd(w, nusd);
    else
        json_w_null(w);
}

static void write_price(struct json_w *w, const struct price *p)
{
    write_nusd(w, "input_usd_per_mtok", p->known, p->input);
    write_nusd(w, "output_usd_per_mtok", p->known, p->output);
    write_nusd(w, "cached_input_usd_per_mtok", p->known, p->cached);
    write_nusd(w, "cache_write_usd_per_mtok", p->known, p->cache_write);
    json_w_key(w, "tiers");
    json_w_arr(w);
    for (size_t i = 0; i < p->n_tiers; i++) {
        const struct price_tier *t = &p->tiers[i];
        json_w_obj(w);
        json_w_key(w, "above_tokens");
        json_w_i64(w, t->above_tok);
        write_nusd(w, "input_usd_per_mtok", true, t->input);
        write_nusd(w, "output_usd_per_mtok", true, t->output);
        write_nusd(w, "cached_input_usd_per_mtok", true, t->cached);
        write_nusd(w, "cache_write_usd_per_mtok", true, t->cache_write);
        json_w_obj_end(w);
    }
    json_w_arr_end(w);
}

static void write_count(struct json_w *w, const char *key, int64_t n)
{
    json_w_key(w, key);
    if (n > 0)
        json_w_i64(w, n);
    else
        json_w_null(w);
}

static void write_traits(struct json_w *w, const struct config_traits *t)
{
    write_count(w, "context", t->context);
    write_count(w, "max_output", t->max_output);
    json_w_key(w, "capabilities");
    json_w_obj(w);
    for (size_t i = 0; i < CONFIG_CAPS; i++) {
        if (t->caps.can[i] == CAN_UNKNOWN)
            continue;
        json_w_key(w, config_cap_name((enum config_cap)i));
        json_w_bool(w, t->caps.can[i] == CAN_YES);
    }
    json_w_obj_end(w);
}

static void write_recipe(struct json_w *w, const struct config *c, const struct recipe *r)
{
    struct config_traits t = config_traits_of(c, r->name);
    json_w_obj(w);
    json_w_key(w, "id");
    json_w_str(w, r->name);
    json_w_key(w, "kind");
    json_w_cstr(w, "recipe");
    json_w_key(w, "mode");
    json_w_cstr(w, fusion_mode_name(r->mode));
    write_traits(w, &t);
    json_w_obj_end(w);
}

static void write_targets(struct json_w *w, const char *key, const struct config_target *t,
                          size_t n)
{
    json_w_key(w, key);
    json_w_arr(w);
    for (size_t i = 0; i < n; i++)
        json_w_str(w, t[i].name);
    json_w_arr_end(w);
}

static void write_alias(struct json_w *w, const struct config *c, const struct config_alias *a)
{
    struct config_traits t = config_traits_of(c, a->name);
    json_w_obj(w);
    json_w_key(w, "id");
    json_w_str(w, a->name);
    json_w_key(w, "kind");
    json_w_cstr(w, "alias");
    write_targets(w, "to", a->to, a->n_to);
    write_targets(w, "fallback", a->fallback, a->n_fallback);
    write_traits(w, &t);
    json_w_obj_end(w);
}

static void write_model(struct json_w *w, const struct config_model *m)
{
    const struct config_traits t = {m->context, m->max_output, m->caps};
    json_w_obj(w);
    json_w_key(w, "id");
    json_w_str(w, m->name);
    json_w_key(w, "kind");
    json_w_cstr(w, "model");
    json_w_key(w, "provider");
    json_w_str(w, m->provider->name);
    json_w_key(w, "upstream_id");
    json_w_str(w, m->id);
    write_traits(w, &t);
    write_price(w, &m->price);
    if (m->retires.n > 0) {
        json_w_key(w, "retires");
        json_w_str(w, m->retires);
    }
    json_w_obj_end(w);
}

static bool print_json(const struct config *c)
{
    struct buf b;
    struct json_w w;
    buf_init(&b, MIB(16));
    json_w_init(&w, &b, NULL);
    json_w_arr(&w);
    for (size_t i = 0; i < c->n_aliases; i++)
        write_alias(&w, c, &c->aliases[i]);
    for (size_t i = 0; i < c->n_recipes; i++)
        write_recipe(&w, c, &c->recipes[i]);
    for (size_t i = 0; i < c->n_models; i++)
        write_model(&w, &c->models[i]);
    json_w_arr_end(&w);
    bool ok = json_w_end(&w);
    if (ok)
        (void)printf("%.*s\n", (int)b.n, b.mem + b.start);
    buf_done(&b);
    return ok;
}

/* --- as a table ------------------------------------------------------------------------------- */

#define COLUMNS 6

static const char *text(struct arena *a, struct span s)
{
    return arena_dup(a, s).p;
}

static const char *count(struct arena *a, int64_t n)
{
    return n > 0 ? arena_printf(a, "%lld", (long long)n).p : "unknown";
}

static const char *rates(struct arena *a, int64_t input, int64_t output)
{
    char in[40], out[40];
    return arena_printf(a, "%s / %s", cli_usd(input, in, sizeof in),
                        cli_usd(output, out, sizeof out))
        .p;
}

/* "$2 / $12, above 200000: $4 / $18" */
static const char *price(struct arena *a, const struct price *p)
{
    if (!p->known)
        return "unknown";
    if (price_is_free(p))
        return "free";
    const char *all = rates(a, p->input, p->output);
    for (size_t i = 0; all && i < p->n_tiers; i++) {
        const char *tier = rates(a, p->tiers[i].input, p->tiers[i].output);
        all = tier ? arena_printf(a, "%s, above %lld: %s", all, (long long)p->tiers[i].above_tok,
                                  tier)
                         .p
                   : NULL;
    }
    return all;
}

/* What it is known to do; what is plain, or goes with another, is not said. */
static const char *abilities(struct arena *a, const struct config_caps *caps, struct span retires)
{
    static const enum config_cap told[] = {
        CAP_TOOLS, CAP_IMAGES, CAP_DOCUMENTS, CAP_AUDIO, CAP_STRUCTURED_OUTPUTS, CAP_REASONING};
    const char *all = "";
    for (size_t i = 0; all && i < COUNT_OF(told); i++) {
        const char *name = told[i] == CAP_STRUCTURED_OUTPUTS ? "json" : config_cap_name(told[i]);
        if (caps->can[told[i]] == CAN_YES)
            all = arena_printf(a, "%s%s%s", all, all[0] ? " " : "", name).p;
    }
    if (all && retires.n > 0)
        all = arena_printf(a, "%s%sends %.*s", all, all[0] ? " " : "", SPAN_ARG(retires)).p;
    return all && !all[0] ? "-" : all;
}

static void alias_row(struct arena *a, const struct config *c, const struct config_alias *alias,
                      const char **row)
{
    struct config_traits t = config_traits_of(c, alias->name);
    const char *targets = text(a, alias->to[0].name);
    for (size_t i = 1; targets && i < alias->n_to + alias->n_fallback; i++) {
        const struct config_target *to =
            i < alias->n_to ? &alias->to[i] : &alias->fallback[i - alias->n_to];
        targets = arena_printf(a, "%s, %.*s", targets, SPAN_ARG(to->name)).p;
    }
    row[0] = text(a, alias->name);
    row[1] = "alias";
    row[2] = targets;
    row[3] = count(a, t.context);
    row[4] = "-";
    row[5] = abilities(a, &t.caps, SPAN(""));
}

static void recipe_row(struct arena *a, const struct config *c, const struct recipe *r,
                       const char **row)
{
    struct config_traits t = config_traits_of(c, r->name);
    row[0] = text(a, r->name);
    row[1] = arena_printf(a, "recipe (%s)", fusion_mode_name(r->mode)).p;
    row[2] = arena_printf(a, "%zu members", recipe_members(r)).p;
    row[3] = count(a, t.context);
    row[4] = "-";
    row[5] = abilities(a, &t.caps, SPAN(""));
}

static void model_row(struct arena *a, const struct config_model *m, const char **row)
{
    row[0] = text(a, m->name);
    row[1] = "model";
    row[2] = arena_printf(a, "%.*s/%.*s", SPAN_ARG(m->provider->name), SPAN_ARG(m->id)).p;
    row[3] = count(a, m->context);
    row[4] = price(a, &m->price);
    row[5] = abilities(a, &m->caps, m->retires);
}

static bool print_table(const struct config *c)
{
    AUTO(arena) a = arena_new(0);
    size_t rows = 1 + c->n_aliases + c->n_recipes + c->n_models;
    const char **cells = a ? arena_array(a, rows * COLUMNS, sizeof *cells) : NULL;
    if (!cells)
        return false;
    static const char *const head[COLUMNS] = {
        "NAME", "KIND", "UPSTREAM", "CONTEXT", "USD PER MTOK IN / OUT", "CAN"};
    memcpy(cells, head, sizeof head);
    const char **row = cells + COLUMNS;
    for (size_t i = 0; i < c->n_aliases; i++, row += COLUMNS)
        alias_row(a, c, &c->aliases[i], row);
    for (size_t i = 0; i < c->n_recipes; i++, row += COLUMNS)
        recipe_row(a, c, &c->recipes[i], row);
    for (size_t i = 0; i < c->n_models; i++, row += COLUMNS)
        model_row(a, &c->models[i], row);
    for (size_t i = 0; i < rows * COLUMNS; i++)
        if (!cells[i])
            return false;
    cli_table(stdout, cells, COLUMNS, rows);
    return true;
}

static int run(int argc, char **argv)
{
    const char *file = NULL, *rest[1];
    bool json = false;
    size_t n_rest;
    const struct cli_option options[] = {{"--config", 'c', &file, NULL},
                                         {"--json", 0, NULL, &json}};
    int rc = cli_parse(&cli_models, argc, argv, options, COUNT_OF(options), rest, 0, &n_rest);
    if (rc >= 0)
        return rc;
    struct err e = {0};
    AUTO(config) c = config_load(file, &e);
    if (!c)
        return cli_fail(&e);
    if (!(json ? print_json(c) : print_table(c))) {
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        return cli_fail(&e);
    }
    return EXIT_DONE;
}

const struct cli_command cli_models = {
    "models", "list what a client may name as `model`",
    "usage: fusor models [--json] [-c FILE]\n\n"
    "Lists the recipes and models of the configuration with their windows in tokens, prices and\n"
    "what they are known to do. Besides these, PROVIDER/MODEL-ID always works.\n\n"
    "example:\n"
    "  fusor models\n",
    run};
