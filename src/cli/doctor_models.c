/* cli/doctor_models.c - providers: can they be reached or started, do they take their key, do they
 * have the models? See cli/doctor.h. */
#include "base/text.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/probe.h"
#include "upstream/child.h"
#include "upstream/recording.h"

/* --- models ----------------------------------------------------------------------------------- */

/* Gemini lists "models/ID", Ollama "ID:latest", Anthropic and others "ID-20250929". */
static bool means(struct span listed, struct span id)
{
    static const struct span prefix = SPAN_INIT("models/");
    if (span_starts(listed, prefix))
        listed = span_from(listed, prefix.n);
    if (!span_starts(listed, id))
        return false;
    struct span rest = span_from(listed, id.n);
    int64_t day;
    return rest.n == 0 || span_eq(rest, SPAN(":latest")) ||
           (rest.n == 9 && rest.p[0] == '-' && span_to_i64(span_from(rest, 1), &day));
}

void doctor_model(struct doctor *d, const char *name, const struct config_model *m)
{
    json_val *v, *ids = d->providers[m->provider - d->config->providers].ids;
    struct text_near near;
    if (!ids)
        return;
    text_near_init(&near, m->id, 1);
    for (struct json_iter it = json_iter_of(ids); json_next(&it, NULL, &v);) {
        struct span id = json_str(json_get(v, "id"));
        if (means(id, m->id))
            return;
        text_near_offer(&near, id);
    }
    doctor_add(d, DOCTOR_WARN, name, "%.*s does not list \"%.*s\"", SPAN_ARG(m->provider->name),
               SPAN_ARG(m->id));
    if (near.n > 0)
        doctor_fix(d, "did you mean \"%.*s\"?", SPAN_ARG(near.best[0]));
    else
        doctor_fix(d, "%.*s/models is the list", SPAN_ARG(m->provider->base_url));
}

static void check_models(struct doctor *d, const struct config_provider *p)
{
    for (size_t i = 0; i < d->config->n_models; i++)
        if (d->config->models[i].provider == p)
            doctor_model(d, doctor_name(d, "model", d->config->models[i].name),
                         &d->config->models[i]);
}

/* --- kind: openai ----------------------------------------------------------------------------- */

static void fix_key(struct doctor *d, const struct config_provider *p)
{
    struct span value = p->key_ref, scheme;
    if (!span_cut(&value, ':', &scheme))
        doctor_fix(d, "give it one: `key: env:NAME` or `key: file:PATH`");
    else if (span_eq(scheme, SPAN("env")))
        doctor_fix(d, "set $%.*s to a key that holds", SPAN_ARG(value));
    else
        doctor_fix(d, "put a key that holds into %.*s", SPAN_ARG(value));
}

/* What the provider's own settings are to curl, " -x PROXY --cacert FILE"; in the arena. */
static const char *curl_options(struct doctor *d, const struct config_provider *p)
{
    bool proxy = p->proxy.n > 0, ca = p->ca_file.n > 0;
    struct span all = arena_printf(d->arena, "%s%.*s%s%s", proxy ? " -x " : "", SPAN_ARG(p->proxy),
                                   ca ? " --cacert " : "", ca ? doctor_word(d, p->ca_file) : "");
    return all.p ? all.p : "";
}

static void fix_unreached(struct doctor *d, const struct config_provider *p, int status)
{
    static const struct span scheme = SPAN_INIT("unix:");
    struct span base = p->base_url, path;
    if (status >= 500) {
        doctor_fix(d, "wait and look again, or ask who runs it");
    } else if (span_starts(base, scheme)) {
        base = span_from(base, scheme.n);
        (void)span_cut(&base, ':', &path);
        doctor_fix(d, "start it, or correct `base_url`: curl --unix-socket %s http://x%.*s/models",
                   doctor_word(d, path), SPAN_ARG(base));
    } else {
        doctor_fix(d,
                   "start it, or correct `base_url`%s; this should answer: curl -sS%s %.*s/models",
                   p->proxy.n > 0 ? " or `proxy`" : "", curl_options(d, p), SPAN_ARG(base));
    }
}

/* False: it holds no list, or not the whole of it. */
static bool read_list(struct doctor *d, const struct fetch *f, json_val **out)
{
    json_val *root;
    if (!json_parse(d->arena, buf_span(f->out), &root, NULL))
        return false;
    *out = json_is_arr(root) ? root : json_get(root, "data");
    return json_is_arr(*out) && !json_true(json_get(root, "has_more"));
}

static void check_answer(struct doctor *d, const struct config_provider *p, const struct fetch *f)
{
    struct doctor_provider *mine = &d->providers[p - d->config->providers];
    const char *name = doctor_name(d, "provider", p->name);
    struct probe said;
    probe_read(f, &said);
    mine->usable = said.word == PROBE_OK || said.word == PROBE_ODD;
    switch (said.word) {
    case PROBE_OK:
        if (!read_list(d, f, &mine->ids))
            mine->ids = NULL;
        doctor_add(d, DOCTOR_OK, name, "%s", said.text);
        break;
    case PROBE_ODD:
        doctor_add(d, DOCTOR_WARN, name, "asked for its models: %s", said.text);
        doctor_fix(d, "calls may work all the same; this shows its answer: curl -sS%s %.*s/models",
                   curl_options(d, p), SPAN_ARG(p->base_url));
        break;
    case PROBE_BAD_KEY:
        doctor_add(d, DOCTOR_BAD, name, "%s", said.text);
        fix_key(d, p);
        break;
    case PROBE_UNREACHED:
        doctor_add(d, DOCTOR_BAD, name, "%s", said.text);
        fix_unreached(d, p, f->status);
        break;
    }
    check_models(d, p);
}

