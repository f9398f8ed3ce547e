/* config/config_providers.c - the `providers` of the file; see config/config.h.
 *
 * Every kind has its own fields besides the common ones; a field of another kind is refused by
 * name, as it would otherwise be silently without effect. */
#include "config/config_priv.h"

#define MAX_CONCURRENCY 100000
#define MAX_CONTEXT     (1LL << 31)
#define MAX_UNIX_PATH   107 /* sun_path */

#define KIND(k)  (1U << PROVIDER_##k)
#define HOSTED   (KIND(OPENAI) | KIND(ANTHROPIC) | KIND(GEMINI) | KIND(MISTRAL))
#define ANY_KIND (HOSTED | KIND(LOCAL) | KIND(RECORDED))

/* Which kinds have which field. */
static const struct {
    const char *name;
    unsigned kinds;
} fields[] = {
    {"kind", ANY_KIND},
    {"region", ANY_KIND},
    {"price", ANY_KIND},
    {"max_concurrency", ANY_KIND},
    {"max_queue", ANY_KIND},
    {"timeouts", ANY_KIND},
    {"image_urls", HOSTED | KIND(LOCAL)},
    {"structured", HOSTED | KIND(LOCAL)},
    {"on_unsupported", HOSTED | KIND(LOCAL)},
    {"reasoning_tags", KIND(OPENAI) | KIND(LOCAL)},
    {"base_url", HOSTED},
    {"key", HOSTED},
    {"ca_file", HOSTED},
    {"proxy", HOSTED},
    {"proxy_auth", HOSTED},
    {"cancel", HOSTED},
    {"api", KIND(OPENAI)},
    {"stream_options", KIND(OPENAI)},
    {"max_tokens_field", KIND(OPENAI)},
    {"command", KIND(LOCAL)},
    {"model", KIND(LOCAL)},
    {"context", KIND(LOCAL)},
    {"parallel", KIND(LOCAL)},
    {"threads", KIND(LOCAL)},
    {"idle_stop", KIND(LOCAL)},
    {"start_timeout", KIND(LOCAL)},
    {"file", KIND(RECORDED)},
};
static const char *const later[] = {"policy", "drain", "headers", "retries"};

static const struct kind {
    const char *name;
    const char *dialect;  /* what it speaks; NULL: nothing */
    const char *base_url; /* where it is unless the file says; NULL: the file must */
    bool bills_on;        /* unless the file says: closing a connection does not stop the bill */
} kinds[] = {
    [PROVIDER_OPENAI] = {"openai", "openai_chat", NULL, false},
    [PROVIDER_ANTHROPIC] = {"anthropic", "anthropic_messages", "https://api.anthropic.com/v1",
                            false},
    /* OpenRouter's list of providers where a cancelled stream stops the bill has neither of these
     * (api_reference/streaming). */
    [PROVIDER_GEMINI] = {"gemini", "gemini", "https://generativelanguage.googleapis.com/v1beta",
                         true},
    [PROVIDER_MISTRAL] = {"mistral", "mistral", "https://api.mistral.ai/v1", true},
    [PROVIDER_LOCAL] = {"local", "openai_chat", NULL, false},
    [PROVIDER_RECORDED] = {"recorded", NULL, NULL, false},
};

const char *config_kind_name(enum provider_kind kind)
{
    return kinds[kind].name;
}

/* --- timeouts --------------------------------------------------------------------------------- */

static bool read_timeout(struct node n, int64_t *out_us, struct err *e)
{
    if (!node_duration(n, SECOND_US, out_us, e))
        return false;
    return *out_us > 0 || node_fail(n, e, "must be longer than 0");
}

bool config_read_timeouts(struct node n, struct timeouts *out, struct err *e)
{
    static const char *const keys[] = {"connect", "first_byte", "idle", "total"};
    return node_only(n, keys, COUNT_OF(keys), e) &&
           read_timeout(node_get(n, "connect"), &out->connect_us, e) &&
           read_timeout(node_get(n, "first_byte"), &out->first_byte_us, e) &&
           read_timeout(node_get(n, "idle"), &out->idle_us, e) &&
           read_timeout(node_get(n, "total"), &out->total_us, e);
}

/* --- providers on the network ---------------------------------------------------------------- */

static bool has_any(struct span s, const char *set)
{
    return span_find(s, set) < s.n;
}

