/* cli/cmd_models.c - fusor models */
#include "base/limits.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "json/json.h"

static void write_price(struct json_w *w, const struct price *p, int64_t nusd)
{
    if (p->known)
        json_w_nusd(w, nusd);
    else
        json_w_null(w);
}

static bool print_json(const struct config *c)
{
    struct buf b;
    struct json_w w;
    buf_init(&b, MIB(16));
    json_w_init(&w, &b, NULL);
    json_w_arr(&w);
    for (size_t i = 0; i < c->n_recipes; i++) {
        json_w_obj(&w);
        json_w_key(&w, "id");
        json_w_str(&w, c->recipes[i].name);
        json_w_key(&w, "kind");
        json_w_cstr(&w, "recipe");
        json_w_key(&w, "mode");
        json_w_cstr(&w, fusion_mode_name(c->recipes[i].mode));
        json_w_obj_end(&w);
    }
    for (size_t i = 0; i < c->n_models; i++) {
        const struct config_model *m = &c->models[i];
        json_w_obj(&w);
        json_w_key(&w, "id");
        json_w_str(&w, m->name);
        json_w_key(&w, "kind");
        json_w_cstr(&w, "model");
        json_w_key(&w, "provider");
        json_w_str(&w, m->provider->name);
        json_w_key(&w, "upstream_id");
        json_w_str(&w, m->id);
        json_w_key(&w, "context");
        if (m->context > 0)
            json_w_i64(&w, m->context);
        else
            json_w_null(&w);
        json_w_key(&w, "input_usd_per_mtok");
        write_price(&w, &m->price, m->price.input);
        json_w_key(&w, "output_usd_per_mtok");
        write_price(&w, &m->price, m->price.output);
        json_w_obj_end(&w);
    }
    json_w_arr_end(&w);
    bool ok = json_w_end(&w);
    if (ok)
        (void)printf("%.*s\n", (int)b.n, b.mem + b.start);
    buf_done(&b);
    return ok;
}

#define COLUMNS 5

static const char *text(struct arena *a, struct span s)
{
    return arena_dup(a, s).p;
}

static const char *price(struct arena *a, const struct price *p)
{
    char in[40], out[40];
    if (!p->known)
        return "unknown";
    if (p->input == 0 && p->output == 0)
        return "free";
    return arena_printf(a, "%s / %s", cli_usd(p->input, in, sizeof in),
                        cli_usd(p->output, out, sizeof out))
        .p;
}

static bool print_table(const struct config *c)
{
    AUTO(arena) a = arena_new(0);
    size_t rows = 1 + c->n_recipes + c->n_models;
    const char **cells = a ? arena_array(a, rows * COLUMNS, sizeof *cells) : NULL;
    if (!cells)
        return false;
    static const char *const head[COLUMNS] = {"NAME", "KIND", "UPSTREAM", "CONTEXT",
                                              "USD PER MTOK IN / OUT"};
    memcpy(cells, head, sizeof head);
    const char **row = cells + COLUMNS;
    for (size_t i = 0; i < c->n_recipes; i++, row += COLUMNS) {
        row[0] = text(a, c->recipes[i].name);
        row[1] = arena_printf(a, "recipe (%s)", fusion_mode_name(c->recipes[i].mode)).p;
        row[2] = arena_printf(a, "%zu members", recipe_members(&c->recipes[i])).p;
        row[3] = row[4] = "-";
    }
    for (size_t i = 0; i < c->n_models; i++, row += COLUMNS) {
        const struct config_model *m = &c->models[i];
        row[0] = text(a, m->name);
        row[1] = "model";
        row[2] = arena_printf(a, "%.*s/%.*s", SPAN_ARG(m->provider->name), SPAN_ARG(m->id)).p;
        row[3] = m->context > 0 ? arena_printf(a, "%lld", (long long)m->context).p : "unknown";
        row[4] = price(a, &m->price);
    }
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
    "Lists the recipes and models of the configuration with their prices. Besides these,\n"
    "PROVIDER/MODEL-ID always works.\n\n"
    "example:\n"
    "  fusor models\n",
    run};
