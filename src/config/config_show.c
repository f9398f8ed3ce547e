/* config/config_show.c - a snapshot back as YAML that config_parse() reads; see config/config.h.
 *
 * Every value stands there as it holds, defaults filled in, so that it answers "what is in force?".
 * Secrets are shown by reference. Reading what is shown and showing it again gives the same bytes.
 */
#include <math.h>

#include "config/config_priv.h"

/* Methods after a failure do nothing. */
struct show {
    struct buf *b;
    struct err *e;
    bool failed;
};

#define PUT(w, ...) ((w)->failed = (w)->failed || !buf_addf((w)->b, (w)->e, __VA_ARGS__))

static void put_span(struct show *w, struct span s)
{
    w->failed = w->failed || !buf_add(w->b, s, w->e);
}

/* --- scalars --------------------------------------------------------------------------------- */

static bool is_plain(struct span s)
{
    bool plain = s.n > 0 && ((s.p[0] >= 'a' && s.p[0] <= 'z') || (s.p[0] >= 'A' && s.p[0] <= 'Z') ||
                             s.p[0] == '/');
    for (size_t i = 0; plain && i < s.n; i++) {
        char c = s.p[i];
        plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                c == '.' || c == '_' || c == '-' || c == '/';
    }
    return plain && !span_eq(s, SPAN("null"));
}

/* Bytes at the front that YAML would read as a line end or a byte order mark, or refuse. */
static size_t special(struct span s, unsigned *out_cp)
{
    unsigned char a = (unsigned char)s.p[0];
    unsigned char b = s.n > 1 ? (unsigned char)s.p[1] : 0, c = s.n > 2 ? (unsigned char)s.p[2] : 0;
    if (a < 0x20 || a == 0x7F) {
        *out_cp = a;
        return 1;
    }
    if (a == 0xC2 && b >= 0x80 && b <= 0x9F) {
        *out_cp = b;
        return 2;
    }
    if ((a == 0xE2 && b == 0x80 && (c == 0xA8 || c == 0xA9)) ||
        (a == 0xEF && ((b == 0xBB && c == 0xBF) || (b == 0xBF && c >= 0xBE)))) {
        *out_cp = ((a & 0xFU) << 12) | ((b & 0x3FU) << 6) | (c & 0x3FU);
        return 3;
    }
    return 0;
}

static void put_str(struct show *w, struct span s)
{
    if (is_plain(s)) {
        put_span(w, s);
        return;
    }
    put_span(w, SPAN("\""));
    while (s.n > 0) {
        unsigned cp;
        size_t n = special(s, &cp);
        if (n > 0) {
            PUT(w, "\\u%04X", cp);
        } else {
            n = 1;
            if (s.p[0] == '"' || s.p[0] == '\\')
                put_span(w, SPAN("\\"));
            put_span(w, span_upto(s, 1));
        }
        s = span_from(s, n);
    }
    put_span(w, SPAN("\""));
}

static void put_duration(struct show *w, int64_t us)
{
    if (us % SECOND_US == 0)
        PUT(w, "%llds", (long long)(us / SECOND_US));
    else if (us % 1000 == 0)
        PUT(w, "%lldms", (long long)(us / 1000));
    else
        PUT(w, "%lld.%03lldms", (long long)(us / 1000), (long long)(us % 1000));
}

/* Without rounding, without trailing zeros. */
static void put_nusd(struct show *w, int64_t nusd)
{
    int64_t fraction = nusd % 1000000000;
    int places = 9;
    PUT(w, "%lld", (long long)(nusd / 1000000000));
    if (fraction == 0)
        return;
    for (; fraction % 10 == 0; places--)
        fraction /= 10;
    PUT(w, ".%0*lld", places, (long long)fraction);
}

/* The shorter of two forms that reads back the same. */
static void put_double(struct show *w, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.15g", value);
    if (fabs(strtod(text, NULL) - value) > 0)
        snprintf(text, sizeof text, "%.17g", value);
    PUT(w, "%s", text);
}