static bool check_url(struct node n, struct span url, struct err *e)
{
    for (size_t i = 0; i < url.n; i++)
        if ((unsigned char)url.p[i] <= ' ' || (unsigned char)url.p[i] >= 0x7F)
            return node_fail(n, e, "must be plain ASCII without spaces");
    if (span_starts(url, SPAN("unix:"))) {
        struct span path = span_from(url, 5);
        path = span_upto(path, span_find(path, ":"));
        if (!span_starts(path, SPAN("/")) || path.n > MAX_UNIX_PATH)
            return node_fail(n, e,
                             "must be unix: and an absolute path of at most %d bytes, such "
                             "as unix:/run/vllm.sock:/v1",
                             MAX_UNIX_PATH);
        return true;
    }
    size_t skip = span_starts(url, SPAN("https://"))  ? 8
                  : span_starts(url, SPAN("http://")) ? 7
                                                      : 0;
    struct span rest = span_from(url, skip);
    struct span host = span_upto(rest, span_find(rest, "/?#"));
    if (skip == 0)
        return node_fail(n, e, "must begin with https://, http:// or unix:");
    /* Not repeated: what stands there may be a password. */
    if (has_any(host, "@"))
        return node_fail(n, e, "must not hold a user or password; use 'key'");
    if (host.n == 0 || host.p[0] == ':')
        return node_fail(n, e, "needs a host");
    if (has_any(rest, "?#"))
        return node_fail(n, e, "must not have a query or a fragment");
    return true;
}

struct span config_url_host(struct span url)
{
    size_t scheme = span_index(url, SPAN("://"));
    if (scheme == url.n)
        return SPAN("");
    struct span host = span_from(url, scheme + 3);
    return span_upto(host, span_find(host, ":/"));
}

static bool read_url(struct node n, struct node provider, enum provider_kind kind, struct span *out,
                     struct err *e)
{
    struct span url = kinds[kind].base_url ? span_of(kinds[kind].base_url) : SPAN("");
    if (!node_str(n, &url, e))
        return false;
    if (url.n == 0)
        return node_fail(provider, e, "needs 'base_url', such as https://api.example.com/v1");
    if (!check_url(n, url, e))
        return false;
    while (span_ends(url, SPAN("/")))
        url = span_upto(url, url.n - 1);
    *out = url;
    return true;
}

static bool read_proxy_url(struct node n, struct span *out, struct err *e)
{
    struct span url = SPAN("none");
    if (!node_str(n, &url, e))
        return false;
    if (span_eq(url, SPAN("none")))
        return true;
    if (!span_starts(url, SPAN("http://")))
        return node_fail(n, e, "must be none, or a proxy such as http://proxy.example.com:3128");
    if (has_any(url, "@")) /* not repeated: what stands there may be a password */
        return node_fail(n, e, "must not hold a user or password; use 'proxy_auth'");
    if (!check_url(n, url, e))
        return false;
    if (span_ends(url, SPAN("/")))
        url = span_upto(url, url.n - 1);
    if (has_any(span_from(url, 7), "/"))
        return node_fail(n, e, "must be a host and a port, without a path");
    *out = url;
    return true;
}

/* RFC 7617: what stands before the first colon is the user. */
static bool read_proxy_auth(struct snapshot *s, struct node n, struct config_provider *p,
                            struct err *e)
{
    if (!config_read_key(n, s, &p->proxy_auth_ref, &p->proxy_auth, e))
        return false;
    if (!p->proxy_auth)
        return true;
    if (p->proxy.n == 0)
        return node_fail(n, e, "is for a 'proxy', and there is none");
    return has_any(secret_reveal(p->proxy_auth), ":") ||
           node_fail(n, e, "must be of the form user:password");
}

static bool read_proxy(struct snapshot *s, struct node provider, struct config_provider *p,
                       struct err *e)
{
    struct node n = node_get(provider, "proxy");
    if (!read_proxy_url(n, &p->proxy, e))
        return false;
    if (p->proxy.n > 0 && span_starts(p->base_url, SPAN("unix:")))
        return node_fail(n, e, "leads to no Unix socket, which 'base_url' is");
    return read_proxy_auth(s, node_get(provider, "proxy_auth"), p, e);
}

/* An engine on this machine or in this network fetches what a request names from inside that
 * network, where clients may have no business: such URLs do not pass unless the file says so. */
static bool is_private(struct span url)
{
    static const struct span nets[] = {
        SPAN_INIT("10."),      SPAN_INIT("127."),  SPAN_INIT("192.168."),
        SPAN_INIT("169.254."), SPAN_INIT("[::1]"), SPAN_INIT("[fd"),
        SPAN_INIT("[fc"),      SPAN_INIT("[fe80"), SPAN_INIT("0."),
    };
    struct span host = span_from(url, span_index(url, SPAN("://")) + 3), net;
    int64_t second;
    if (span_starts(url, SPAN("unix:")))
        return true;
    host = span_upto(host, span_find(host, "/"));
    for (size_t i = 0; i < COUNT_OF(nets); i++)
        if (span_starts(host, nets[i]))
            return true;
    if (span_starts(host, SPAN("172."))) {
        net = span_from(host, 4);
        return span_to_i64(span_upto(net, span_find(net, ".")), &second) && second >= 16 &&
               second < 32;
    }
    host = span_upto(host, span_find(host, ":"));
    /* A name without a dot is no public one. */
    return span_find(host, ".") == host.n || span_ends(host, SPAN(".local")) ||
           span_ends(host, SPAN(".internal")) || span_ends(host, SPAN(".localhost"));
}

