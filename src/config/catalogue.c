/* config/catalogue.c - see config/catalogue.h. Reads the catalogue's text into plain values and
 * lets the tree go, so that what stays is small. Strict as the configuration is: a slip in the text
 * is an error at its place, which a test finds. */
#include <time.h>

#include "base/clock.h"
#include "base/limits.h"
#include "config/catalogue.h"
#include "config/config_priv.h"

#define MAX_FAMILIES 16
#define MAX_HOSTS    64
#define FACTOR_ONE   1000000000LL
#define MAX_FACTOR   (9 * FACTOR_ONE)

struct family {
    struct span name;
    struct map *models; /* id or alias -> struct catalogue_model */
    struct catalogue_model *list;
    size_t n_list;
};

struct named_host {
    struct span name;
    struct catalogue_host host;
};

struct catalogue {
    struct family families[MAX_FAMILIES];
    size_t n_families;
    struct named_host hosts[MAX_HOSTS];
    size_t n_hosts;
};

struct reading {
    struct arena *arena; /* of the values */
    struct catalogue *c;
    int64_t day;
};

static bool fail_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory while reading the catalogue");
}

/* --- small parts ----------------------------------------------------------------------------- */

/* "2026-11-25" as 20261125. */
static bool read_day(struct node n, int64_t *out, struct err *e)
{
    struct span text = {NULL, 0}, rest, year, month;
    int64_t y, m, d;
    if (!node_str(n, &text, e))
        return false;
    rest = text;
    if (text.n != 10 || !span_cut(&rest, '-', &year) || !span_cut(&rest, '-', &month) ||
        !span_to_i64(year, &y) || !span_to_i64(month, &m) || !span_to_i64(rest, &d) || m < 1 ||
        m > 12 || d < 1 || d > 31)
        return node_fail(n, e, "must be a day such as 2026-11-25");
    *out = y * 10000 + m * 100 + d;
    return true;
}

/* A group of figures says where they are from, and of which day that is. */
static bool check_group(struct node n, const char *const *keys, size_t n_keys, struct err *e)
{
    const char *known[24];
    struct span source = {NULL, 0};
    int64_t day;
    memcpy(known, keys, n_keys * sizeof *keys);
    known[n_keys++] = "source";
    known[n_keys++] = "date";
    if (!node_only(n, known, n_keys, e) || !node_str(node_get(n, "source"), &source, e))
        return false;
    if (source.n == 0 || node_kind_of(node_get(n, "date")) == NODE_ABSENT)
        return node_fail(n, e, "needs 'source' and 'date'");
    return read_day(node_get(n, "date"), &day, e);
}

static bool copy(struct reading *r, struct span *s, struct err *e)
{
    if (s->n == 0)
        return true;
    *s = arena_dup(r->arena, *s);
    return s->p || fail_memory(e);
}

/* --- where and how a family is served -------------------------------------------------------- */

static bool read_cancel(struct node n, bool *out_bills_on, struct err *e)
{
    static const char *const keys[] = {"closing"}, *const words[] = {"stops", "bills_on"};
    int word = 0;
    if (node_skip(n))
        return true;
    if (!check_group(n, keys, COUNT_OF(keys), e) ||
        !node_word(node_get(n, "closing"), words, COUNT_OF(words), &word, e))
        return false;
    *out_bills_on = word == 1;
    return true;
}

static bool read_host(struct reading *r, struct node n, struct named_host *h, struct err *e)
{
    static const char *const keys[] = {"region", "factor"};
    if (!node_only(n, keys, COUNT_OF(keys), e) ||
        !node_str(node_get(n, "region"), &h->host.region, e) ||
        !node_nusd(node_get(n, "factor"), &h->host.factor, e))
        return false;
    if (h->host.factor < 1 || h->host.factor > MAX_FACTOR)
        return node_fail(n, e, "needs a factor from 0.000000001 to 9");
    if (catalogue_host_find(r->c, h->name) || r->c->n_hosts == MAX_HOSTS)
        return node_fail(n, e, "stands here twice, or is one host too many");
    return copy(r, &h->name, e) && copy(r, &h->host.region, e);
}