/* --- fields: "  name: value" lines; what is unset is left out -------------------------------- */

static void field(struct show *w, int indent, const char *name)
{
    PUT(w, "%*s%s: ", indent, "", name);
}

static void field_str(struct show *w, int indent, const char *name, struct span s)
{
    if (s.n == 0)
        return;
    field(w, indent, name);
    put_str(w, s);
    put_span(w, SPAN("\n"));
}

static void field_i64(struct show *w, int indent, const char *name, int64_t value)
{
    PUT(w, "%*s%s: %lld\n", indent, "", name, (long long)value);
}

static void field_bool(struct show *w, int indent, const char *name, bool value)
{
    PUT(w, "%*s%s: %s\n", indent, "", name, value ? "true" : "false");
}

static void field_duration(struct show *w, int indent, const char *name, int64_t us)
{
    field(w, indent, name);
    put_duration(w, us);
    put_span(w, SPAN("\n"));
}

static void field_list(struct show *w, int indent, const char *name, const struct span *items,
                       size_t n)
{
    if (n == 0)
        return;
    field(w, indent, name);
    for (size_t i = 0; i < n; i++) {
        put_span(w, i == 0 ? SPAN("[") : SPAN(", "));
        put_str(w, items[i]);
    }
    put_span(w, SPAN("]\n"));
}

/* "input: 2, output: 10, ..."; what is unknown is left out. */
static void put_rates(struct show *w, const struct price_tier *t)
{
    const struct {
        const char *name;
        int64_t value;
    } parts[] = {{"input", t->input},
                 {"output", t->output},
                 {"cached_input", t->cached},
                 {"cache_write", t->cache_write}};
    const char *between = "";
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        if (parts[i].value < 0)
            continue;
        PUT(w, "%s%s: ", between, parts[i].name);
        put_nusd(w, parts[i].value);
        between = ", ";
    }
}

static bool is_free(const struct price *p)
{
    return p->input == 0 && p->output == 0 && p->cached == 0 && p->cache_write == 0 &&
           p->n_tiers == 0;
}

static void field_price(struct show *w, int indent, const struct price *p)
{
    const struct price_tier base = {0, p->input, p->cached, p->cache_write, p->output};
    if (!p->known)
        return;
    field(w, indent, "price");
    if (is_free(p)) {
        put_span(w, SPAN("free\n"));
        return;
    }
    put_span(w, SPAN("{"));
    put_rates(w, &base);
    for (size_t i = 0; i < p->n_tiers; i++) {
        PUT(w, "%s{above: %lld, ", i == 0 ? ", tiers: [" : ", ", (long long)p->tiers[i].above_tok);
        put_rates(w, &p->tiers[i]);
        put_span(w, SPAN("}"));
    }
    put_span(w, p->n_tiers > 0 ? SPAN("]}\n") : SPAN("}\n"));
}

static void put_efforts(struct show *w, unsigned efforts)
{
    const char *between = "[";
    for (unsigned i = 0; config_effort_name(i); i++) {
        if (!(efforts & 1U << i))
            continue;
        PUT(w, "%s%s", between, config_effort_name(i));
        between = ", ";
    }
    put_span(w, SPAN("]"));
}

static void field_caps(struct show *w, int indent, const struct config_caps *caps)
{
    const char *between = "{";
    for (size_t i = 0; i < CONFIG_CAPS; i++) {
        if (caps->can[i] == CAN_UNKNOWN)
            continue;
        if (between[0] == '{')
            field(w, indent, "capabilities");
        PUT(w, "%s%s: %s", between, config_cap_name((enum config_cap)i),
            caps->can[i] == CAN_YES ? "true" : "false");
        between = ", ";
    }
    if (caps->efforts != 0) {
        if (between[0] == '{')
            field(w, indent, "capabilities");
        PUT(w, "%sefforts: ", between);
        put_efforts(w, caps->efforts);
        between = ", ";
    }
    if (between[0] != '{')
        put_span(w, SPAN("}\n"));
}