/* Two words: *out says whether it is the second. */
static bool read_choice(struct node n, const char *no, const char *yes, bool *out, struct err *e)
{
    const char *words[] = {no, yes};
    int at = *out;
    if (!node_word(n, words, 2, &at, e))
        return false;
    *out = at == 1;
    return true;
}

/* What the catalogue knows of the place; what the file says is read over it. */
static bool fill_known(struct snapshot *s, struct config_provider *p, struct err *e)
{
    if (!s->catalogue && !catalogue_open(s->arena, catalogue_today(), &s->catalogue, e))
        return false;
    const struct catalogue_host *h =
        catalogue_host_find(s->catalogue, config_url_host(p->base_url));
    if (!h)
        return true;
    p->region = h->region;
    p->cancel_bills_on = h->bills_on;
    return true;
}

static bool read_hosted(struct snapshot *s, struct node n, struct config_provider *p, struct err *e)
{
    struct span ca_file = SPAN("none");
    bool responses = false;
    bool ok =
        read_url(node_get(n, "base_url"), n, p->kind, &p->base_url, e) && fill_known(s, p, e) &&
        config_read_key(node_get(n, "key"), s, &p->key_ref, &p->key, e) &&
        node_str(node_get(n, "ca_file"), &ca_file, e) && read_proxy(s, n, p, e) &&
        read_choice(node_get(n, "stream_options"), "send", "omit", &p->omit_stream_options, e) &&
        read_choice(node_get(n, "max_tokens_field"), "max_tokens", "max_completion_tokens",
                    &p->max_completion_tokens, e) &&
        read_choice(node_get(n, "cancel"), "stops", "bills_on", &p->cancel_bills_on, e) &&
        read_choice(node_get(n, "api"), "chat", "responses", &responses, e);
    p->ca_file = span_eq(ca_file, SPAN("none")) ? SPAN("") : ca_file;
    p->refuse_image_urls = ok && is_private(p->base_url);
    if (responses)
        p->dialect = "openai_responses";
    return ok;
}

/* --- kind: local, recorded ------------------------------------------------------------------- */

static bool check_argument(struct node n, struct span arg, struct err *e)
{
    return arg.p || node_fail(n, e, "must be text");
}

static bool read_command(struct snapshot *s, struct node n, struct config_local *l, struct err *e)
{
    if (node_skip(n))
        return true;
    if (node_kind_of(n) != NODE_LIST || node_count(n) == 0)
        return node_fail(n, e, "must be a list: the program, then each argument");
    if (!config_read_list(s, n, check_argument, &l->command, &l->n_command, e))
        return false;
    if (l->command[0].n == 0)
        return node_fail(n, e, "names no program");
    for (size_t i = 0; i < l->n_command; i++)
        if (span_index(l->command[i], SPAN("{port}")) < l->command[i].n)
            return true;
    return node_fail(n, e, "needs {port} in an argument, so that fusor knows where it listens");
}

static bool read_local(struct snapshot *s, struct node n, struct config_provider *p, struct err *e)
{
    struct config_local *l = &p->local;
    *l = (struct config_local){.context = 8192,
                               .parallel = 4,
                               .idle_stop_us = 600 * SECOND_US,
                               .start_timeout_us = 120 * SECOND_US};
    bool ok = read_command(s, node_get(n, "command"), l, e) &&
              node_str(node_get(n, "model"), &l->model_file, e) &&
              node_i64(node_get(n, "context"), 128, MAX_CONTEXT, &l->context, e) &&
              node_i64(node_get(n, "parallel"), 1, 256, &l->parallel, e) &&
              node_i64(node_get(n, "threads"), 0, 1024, &l->threads, e) &&
              node_duration(node_get(n, "idle_stop"), SECOND_US, &l->idle_stop_us, e) &&
              read_timeout(node_get(n, "start_timeout"), &l->start_timeout_us, e);
    p->max_concurrency = l->parallel;
    p->refuse_image_urls = true;
    return ok;
}

static bool read_recorded(struct node n, struct config_provider *p, struct err *e)
{
    if (!node_str(node_get(n, "file"), &p->file, e))
        return false;
    return p->file.n > 0 || node_fail(n, e, "needs 'file', the path of the recorded answers");
}

/* --- one provider ---------------------------------------------------------------------------- */

