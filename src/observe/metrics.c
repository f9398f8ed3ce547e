/* observe/metrics.c - see observe/metrics.h. Families by name, members by label list, both in order
 * of first use, so that two scrapes compare line by line. */
#include "observe/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

/* Upper edges in microseconds: our own overhead at the low end, long answers at the high one. */
static const int64_t edges_us[] = {50,       100,       250,       500,      1000,     2500,
                                   5000,     10000,     25000,     50000,    100000,   250000,
                                   500000,   1000000,   2500000,   5000000,  10000000, 30000000,
                                   60000000, 120000000, 300000000, 600000000};
enum { EDGES = COUNT_OF(edges_us) };

struct metric {
    enum metric_type type;
    atomic_int_fast64_t value;    /* histogram: sum in microseconds */
    char *labels;                 /* owned */
    atomic_int_fast64_t bucket[]; /* histogram: EDGES + 1, not cumulative; else none */
};

struct family {
    char *name, *help; /* owned */
    enum metric_type type;
    struct map *by_labels; /* owned, of struct metric */
};

struct metrics {
    pthread_mutex_t lock;
    struct map *families; /* of struct family */
};

struct metrics *metrics_new(void)
{
    struct metrics *m = mem_zalloc(sizeof *m);
    if (m == NULL)
        return NULL;
    m->families = map_new();
    if (m->families == NULL || pthread_mutex_init(&m->lock, NULL) != 0) {
        map_free(m->families);
        mem_free(m);
        return NULL;
    }
    return m;
}

static void metric_free(struct metric *x)
{
    if (x == NULL)
        return;
    mem_free(x->labels);
    mem_free(x);
}
AUTO_DEFINE(metric)

static void family_free(struct family *f)
{
    if (f == NULL)
        return;
    struct span key;
    for (size_t i = 0; f->by_labels != NULL && i < map_count(f->by_labels); i++)
        metric_free(map_at(f->by_labels, i, &key));
    map_free(f->by_labels);
    mem_free(f->name);
    mem_free(f->help);
    mem_free(f);
}
AUTO_DEFINE(family)

void metrics_free(struct metrics *m)
{
    if (m == NULL)
        return;
    struct span key;
    for (size_t i = 0; i < map_count(m->families); i++)
        family_free(map_at(m->families, i, &key));
    map_free(m->families);
    pthread_mutex_destroy(&m->lock);
    mem_free(m);
}

static struct family *family_get(struct metrics *m, const char *name, const char *help,
                                 enum metric_type type)
{
    struct family *have = map_get(m->families, span_of(name));
    if (have != NULL)
        return have;
    AUTO(family) f = mem_zalloc(sizeof *f);
    if (f == NULL)
        return NULL;
    f->type = type;
    f->name = mem_dup(name, strlen(name));
    f->help = mem_dup(help, strlen(help));
    f->by_labels = map_new();
    if (f->name == NULL || f->help == NULL || f->by_labels == NULL ||
        !map_put(m->families, span_of(f->name), f))
        return NULL;
    return TAKE(f);
}

static struct metric *member_get(struct family *f, struct span labels)
{
    struct metric *have = map_get(f->by_labels, labels);
    if (have != NULL)
        return have;
    size_t buckets = f->type == METRIC_SECONDS ? EDGES + 1 : 0;
    AUTO(metric) x = mem_zalloc(sizeof *x + buckets * sizeof x->bucket[0]);
    if (x == NULL)
        return NULL;
    x->type = f->type;
    x->labels = mem_dup(labels.p, labels.n);
    if (x->labels == NULL || !map_put(f->by_labels, span_make(x->labels, labels.n), x))
        return NULL;
    return TAKE(x);
}

struct metric *metric_get(struct metrics *m, const char *name, const char *help,
                          enum metric_type type, struct span labels)
{
    pthread_mutex_lock(&m->lock);
    struct family *f = family_get(m, name, help, type);
    struct metric *x = f != NULL ? member_get(f, labels) : NULL;
    pthread_mutex_unlock(&m->lock);
    return x;
}