static void field_timeouts(struct show *w, int indent, const struct timeouts *t)
{
    const struct {
        const char *name;
        int64_t us;
    } parts[] = {{"connect", t->connect_us},
                 {"first_byte", t->first_byte_us},
                 {"idle", t->idle_us},
                 {"total", t->total_us}};
    field(w, indent, "timeouts");
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        PUT(w, "%s%s: ", i == 0 ? "{" : ", ", parts[i].name);
        put_duration(w, parts[i].us);
    }
    put_span(w, SPAN("}\n"));
}

/* --- parts of the file ----------------------------------------------------------------------- */

static void show_edge(struct show *w, const struct config *c)
{
    bool v6 = strchr(c->listen.address, ':');
    PUT(w, "listen: \"%s%s%s:%d\"\n", v6 ? "[" : "", c->listen.address, v6 ? "]" : "",
        c->listen.port);
    if (c->tls_cert.n > 0) {
        put_span(w, SPAN("tls:\n"));
        field_str(w, 2, "cert", c->tls_cert);
        field_str(w, 2, "key", c->tls_key);
    }
    field_list(w, 0, "hosts", c->hosts, c->n_hosts);
    field_list(w, 0, "cors_origins", c->cors_origins, c->n_cors_origins);
    field_bool(w, 0, "insecure", c->insecure);
    field_bool(w, 0, "trusted_proxies", c->trusted_proxies);
    field_str(w, 0, "key", c->api_key_ref);
    field_i64(w, 0, "workers", c->workers);
    field_duration(w, 0, "drain", c->drain_us);
    field_duration(w, 0, "keepalive", c->keepalive_us);
    field_duration(w, 0, "keepalive_after", c->keepalive_after_us);
    field_str(w, 0, "half_close", c->half_close_keep ? SPAN("keep") : SPAN("leave"));
    field_str(w, 0, "state_dir", c->state_dir);
    field_str(w, 0, "log", c->log_file.n > 0 ? c->log_file : SPAN("stderr"));
    PUT(w, "responses: {store: %s}\n", c->keep_responses ? "allow" : "deny");
    put_span(w, SPAN("retain:\n"));
    field_duration(w, 2, "responses", c->retain_responses_us);
    field_duration(w, 2, "reasoning", c->retain_reasoning_us);
}

static void show_local(struct show *w, const struct config_local *l)
{
    field_list(w, 4, "command", l->command, l->n_command);
    field_str(w, 4, "model", l->model_file);
    field_i64(w, 4, "context", l->context);
    field_i64(w, 4, "parallel", l->parallel);
    field_i64(w, 4, "threads", l->threads);
    field_duration(w, 4, "idle_stop", l->idle_stop_us);
    field_duration(w, 4, "start_timeout", l->start_timeout_us);
}

static void show_hosted(struct show *w, const struct config_provider *p)
{
    field_str(w, 4, "base_url", p->base_url);
    field_str(w, 4, "key", p->key_ref);
    field_str(w, 4, "ca_file", p->ca_file);
    field_str(w, 4, "proxy", p->proxy);
    field_str(w, 4, "proxy_auth", p->proxy_auth_ref);
    field_str(w, 4, "cancel", p->cancel_bills_on ? SPAN("bills_on") : SPAN("stops"));
    if (p->kind != PROVIDER_OPENAI)
        return;
    bool chat = strcmp(p->dialect, "openai_chat") == 0;
    field_str(w, 4, "api", chat ? SPAN("chat") : SPAN("responses"));
    field_str(w, 4, "stream_options", p->omit_stream_options ? SPAN("omit") : SPAN("send"));
    field_str(w, 4, "max_tokens_field",
              p->max_completion_tokens ? SPAN("max_completion_tokens") : SPAN("max_tokens"));
}

