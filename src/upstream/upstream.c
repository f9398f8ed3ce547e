/* upstream/upstream.c - see upstream/upstream.h. What a snapshot's providers need to be called,
 * what a worker has of them, and the choice of how a model is called. Not here: the calls
 * (attempt.c, recorded.c). */
#include "base/mem.h"
#include "upstream/upstream_priv.h"

/* --- shared
 * --------------------------------------------------------------------------------------- */

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the providers");
}

/* Providers that are verified the same way share one context: loading the system's CAs takes
 * milliseconds and megabytes. */
static bool load_tls(struct upstream_shared *s, struct up_provider *p, struct err *e)
{
    struct span ca = p->config->ca_file;
    for (const struct up_provider *other = s->providers; other < p; other++)
        if (other->tls != NULL && span_eq(other->config->ca_file, ca)) {
            p->tls = tls_ref(other->tls);
            return true;
        }
    char *path = NULL;
    if (ca.n > 0 && (path = mem_dup(ca.p, ca.n)) == NULL)
        return no_memory(e);
    p->tls = tls_client_new(path, e);
    mem_free(path);
    return p->tls != NULL;
}

/* The value of the header that carries the key. */
static bool load_key(struct up_provider *p, struct err *e)
{
    if (p->config->key == NULL)
        return true;
    struct span key = secret_reveal(p->config->key);
    bool bearer = strcmp(p->dialect->key_header, "authorization") == 0;
    struct buf b;
    buf_init(&b, key.n + 16);
    bool ok = buf_add(&b, bearer ? SPAN("Bearer ") : SPAN(""), e) && buf_add(&b, key, e);
    if (ok && (p->key = secret_new(buf_span(&b))) == NULL)
        ok = no_memory(e);
    if (b.mem != NULL)
        explicit_bzero(b.mem, b.cap);
    buf_done(&b);
    return ok;
}

static bool load_hosted(struct upstream_shared *s, struct up_provider *p, struct err *e)
{
    const struct config_provider *c = p->config;
    if (!http_origin_parse(c->base_url, &p->origin, e) || !load_key(p, e))
        return false;
    if (c->proxy.n > 0 && !http_origin_parse(c->proxy, &p->proxy, e))
        return err_prefix(e, "proxy");
    return !p->origin.tls || load_tls(s, p, e);
}

static bool load_provider(struct upstream_shared *s, struct up_provider *p, struct err *e)
{
    const struct config_provider *c = p->config;
    if (c->kind == PROVIDER_RECORDED) {
        p->recording = recording_load(c->file, e);
        return p->recording != NULL;
    }
    p->dialect = dialect_find(span_of(c->dialect));
    if (p->dialect == NULL)
        return err_set(e, ERR_STATE, "the dialect %s is not built in", c->dialect);
    return !config_is_hosted(c) || load_hosted(s, p, e);
}

struct upstream_shared *upstream_shared_new(const struct config *c, struct err *e)
{
    AUTO(upstream_shared) s = mem_zalloc(sizeof *s);
    if (s == NULL || (s->providers = mem_zalloc(c->n_providers * sizeof *s->providers)) == NULL) {
        no_memory(e);
        return NULL;
    }
    s->config = c;
    for (; s->n_providers < c->n_providers; s->n_providers++) {
        struct up_provider *p = &s->providers[s->n_providers];
        p->config = &c->providers[s->n_providers];
        if (load_provider(s, p, e))
            continue;
        err_prefix(e, "provider %.*s", SPAN_ARG(p->config->name));
        s->n_providers++; /* half-built: freed too */
        return NULL;
    }
    return TAKE(s);
}

void upstream_shared_free(struct upstream_shared *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_providers; i++) {
        tls_free(s->providers[i].tls);
        secret_free(s->providers[i].key);
        recording_free(s->providers[i].recording);
    }
    mem_free(s->providers);
    mem_free(s);
}

/* --- per worker
 * ----------------------------------------------------------------------------------- */

struct upstream *upstream_new(const struct upstream_env *env, struct upstream_shared *shared,
                              struct err *e)
{
    struct upstream *u = mem_zalloc(sizeof *u);
    if (u == NULL) {
        no_memory(e);
        return NULL;
    }
    u->env = *env;
    u->shared = shared;
    list_init(&u->calls);
    list_init(&u->idle);
    return u;
}

void upstream_free(struct upstream *u)
{
    if (u == NULL)
        return;
    struct list *n;
    while ((n = list_pop(&u->calls)) != NULL) {
        struct upstream_node *call = LIST_ENTRY(n, struct upstream_node, node);
        call->drop(call);
    }
    upstream_free_idle(u);
    mem_free(u);
}

const struct up_provider *upstream_provider_of(const struct upstream *u,
                                               const struct config_model *m)
{
    const struct upstream_shared *s = u->shared;
    for (size_t i = 0; i < s->n_providers; i++)
        if (s->providers[i].config == m->provider)
            return &s->providers[i];
    return NULL;
}

bool upstream_takes(const struct config_model *m, const struct chat_request *r, struct err *e)
{
    const char *name = m->provider->dialect;
    const struct dialect *d = name != NULL ? dialect_find(span_of(name)) : NULL;
    if (r->pass == NULL || (d != NULL && d->passes))
        return true;
    err_field(e, "model",
              "%.*s: %.*s are passed on as they are, to providers of kind openai (api: chat), "
              "mistral and local; %.*s is none of them",
              SPAN_ARG(m->name), SPAN_ARG(r->dialect), SPAN_ARG(m->provider->name));
    return err_with_code(e, "unsupported_by_upstream");
}

/* --- sources
 * -------------------------------------------------------------------------------------- */

void upstream_source_init(struct upstream_source *s, struct upstream *u,
                          const struct config_model *m)
{
    bool recorded = m->provider->kind == PROVIDER_RECORDED;
    s->source.ops = recorded ? &upstream_recorded_ops : &upstream_http_ops;
    s->upstream = u;
    s->model = m;
}