/* --- kind: local ------------------------------------------------------------------------------ */

static struct span state_of(const struct doctor *d, struct span name)
{
    json_val *v;
    for (struct json_iter it = json_iter_of(json_get(d->state, "providers"));
         json_next(&it, NULL, &v);)
        if (span_eq(json_str(json_get(v, "name")), name))
            return json_str(json_get(v, "state"));
    return SPAN("");
}

/* "; not in A, nor in B"; in the arena. */
static const char *places(struct doctor *d)
{
    char place[PATH_MAX];
    struct span all = SPAN("");
    for (size_t i = 0; all.p && app_runtime_place(i, place, sizeof place); i++)
        all = arena_printf(d->arena, "%.*s%s in %s", SPAN_ARG(all), i == 0 ? "; not" : ", nor",
                           place);
    return all.p ? all.p : "";
}

static void fix_local(struct doctor *d, const struct config_provider *p)
{
    if (p->local.n_command > 0) {
        doctor_fix(d, "correct `command` and `model` of the provider, or install what is missing");
        return;
    }
    doctor_fix(d, "where fusor was built: make demo, or: runtime/setup.sh .runtime");
    doctor_fix(d, "or give a local provider a `command` of its own");
}

static bool check_local(struct doctor *d, const char *name, const struct config_provider *p,
                        enum doctor_status missing)
{
    char runtime[PATH_MAX] = "";
    struct err e = {0};
    struct span state = state_of(d, p->name);
    if (!app_runtime_dir(runtime, sizeof runtime))
        runtime[0] = '\0';
    if (!child_check(p, runtime, &e)) {
        bool nowhere = p->local.n_command == 0 && runtime[0] == '\0';
        doctor_add(d, missing, name, "%s%s", e.msg, nowhere ? places(d) : "");
        fix_local(d, p);
        return false;
    }
    if (span_eq(state, SPAN("failing"))) {
        doctor_add(d, DOCTOR_BAD, name, "its last start failed");
        doctor_fix(d, "the log of the server says why, and so does a call: fusor ask -m MODEL Hi");
        return false;
    }
    if (p->local.n_command > 0)
        doctor_add(d, DOCTOR_OK, name, "%.*s is there%s%.*s", SPAN_ARG(p->local.command[0]),
                   state.n ? ", " : "", SPAN_ARG(state));
    else
        doctor_add(d, DOCTOR_OK, name, "the embedded runtime is in %s%s%.*s", runtime,
                   state.n ? ", " : "", SPAN_ARG(state));
    return true;
}

void doctor_runtime(struct doctor *d)
{
    const struct config_provider embedded = {.name = SPAN("local"), .kind = PROVIDER_LOCAL};
    (void)check_local(d, "runtime", &embedded, DOCTOR_WARN);
}

/* --- kind: recorded --------------------------------------------------------------------------- */

static bool check_recorded(struct doctor *d, const char *name, const struct config_provider *p)
{
    struct err e = {0};
    AUTO(recording) r = recording_load(p->file, &e);
    if (r) {
        doctor_add(d, DOCTOR_OK, name, "%.*s can be read", SPAN_ARG(p->file));
        return true;
    }
    doctor_add(d, DOCTOR_BAD, name, "%s", e.msg);
    doctor_fix(d, "correct that file, or name another in `file`");
    return false;
}

/* --- all -------------------------------------------------------------------------------------- */

static void check_provider(struct doctor *d, const struct config_provider *p, const struct fetch *f)
{
    struct doctor_provider *mine = &d->providers[p - d->config->providers];
    const char *name = doctor_name(d, "provider", p->name);
    switch (p->kind) {
    case PROVIDER_OPENAI:
    case PROVIDER_ANTHROPIC:
    case PROVIDER_GEMINI:
    case PROVIDER_MISTRAL:
        if (!d->offline)
            check_answer(d, p, f);
        break;
    case PROVIDER_LOCAL:
        mine->usable =
            check_local(d, name, p, doctor_recipe_needs(d->config, p) ? DOCTOR_BAD : DOCTOR_WARN);
        break;
    case PROVIDER_RECORDED:
        mine->usable = check_recorded(d, name, p);
        break;
    }
}

void doctor_providers(struct doctor *d)
{
    const struct config *c = d->config;
    size_t n = 0;
    struct fetch *f = arena_array(d->arena, c->n_providers, sizeof *f);
    struct buf *b = arena_array(d->arena, c->n_providers, sizeof *b);
    d->providers = arena_array(d->arena, c->n_providers, sizeof *d->providers);
    if (!f || !b || !d->providers)
        return;
    for (size_t i = 0; i < c->n_providers; i++) {
        d->providers[i].usable = true;
        if (!config_is_hosted(&c->providers[i]))
            continue;
        buf_init(&b[n], PROBE_BODY_BYTES);
        f[n].out = &b[n];
        probe_models(&f[n++], &c->providers[i]);
    }
    if (!d->offline)
        fetch_all(f, n);
    n = 0;
    for (size_t i = 0; i < c->n_providers; i++)
        check_provider(d, &c->providers[i], config_is_hosted(&c->providers[i]) ? &f[n++] : NULL);
    for (size_t i = 0; i < n; i++)
        buf_done(&b[i]);
}