/* What hosted and local ones have. */
static void show_both(struct show *w, const struct config_provider *p)
{
    static const char *const structured[] = {"native", "json_object", "prompt"};
    static const char *const unsupported[] = {"reject", "warn", "drop"};
    if (p->kind == PROVIDER_RECORDED)
        return;
    field_str(w, 4, "image_urls", p->refuse_image_urls ? SPAN("refuse") : SPAN("pass"));
    field_str(w, 4, "structured", span_of(structured[p->structured]));
    field_str(w, 4, "on_unsupported", span_of(unsupported[p->unsupported]));
    if (p->kind == PROVIDER_OPENAI || p->kind == PROVIDER_LOCAL)
        field_str(w, 4, "reasoning_tags", p->keep_tags ? SPAN("none") : SPAN("think"));
}

static void show_provider(struct show *w, const struct config_provider *p)
{
    put_span(w, SPAN("  "));
    put_str(w, p->name);
    PUT(w, ":\n    kind: %s\n", config_kind_name(p->kind));
    switch (p->kind) {
    case PROVIDER_OPENAI:
    case PROVIDER_ANTHROPIC:
    case PROVIDER_GEMINI:
    case PROVIDER_MISTRAL:
        show_hosted(w, p);
        break;
    case PROVIDER_LOCAL:
        show_local(w, &p->local);
        break;
    case PROVIDER_RECORDED:
        field_str(w, 4, "file", p->file);
        break;
    }
    show_both(w, p);
    field_str(w, 4, "region", p->region);
    field_price(w, 4, &p->price);
    field_i64(w, 4, "max_concurrency", p->max_concurrency);
    field_i64(w, 4, "max_queue", p->max_queue);
    field_timeouts(w, 4, &p->timeouts);
}

static void show_model(struct show *w, const struct config_model *m)
{
    put_span(w, SPAN("  "));
    put_str(w, m->name);
    put_span(w, SPAN(":\n"));
    field_str(w, 4, "provider", m->provider->name);
    field_str(w, 4, "id", m->id);
    field_str(w, 4, "region", m->region);
    if (m->context > 0)
        field_i64(w, 4, "context", m->context);
    if (m->max_output > 0)
        field_i64(w, 4, "max_output", m->max_output);
    field_i64(w, 4, "default_max_tokens", m->default_max_tokens);
    field_price(w, 4, &m->price);
    field_caps(w, 4, &m->caps);
    field_i64(w, 4, "max_concurrency", m->max_concurrency);
    field_i64(w, 4, "max_queue", m->max_queue);
    field_timeouts(w, 4, &m->timeouts);
}

static void show_member(struct show *w, const struct recipe_member *m)
{
    put_span(w, SPAN("      - model: "));
    put_str(w, m->model);
    put_span(w, SPAN("\n"));
    if (m->samples > 1)
        field_i64(w, 8, "samples", m->samples);
    if (m->temperature.p)
        PUT(w, "        temperature: %.*s\n", SPAN_ARG(m->temperature));
    if (m->max_tokens >= 0)
        field_i64(w, 8, "max_tokens", m->max_tokens);
    if (fabs(m->weight - 1) > 0) {
        field(w, 8, "weight");
        put_double(w, m->weight);
        put_span(w, SPAN("\n"));
    }
    field_str(w, 8, "system", m->system);
    field_str(w, 8, "aspect", m->aspect);
    if (m->seed >= 0)
        field_i64(w, 8, "seed", m->seed);
}

static void show_answer(struct show *w, const struct recipe *r)
{
    if (r->answer == FUSION_ANSWER_REGEX) {
        put_span(w, SPAN("    answer: {regex: "));
        put_str(w, r->answer_regex);
        put_span(w, SPAN("}\n"));
    } else {
        field_str(w, 4, "answer", span_of(fusion_answer_name(r->answer)));
    }
}

