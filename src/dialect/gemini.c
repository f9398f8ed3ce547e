/* dialect/gemini.c - Google's generateContent (base URL .../v1beta): the table of the dialect, its
 * path, and what a model's name says about it. Spoken towards upstreams only. The newer
 * Interactions API (/interactions: its own requests, its own events, state kept by Google) is
 * another dialect.
 *
 * Sources of the format: ai.google.dev/api/generate-content and /gemini-api/docs (function-calling,
 * thought-signatures, thinking, troubleshooting; Nov 2026), github.com/googleapis/googleapis
 * (google/ai/generativelanguage/v1beta); what servers do beside the book stands where it is
 * handled. */
#include "dialect/gemini_priv.h"

const struct dialect dialect_gemini = {
    .name = "gemini",
    .write_path = gem_write_path,
    .key_header = "x-goog-api-key",
    .write_request = gem_write_request,
    .reader_new = gem_reader_new,
    .reader_free = gem_reader_free,
    .reader_feed = gem_reader_feed,
    .reader_body = gem_reader_body,
    .reader_eof = gem_reader_eof,
    .reader_next = gem_reader_next,
    .read_error = gem_read_error,
};

/* --- models ----------------------------------------------------------------------------------- */

static bool has(struct span s, struct span word)
{
    return span_index(s, word) < s.n;
}

/* Digits at the start of *s, which are eaten; -1: none. */
static int number(struct span *s)
{
    int n = -1;
    for (; s->n > 0 && s->p[0] >= '0' && s->p[0] <= '9' && n < 1000; *s = span_from(*s, 1))
        n = (n < 0 ? 0 : n) * 10 + (s->p[0] - '0');
    return n;
}

static struct span bare_name(struct span id)
{
    return span_starts(id, SPAN("models/")) ? span_from(id, 7) : id;
}

/* A dot and digits are the minor version; "gemini-3-pro" is 3.0. Names that always mean the newest
 * ("gemini-flash-latest") have been 3 and later since early 2026. */
struct gem_model gem_model_of(struct span id)
{
    struct gem_model m = {.name = bare_name(id)};
    struct span rest = m.name;
    if (!span_starts(rest, SPAN("gemini-")))
        return m;
    rest = span_from(rest, 7);
    m.pro = has(rest, SPAN("pro"));
    m.lite = has(rest, SPAN("lite"));
    m.major = number(&rest);
    if (m.major < 0) {
        m.major = span_ends(rest, SPAN("-latest")) ? 3 : 0;
    } else if (rest.n > 0 && rest.p[0] == '.') {
        rest = span_from(rest, 1);
        m.minor = number(&rest);
    }
    return m;
}

bool gem_has_budget(const struct gem_model *m)
{
    return m->major == 2 && m->minor >= 5;
}

bool gem_has_level(const struct gem_model *m)
{
    return m->major >= 3;
}

bool gem_has_call_ids(const struct gem_model *m)
{
    return m->major >= 3;
}

bool gem_wants_signatures(const struct gem_model *m)
{
    return m->major >= 3;
}

/* --- path ------------------------------------------------------------------------------------- */

/* Everything but RFC 3986's unreserved characters is encoded: the name stays one segment. */
static bool add_segment(struct buf *out, struct span s, struct err *e)
{
    bool ok = true;
    for (size_t i = 0; ok && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '.' || c == '_' || c == '~';
        ok = plain ? buf_add_char(out, (char)c, e) : buf_addf(out, e, "%%%02X", c);
    }
    return ok;
}

bool gem_write_path(const struct dialect_target *t, struct buf *out, struct err *e)
{
    struct span name = bare_name(t->model);
    size_t from = out->n;
    if (name.n == 0)
        return err_set(e, ERR_CONFIG, "a Gemini model needs the upstream's id of it");
    if (buf_add(out, SPAN("/models/"), e) && add_segment(out, name, e) &&
        buf_add(out, t->unary ? SPAN(":generateContent") : SPAN(":streamGenerateContent?alt=sse"),
                e))
        return true;
    buf_cut(out, from);
    return false;
}