bool metric_label(struct buf *labels, const char *key, struct span value, struct err *e)
{
    size_t before = labels->n;
    bool ok = buf_addf(labels, e, "%s%s=\"", before > 0 ? "," : "", key);
    for (size_t i = 0; ok && i < value.n; i++) {
        char c = value.p[i];
        if (c == '\n')
            ok = buf_add(labels, SPAN("\\n"), e);
        else if (c == '"' || c == '\\')
            ok = buf_add_char(labels, '\\', e) && buf_add_char(labels, c, e);
        else
            ok = buf_add_char(labels, c, e);
    }
    ok = ok && buf_add_char(labels, '"', e);
    if (!ok)
        buf_cut(labels, before);
    return ok;
}

void metric_add(struct metric *m, int64_t n)
{
    if (m != NULL)
        atomic_fetch_add_explicit(&m->value, n, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t v)
{
    if (m != NULL)
        atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

void metric_observe_us(struct metric *m, int64_t us)
{
    if (m == NULL || m->type != METRIC_SECONDS)
        return;
    size_t i = 0;
    while (i < EDGES && us > edges_us[i])
        i++;
    atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->value, us, memory_order_relaxed);
}

int64_t metric_value(const struct metric *m)
{
    return m != NULL ? atomic_load_explicit(&m->value, memory_order_relaxed) : 0;
}

/* --- writing
 * -------------------------------------------------------------------------------------- */

static bool write_histogram(const struct family *f, const struct metric *x, struct buf *out,
                            struct err *e)
{
    const char *comma = x->labels[0] != '\0' ? "," : "";
    int64_t seen = 0;
    for (size_t i = 0; i < EDGES; i++) {
        seen += atomic_load_explicit(&x->bucket[i], memory_order_relaxed);
        if (!buf_addf(out, e, "%s_bucket{%s%sle=\"%g\"} %lld\n", f->name, x->labels, comma,
                      (double)edges_us[i] / 1e6, (long long)seen))
            return false;
    }
    seen += atomic_load_explicit(&x->bucket[EDGES], memory_order_relaxed);
    const char *open = x->labels[0] != '\0' ? "{" : "", *shut = x->labels[0] != '\0' ? "}" : "";
    return buf_addf(out, e, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", f->name, x->labels, comma,
                    (long long)seen) &&
           buf_addf(out, e, "%s_sum%s%s%s %.6f\n", f->name, open, x->labels, shut,
                    (double)metric_value(x) / 1e6) &&
           buf_addf(out, e, "%s_count%s%s%s %lld\n", f->name, open, x->labels, shut,
                    (long long)seen);
}

static bool write_member(const struct family *f, const struct metric *x, struct buf *out,
                         struct err *e)
{
    if (f->type == METRIC_SECONDS)
        return write_histogram(f, x, out, e);
    if (x->labels[0] == '\0')
        return buf_addf(out, e, "%s %lld\n", f->name, (long long)metric_value(x));
    return buf_addf(out, e, "%s{%s} %lld\n", f->name, x->labels, (long long)metric_value(x));
}

static bool write_family(const struct family *f, struct buf *out, struct err *e)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_SECONDS] = "histogram"};
    bool ok =
        buf_addf(out, e, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, types[f->type]);
    struct span key;
    for (size_t i = 0; ok && i < map_count(f->by_labels); i++)
        ok = write_member(f, map_at(f->by_labels, i, &key), out, e);
    return ok;
}

bool metrics_write(struct metrics *m, struct buf *out, struct err *e)
{
    struct span key;
    size_t before = out->n;
    bool ok = true;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; ok && i < map_count(m->families); i++)
        ok = write_family(map_at(m->families, i, &key), out, e);
    pthread_mutex_unlock(&m->lock);
    if (!ok)
        buf_cut(out, before);
    return ok;
}