static void show_recipe(struct show *w, const struct recipe *r)
{
    put_span(w, SPAN("  "));
    put_str(w, r->name);
    put_span(w, SPAN(":\n"));
    field_str(w, 4, "mode", span_of(fusion_mode_name(r->mode)));
    put_span(w, SPAN("    panel:\n"));
    for (size_t i = 0; i < r->n_panel; i++)
        show_member(w, &r->panel[i]);
    field_list(w, 4, "judge", r->judges, r->n_judges);
    field_str(w, 4, "criteria", r->criteria);
    if (r->quorum > 0)
        field_i64(w, 4, "quorum", r->quorum);
    if (r->grace_us >= 0)
        field_duration(w, 4, "grace_ms", r->grace_us);
    if (r->timeout_us > 0)
        field_duration(w, 4, "timeout_ms", r->timeout_us);
    if (r->max_cost_nusd >= 0) {
        field(w, 4, "max_cost_usd");
        put_nusd(w, r->max_cost_nusd);
        put_span(w, SPAN("\n"));
    }
    if (r->seed >= 0)
        field_i64(w, 4, "seed", r->seed);
    show_answer(w, r);
    field_bool(w, 4, "stream_members", r->stream_members);
    if (r->policy)
        field_str(w, 4, "policy", r->policy->name);
}

static void show_targets(struct show *w, const char *name, const struct config_target *t, size_t n)
{
    if (n == 0)
        return;
    PUT(w, "    %s:\n", name);
    for (size_t i = 0; i < n; i++) {
        put_span(w, SPAN("      - {model: "));
        put_str(w, t[i].name);
        put_span(w, SPAN(", weight: "));
        put_double(w, t[i].weight);
        put_span(w, SPAN("}\n"));
    }
}

static void show_alias(struct show *w, const struct config_alias *a)
{
    static const char *const sorts[] = {"none", "price", "latency", "throughput"};
    put_span(w, SPAN("  "));
    put_str(w, a->name);
    put_span(w, SPAN(":\n"));
    show_targets(w, "to", a->to, a->n_to);
    show_targets(w, "fallback", a->fallback, a->n_fallback);
    field_str(w, 4, "sort", span_of(sorts[a->sort]));
    if (a->policy)
        field_str(w, 4, "policy", a->policy->name);
}

static void show_routing(struct show *w, const struct config *c)
{
    PUT(w, "retries: {ambiguous: %s, budget_percent: %lld}\n",
        c->retry_ambiguous ? "true" : "false", (long long)c->retry_budget_percent);
    PUT(w, "breaker: {failures: %lld, open: ", (long long)c->breaker_failures);
    put_duration(w, c->breaker_open_us);
    put_span(w, SPAN("}\n"));
    put_span(w, c->n_policies > 0 ? SPAN("policies:\n") : SPAN("policies: {}\n"));
    for (size_t i = 0; i < c->n_policies; i++) {
        put_span(w, SPAN("  "));
        put_str(w, c->policies[i].name);
        put_span(w, SPAN(":\n"));
        field_list(w, 4, "regions", c->policies[i].regions, c->policies[i].n_regions);
    }
    put_span(w, c->n_aliases > 0 ? SPAN("aliases:\n") : SPAN("aliases: {}\n"));
    for (size_t i = 0; i < c->n_aliases; i++)
        show_alias(w, &c->aliases[i]);
}

bool config_show(const struct config *c, struct buf *out, struct err *e)
{
    struct show w = {.b = out, .e = e};
    size_t before = buf_span(out).n;
    show_edge(&w, c);
    put_span(&w, c->n_providers > 0 ? SPAN("providers:\n") : SPAN("providers: {}\n"));
    for (size_t i = 0; i < c->n_providers; i++)
        show_provider(&w, &c->providers[i]);
    put_span(&w, c->n_models > 0 ? SPAN("models:\n") : SPAN("models: {}\n"));
    for (size_t i = 0; i < c->n_models; i++)
        show_model(&w, &c->models[i]);
    put_span(&w, c->n_recipes > 0 ? SPAN("fusions:\n") : SPAN("fusions: {}\n"));
    for (size_t i = 0; i < c->n_recipes; i++)
        show_recipe(&w, &c->recipes[i]);
    show_routing(&w, c);
    if (w.failed)
        buf_cut(out, before);
    return !w.failed;
}