static bool read_hosts(struct reading *r, struct node family, struct span name, struct err *e)
{
    static const char *const keys[] = {"at"};
    struct node n = node_get(family, "hosts"), at = node_get(n, "at");
    bool bills_on = false;
    if (node_kind_of(n) == NODE_ABSENT)
        return node_fail(family, e, "needs 'hosts'");
    if (!read_cancel(node_get(family, "cancel"), &bills_on, e) ||
        !check_group(n, keys, COUNT_OF(keys), e) || !node_is_map(at, e))
        return false;
    for (size_t i = 0; i < node_count(at); i++) {
        struct named_host h = {
            .host = {.family = name, .factor = FACTOR_ONE, .bills_on = bills_on}};
        struct node one = node_at(at, i, &h.name);
        if (!read_host(r, one, &h, e))
            return false;
        r->c->hosts[r->c->n_hosts++] = h;
    }
    return true;
}

/* --- one model ------------------------------------------------------------------------------- */

static bool read_window(struct node n, struct catalogue_model *m, struct err *e)
{
    static const char *const keys[] = {"context", "output"};
    if (node_skip(n))
        return true;
    return check_group(n, keys, COUNT_OF(keys), e) &&
           node_i64(node_get(n, "context"), 128, CONFIG_MAX_TOKENS, &m->context, e) &&
           node_i64(node_get(n, "output"), 1, CONFIG_MAX_TOKENS, &m->max_output, e);
}

/* What is announced replaces the price from its day on. */
static bool read_price(struct reading *r, struct node n, struct price *out, struct err *e)
{
    static const char *const keys[] = {CONFIG_RATE_KEYS, "next"};
    static const char *const next_keys[] = {CONFIG_RATE_KEYS, "from"};
    struct node next = node_get(n, "next");
    struct price later;
    int64_t from = 0;
    if (node_skip(n))
        return true;
    if (!check_group(n, keys, COUNT_OF(keys), e) || !config_read_rates(n, out, e))
        return false;
    if (node_skip(next))
        return true;
    if (!node_only(next, next_keys, COUNT_OF(next_keys), e) ||
        !config_read_rates(next, &later, e) || !read_day(node_get(next, "from"), &from, e))
        return false;
    if (r->day >= from)
        *out = later;
    return true;
}

static bool read_can(struct node n, struct config_caps *out, struct err *e)
{
    const char *keys[CONFIG_CAPS + 1] = {"efforts"};
    for (size_t i = 0; i < CONFIG_CAPS; i++)
        keys[i + 1] = config_cap_name((enum config_cap)i);
    if (node_skip(n))
        return true;
    return check_group(n, keys, COUNT_OF(keys), e) && config_read_can(n, out, e);
}

static bool read_retires(struct reading *r, struct node n, struct span *out, struct err *e)
{
    static const char *const keys[] = {"on"};
    int64_t day;
    if (node_skip(n))
        return true;
    return check_group(n, keys, COUNT_OF(keys), e) && read_day(node_get(n, "on"), &day, e) &&
           node_str(node_get(n, "on"), out, e) && copy(r, out, e);
}

static bool put_name(struct family *f, struct node n, struct span name, struct catalogue_model *m,
                     struct err *e)
{
    if (map_get(f->models, name))
        return node_fail(n, e, "'%.*s' names two models", SPAN_ARG(name));
    return map_put(f->models, name, m) || fail_memory(e);
}

static bool read_aliases(struct reading *r, struct family *f, struct node n,
                         struct catalogue_model *m, struct err *e)
{
    if (node_skip(n))
        return true;
    if (node_kind_of(n) != NODE_LIST)
        return node_fail(n, e, "must be a list of names");
    m->n_aliases = node_count(n);
    struct span *aliases = arena_array(r->arena, m->n_aliases, sizeof *aliases);
    if (!aliases)
        return fail_memory(e);
    for (size_t i = 0; i < m->n_aliases; i++) {
        struct node one = node_at(n, i, NULL);
        if (!node_str(one, &aliases[i], e) || !copy(r, &aliases[i], e) ||
            !put_name(f, one, aliases[i], m, e))
            return false;
    }
    m->aliases = aliases;
    return true;
}

static bool read_model(struct reading *r, struct family *f, struct node n, struct span id,
                       struct catalogue_model *m, struct err *e)
{
    static const char *const keys[] = {"aliases", "window", "price", "can", "retires"};
    *m = (struct catalogue_model){.id = id, .price = {-1, -1, -1, -1, false}};
    return node_only(n, keys, COUNT_OF(keys), e) && copy(r, &m->id, e) &&
           put_name(f, n, m->id, m, e) && read_aliases(r, f, node_get(n, "aliases"), m, e) &&
           read_window(node_get(n, "window"), m, e) &&
           read_price(r, node_get(n, "price"), &m->price, e) &&
           read_can(node_get(n, "can"), &m->caps, e) &&
           read_retires(r, node_get(n, "retires"), &m->retires, e);
}