static bool read_kind(struct node provider, enum provider_kind *out, struct err *e)
{
    struct node n = node_get(provider, "kind");
    const char *words[COUNT_OF(kinds)];
    int at = 0;
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        words[i] = kinds[i].name;
    if (node_skip(n))
        return node_fail(provider, e,
                         "needs 'kind': openai, anthropic, gemini, mistral, local or recorded");
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    *out = (enum provider_kind)at;
    return true;
}

static const char *first_kind(unsigned mask)
{
    size_t k = 0;
    while (!(mask & 1U << k))
        k++;
    return kinds[k].name;
}

/* Refuses unknown fields, and those of another kind by saying whose they are. */
static bool check_fields(struct node n, enum provider_kind kind, struct err *e)
{
    const char *known[COUNT_OF(fields)];
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        struct node field = node_get(n, fields[i].name);
        known[i] = fields[i].name;
        if (!(fields[i].kinds & 1U << kind) && node_kind_of(field) != NODE_ABSENT)
            return node_fail(field, e, "belongs to 'kind: %s', this one is 'kind: %s'",
                             first_kind(fields[i].kinds), kinds[kind].name);
    }
    return node_only_now(n, known, COUNT_OF(known), later, COUNT_OF(later), e);
}

static bool read_structured(struct node n, enum config_structured *out, struct err *e)
{
    static const char *const words[] = {"native", "json_object", "prompt"};
    int at = (int)*out;
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    *out = (enum config_structured)at;
    return true;
}

static bool read_unsupported(struct node n, enum config_unsupported *out, struct err *e)
{
    static const char *const words[] = {"reject", "warn", "drop"};
    int at = (int)*out;
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    *out = (enum config_unsupported)at;
    return true;
}

static bool read_provider(struct snapshot *s, struct node n, struct span name,
                          struct config_provider *p, struct err *e)
{
    *p = (struct config_provider){
        .name = name,
        .price = {-1, -1, -1, -1, false},
        .max_queue = 128,
        .timeouts = {3 * SECOND_US, 120 * SECOND_US, 300 * SECOND_US, 900 * SECOND_US}};
    if (!config_check_name(n, name, false, e))
        return false;
    if (node_skip(n) || node_kind_of(n) != NODE_MAP)
        return node_fail_type(n, "a map of fields", e);
    if (!read_kind(n, &p->kind, e) || !check_fields(n, p->kind, e))
        return false;
    bool ok = false;
    p->dialect = kinds[p->kind].dialect;
    p->cancel_bills_on = kinds[p->kind].bills_on;
    p->keep_tags = p->kind != PROVIDER_OPENAI && p->kind != PROVIDER_LOCAL;
    switch (p->kind) {
    case PROVIDER_OPENAI:
    case PROVIDER_ANTHROPIC:
    case PROVIDER_GEMINI:
    case PROVIDER_MISTRAL:
        ok = read_hosted(s, n, p, e);
        break;
    case PROVIDER_LOCAL:
        ok = read_local(s, n, p, e);
        break;
    case PROVIDER_RECORDED:
        ok = read_recorded(n, p, e);
        break;
    }
    if (!config_is_hosted(p)) {
        p->has_price = true;
        p->price = (struct price){0, 0, 0, 0, true};
    }
    struct node region = node_get(n, "region");
    return ok && node_str(region, &p->region, e) &&
           (p->region.n == 0 || config_check_name(region, p->region, false, e)) &&
           read_choice(node_get(n, "image_urls"), "pass", "refuse", &p->refuse_image_urls, e) &&
           read_choice(node_get(n, "reasoning_tags"), "think", "none", &p->keep_tags, e) &&
           read_structured(node_get(n, "structured"), &p->structured, e) &&
           read_unsupported(node_get(n, "on_unsupported"), &p->unsupported, e) &&
           config_read_price(node_get(n, "price"), &p->has_price, &p->price, e) &&
           node_i64(node_get(n, "max_concurrency"), 0, MAX_CONCURRENCY, &p->max_concurrency, e) &&
           node_i64(node_get(n, "max_queue"), 0, MAX_CONCURRENCY, &p->max_queue, e) &&
           config_read_timeouts(node_get(n, "timeouts"), &p->timeouts, e);
}

bool config_read_providers(struct snapshot *s, struct node n, struct err *e)
{
    if (!node_is_map(n, e))
        return false;
    size_t count = node_count(n);
    struct config_provider *providers = arena_array(s->arena, count, sizeof *providers);
    if (!providers)
        return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    for (size_t i = 0; i < count; i++) {
        struct span name;
        struct node one = node_at(n, i, &name);
        if (!read_provider(s, one, name, &providers[i], e))
            return false;
        if (!map_put(s->providers, name, &providers[i]))
            return err_set(e, ERR_NOMEM, "out of memory while reading the configuration");
    }
    s->c.providers = providers;
    s->c.n_providers = count;
    return true;
}
