/* fusion/verdict.c - see verdict.h. Small models wrap their JSON in talk: the first object that
 * parses is the verdict, whatever stands around it. */
#include "fusion/verdict.h"

#include <math.h>

#include "base/buf.h"
#include "json/json.h"

#define MAX_SCORE 10
/* Two scores that differ by no more than this may be the order's doing. */
#define CLOSE_SCORE 1.0
/* A verdict is short: objects are looked for in the first bytes of a reply, and only a few times.
 */
#define MAX_REPLY_BYTES KIB(64)
#define MAX_OBJECTS     8
#define SCHEMA_BYTES    KIB(8)

struct span verdict_schema(struct arena *a, const char *labels, size_t n)
{
    struct buf b;
    struct err e;
    buf_init(&b, SCHEMA_BYTES);
    bool ok = buf_add(&b,
                      SPAN("{\"type\":\"object\",\"properties\":{\"scores\":{\"type\":\"object\","
                           "\"properties\":{"),
                      &e);
    for (size_t i = 0; ok && i < n; i++)
        ok = buf_addf(&b, &e, "%s\"%c\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10}",
                      i > 0 ? "," : "", labels[i]);
    ok = ok && buf_add(&b, SPAN("},\"required\":["), &e);
    for (size_t i = 0; ok && i < n; i++)
        ok = buf_addf(&b, &e, "%s\"%c\"", i > 0 ? "," : "", labels[i]);
    ok = ok && buf_add(&b,
                       SPAN("],\"additionalProperties\":false},"
                            "\"best\":{\"type\":\"string\",\"enum\":["),
                       &e);
    for (size_t i = 0; ok && i < n; i++)
        ok = buf_addf(&b, &e, "%s\"%c\"", i > 0 ? "," : "", labels[i]);
    ok = ok && buf_add(&b,
                       SPAN("]}},\"required\":[\"scores\",\"best\"],"
                            "\"additionalProperties\":false}"),
                       &e);
    struct span out = ok ? arena_dup(a, buf_span(&b)) : (struct span){NULL, 0};
    buf_done(&b);
    return out;
}

/* The object that begins at s.p[0] == '{', up to its closing brace; p NULL when it never closes. */
static struct span balanced(struct span s)
{
    size_t depth = 0;
    bool text = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (text && c == '\\')
            i++;
        else if (c == '"')
            text = !text;
        else if (!text && c == '{')
            depth++;
        else if (!text && c == '}' && --depth == 0)
            return span_upto(s, i + 1);
    }
    return (struct span){NULL, 0};
}

static bool read_scores(json_val *scores, const char *labels, size_t n, struct verdict *v,
                        struct err *e)
{
    if (!json_is_obj(scores))
        return err_set(e, ERR_UPSTREAM, "\"scores\" must be an object with a number per candidate");
    for (size_t i = 0; i < n; i++) {
        json_val *score = json_get_span(scores, span_make(&labels[i], 1));
        if (!json_f64(score, &v->scores[i]) || !(v->scores[i] >= 0) || v->scores[i] > MAX_SCORE)
            return err_set(e, ERR_UPSTREAM, "\"scores\" must give %c a number from 0 to 10",
                           labels[i]);
    }
    if (json_count(scores) != n)
        return err_set(e, ERR_UPSTREAM, "\"scores\" names a candidate that does not exist");
    return true;
}

static bool read_best(json_val *best, const char *labels, size_t n, struct verdict *v,
                      struct err *e)
{
    struct span word = span_trim(json_str(best));
    for (size_t i = 0; i < n; i++)
        if (word.n == 1 && word.p[0] == labels[i]) {
            v->best = i;
            return true;
        }
    return err_set(e, ERR_UPSTREAM, "\"best\" must be the letter of a candidate");
}

static bool read_object(struct arena *a, struct span text, const char *labels, size_t n,
                        struct verdict *out, struct err *e)
{
    json_val *root;
    struct verdict v = {0};
    if (!json_parse(a, text, &root, e))
        return false;
    if (!read_scores(json_get(root, "scores"), labels, n, &v, e) ||
        !read_best(json_get(root, "best"), labels, n, &v, e))
        return false;
    /* A best that does not have the best score contradicts itself: as good as a close call. */
    for (size_t i = 0; i < n; i++)
        if (i != v.best && v.scores[v.best] - v.scores[i] <= CLOSE_SCORE)
            v.close = true;
    *out = v;
    return true;
}

bool verdict_read(struct arena *a, struct span reply, const char *labels, size_t n,
                  struct verdict *out, struct err *e)
{
    struct span s = span_upto(reply, MAX_REPLY_BYTES);
    struct err first = {0}, bad = {0};
    for (int tries = 0; tries < MAX_OBJECTS; tries++) {
        s = span_from(s, span_find(s, "{"));
        struct span object = s.n > 0 ? balanced(s) : (struct span){NULL, 0};
        if (!object.p)
            break;
        if (read_object(a, object, labels, n, out, &bad))
            return true;
        if (bad.cls == ERR_NOMEM)
            return err_set(e, ERR_NOMEM, "%s", bad.msg);
        if (first.cls == ERR_NONE)
            first = bad;
        /* What parsed but was no verdict is passed over whole; broken braces are passed singly. */
        s = span_from(s, bad.cls == ERR_UPSTREAM ? object.n : 1);
    }
    if (first.cls == ERR_NONE)
        return err_set(e, ERR_UPSTREAM, "the reply holds no JSON object");
    return err_set(e, ERR_UPSTREAM, "%s", first.msg);
}