/* --- the whole ------------------------------------------------------------------------------- */

static void drop_map(void *arg)
{
    map_free(arg);
}

static bool read_family(struct reading *r, struct node n, struct span name, struct err *e)
{
    static const char *const keys[] = {"hosts", "cancel", "models"};
    struct node models = node_get(n, "models");
    if (!node_only(n, keys, COUNT_OF(keys), e) || !node_is_map(models, e))
        return false;
    if (r->c->n_families == MAX_FAMILIES)
        return node_fail(n, e, "is one family too many");
    struct family *f = &r->c->families[r->c->n_families++];
    *f = (struct family){.name = name, .models = map_new(), .n_list = node_count(models)};
    f->list = arena_array(r->arena, f->n_list, sizeof *f->list);
    if (!f->models || !arena_defer(r->arena, drop_map, f->models)) {
        map_free(f->models);
        f->models = NULL;
        return fail_memory(e);
    }
    if (!f->list)
        return fail_memory(e);
    if (!copy(r, &f->name, e) || !read_hosts(r, n, f->name, e))
        return false;
    for (size_t i = 0; i < f->n_list; i++) {
        struct span id;
        struct node one = node_at(models, i, &id);
        if (!read_model(r, f, one, id, &f->list[i], e))
            return false;
    }
    return true;
}

bool catalogue_parse(struct arena *a, struct span text, const char *name, int64_t day,
                     struct catalogue **out, struct err *e)
{
    AUTO(arena) tree = arena_new(0);
    struct reading r = {.arena = a, .c = arena_alloc(a, sizeof *r.c), .day = day};
    struct node root;
    if (!tree || !r.c)
        return fail_memory(e);
    *r.c = (struct catalogue){0};
    if (!node_from_yaml(tree, text, name, &root, e) || !node_is_map(root, e))
        return false;
    for (size_t i = 0; i < node_count(root); i++) {
        struct span family;
        struct node one = node_at(root, i, &family);
        if (!read_family(&r, one, family, e))
            return false;
    }
    *out = r.c;
    return true;
}

bool catalogue_open(struct arena *a, int64_t day, struct catalogue **out, struct err *e)
{
    struct span text = span_make(catalogue_yaml, catalogue_yaml_n);
    return catalogue_parse(a, text, "(catalogue)", day, out, e);
}

int64_t catalogue_today(void)
{
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm day;
    if (!gmtime_r(&now, &day))
        return 0;
    return (day.tm_year + 1900LL) * 10000 + (day.tm_mon + 1) * 100 + day.tm_mday;
}

/* --- finding --------------------------------------------------------------------------------- */

const struct catalogue_host *catalogue_host_find(const struct catalogue *c, struct span host)
{
    for (size_t i = 0; c && i < c->n_hosts; i++)
        if (span_eq_nocase(c->hosts[i].name, host))
            return &c->hosts[i].host;
    return NULL;
}

static const struct family *find_family(const struct catalogue *c, struct span name)
{
    for (size_t i = 0; c && i < c->n_families; i++)
        if (span_eq(c->families[i].name, name))
            return &c->families[i];
    return NULL;
}

bool catalogue_find(const struct catalogue *c, struct span family, struct span host, struct span id,
                    struct catalogue_model *out)
{
    const struct catalogue_host *h = catalogue_host_find(c, host);
    if (family.n == 0 && h)
        family = h->family;
    const struct family *f = find_family(c, family);
    /* Google's list of models writes "models/gemini-..."; both forms are understood there. */
    if (span_starts(id, SPAN("models/")) && span_eq(family, SPAN("gemini")))
        id = span_from(id, 7);
    const struct catalogue_model *m = f ? map_get(f->models, id) : NULL;
    if (!m)
        return false;
    *out = *m;
    if (!h || !span_eq(h->family, family))
        out->price = (struct price){-1, -1, -1, -1, false};
    else
        config_scale_price(&out->price, h->factor);
    return true;
}

const struct catalogue_model *catalogue_at(const struct catalogue *c, size_t i,
                                           struct span *out_family)
{
    for (size_t k = 0; c && k < c->n_families; k++) {
        const struct family *f = &c->families[k];
        if (i < f->n_list) {
            *out_family = f->name;
            return &f->list[i];
        }
        i -= f->n_list;
    }
    return NULL;
}
