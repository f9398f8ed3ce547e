/* route/prefs.c - see route/prefs.h. */
#include "route/prefs.h"

#include "config/node.h"

#define MAX_NAMES 32

static bool read_names(struct arena *a, struct node n, const struct span **out, size_t *out_n,
                       struct err *e)
{
    enum node_kind kind = node_kind_of(n);
    if (kind == NODE_ABSENT)
        return true;
    size_t count = node_count(n);
    if (kind != NODE_LIST || count > MAX_NAMES)
        return node_fail(n, e, "must be a list of up to %d names of providers", MAX_NAMES);
    struct span *names = arena_array(a, count, sizeof *names);
    if (!names)
        return err_set(e, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        if (!node_str(node_at(n, i, NULL), &names[i], e))
            return false;
    *out = names;
    *out_n = count;
    return true;
}

static bool read_sort(struct node n, struct route_prefs *p, struct err *e)
{
    static const char *const words[] = {"price", "latency", "throughput"};
    static const char *const keys[] = {"by", "partition"};
    int at = 0;
    if (node_kind_of(n) == NODE_MAP) {
        if (!node_only(n, keys, COUNT_OF(keys), e))
            return false;
        n = node_get(n, "by");
    }
    if (node_kind_of(n) == NODE_ABSENT)
        return true;
    if (!node_word(n, words, COUNT_OF(words), &at, e))
        return false;
    p->has_sort = true;
    p->sort = (enum config_sort)(CONFIG_SORT_PRICE + at);
    return true;
}

static bool read_max_price(struct node n, struct route_prefs *p, struct err *e)
{
    static const char *const keys[] = {"prompt", "completion"};
    return node_only(n, keys, COUNT_OF(keys), e) &&
           node_nusd(node_get(n, "prompt"), &p->max_input_nusd, e) &&
           node_nusd(node_get(n, "completion"), &p->max_output_nusd, e);
}

/* Promises that only a contract with the provider could make. */
static bool refuse_promises(struct node n, struct err *e)
{
    static const char *const never[] = {"zdr", "enforce_distillable_text", "quantizations"};
    struct node collection = node_get(n, "data_collection");
    struct span word = SPAN("allow");
    bool wanted = false;
    for (size_t i = 0; i < COUNT_OF(never); i++) {
        struct node field = node_get(n, never[i]);
        if (node_kind_of(field) == NODE_ABSENT || (node_bool(field, &wanted, NULL) && !wanted))
            continue;
        return node_fail(field, e,
                         "cannot be promised here: leave it out, and list only providers "
                         "that you have such an agreement with");
    }
    if (!node_str(collection, &word, e))
        return false;
    return span_eq(word, SPAN("allow")) ||
           node_fail(collection, e,
                     "cannot be promised here: list only providers that you have "
                     "such an agreement with");
}

static void note_ignored(struct node n, const char *name, struct route_prefs *p)
{
    if (node_kind_of(n) != NODE_ABSENT && node_kind_of(n) != NODE_NULL)
        p->ignored[p->n_ignored++] = span_of(name);
}

bool prefs_read(struct arena *a, struct span text, struct route_prefs *out, struct err *e)
{
    static const char *const keys[] = {
        "order",
        "only",
        "ignore",
        "sort",
        "max_price",
        "allow_fallbacks",
        "data_collection",
        "zdr",
        "enforce_distillable_text",
        "quantizations",
        "require_parameters",
        "preferred_min_throughput",
        "preferred_max_latency",
    };
    struct node n;
    bool fallbacks = true, exact = false;
    *out = (struct route_prefs){.max_input_nusd = -1, .max_output_nusd = -1};
    if (!text.p)
        return true;
    if (!node_from_json(a, text, "provider", &n, e) || !node_only(n, keys, COUNT_OF(keys), e) ||
        !read_names(a, node_get(n, "order"), &out->order, &out->n_order, e) ||
        !read_names(a, node_get(n, "only"), &out->only, &out->n_only, e) ||
        !read_names(a, node_get(n, "ignore"), &out->ignore, &out->n_ignore, e) ||
        !read_sort(node_get(n, "sort"), out, e) ||
        !read_max_price(node_get(n, "max_price"), out, e) ||
        !node_bool(node_get(n, "allow_fallbacks"), &fallbacks, e) ||
        !node_bool(node_get(n, "require_parameters"), &exact, e))
        return false;
    out->no_fallbacks = !fallbacks;
    out->exact = exact;
    note_ignored(node_get(n, "preferred_min_throughput"), "provider.preferred_min_throughput", out);
    note_ignored(node_get(n, "preferred_max_latency"), "provider.preferred_max_latency", out);
    note_ignored(node_get(node_get(n, "sort"), "partition"), "provider.sort.partition", out);
    return refuse_promises(n, e);
}

static bool named(const struct span *names, size_t n, struct span name)
{
    for (size_t i = 0; i < n; i++)
        if (span_eq(names[i], name))
            return true;
    return false;
}

bool prefs_allow(const struct route_prefs *p, const struct config_model *m)
{
    struct span provider = m->provider->name;
    if (named(p->ignore, p->n_ignore, provider) ||
        (p->n_only > 0 && !named(p->only, p->n_only, provider)))
        return false;
    bool input = p->max_input_nusd < 0 || (m->price.known && m->price.input <= p->max_input_nusd);
    bool output = p->max_output_nusd < 0 ||
                  (m->price.known && m->price.output >= 0 && m->price.output <= p->max_output_nusd);
    return input && output;
}

bool prefs_forbid(const struct route_prefs *p)
{
    return p->n_only > 0 || p->n_ignore > 0 || p->max_input_nusd >= 0 || p->max_output_nusd >= 0;
}

size_t prefs_rank(const struct route_prefs *p, const struct config_model *m)
{
    for (size_t i = 0; i < p->n_order; i++)
        if (span_eq(p->order[i], m->provider->name))
            return i;
    return SIZE_MAX;
}
