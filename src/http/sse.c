/* http/sse.c - see http/sse.h.
 *
 * Two ways in: lend_whole() hands out an event that lies whole in the input without copying it, and
 * the table below reads everything else byte run by byte run. sse_next() alone writes ->state. */
#include "http/sse.h"

#include "base/mem.h"

enum state { ST_LINE = 0, ST_AFTER_CR, ST_FAILED };
enum kind { K_LF = 0, K_CR, K_TEXT };
enum act { ACT_SKIP = 0, ACT_STORE, ACT_END_LINE };

/* A CR ends its line at once, so no event waits for an LF that may never come. */
static const struct {
    enum act act;
    enum state to;
} table[2][3] = {
    [ST_LINE] = {{ACT_END_LINE, ST_LINE}, {ACT_END_LINE, ST_AFTER_CR}, {ACT_STORE, ST_LINE}},
    [ST_AFTER_CR] = {{ACT_SKIP, ST_LINE}, {ACT_END_LINE, ST_AFTER_CR}, {ACT_STORE, ST_LINE}},
};

struct sse {
    enum state state;
    bool at_start; /* no line ended yet: a byte order mark may lead */
    bool lent;     /* type and data are on loan to the caller */
    bool lone_cr;  /* seen one: looking ahead for LF would be quadratic from now on */
    size_t max;
    struct buf line, type, data; /* data keeps the LF after each data line */
};

struct sse *sse_new(size_t max)
{
    struct sse *s = mem_zalloc(sizeof *s);
    if (s == NULL)
        return NULL;
    s->at_start = true;
    s->max = max;
    buf_init(&s->line, max);
    buf_init(&s->type, max);
    buf_init(&s->data, max);
    return s;
}

void sse_free(struct sse *s)
{
    if (s == NULL)
        return;
    buf_done(&s->line);
    buf_done(&s->type);
    buf_done(&s->data);
    mem_free(s);
}

/* "name: value" cut in two; a line without a colon is a name with an empty value. */
static struct span cut_field(struct span line, struct span *out_value)
{
    const char *colon = memchr(line.p, ':', line.n);
    size_t n = colon != NULL ? (size_t)(colon - line.p) : line.n;
    struct span value = span_from(line, colon != NULL ? n + 1 : n);
    if (value.n > 0 && value.p[0] == ' ')
        value = span_from(value, 1);
    *out_value = value;
    return span_upto(line, n);
}

static bool add_field(struct sse *s, struct span line, struct err *e)
{
    struct span value;
    struct span name = cut_field(line, &value);
    if (span_eq(name, SPAN("data"))) {
        size_t before = s->data.n;
        if (buf_add(&s->data, value, e) && buf_add_char(&s->data, '\n', e))
            return true;
        buf_cut(&s->data, before);
        return false;
    }
    if (span_eq(name, SPAN("event"))) {
        buf_clear(&s->type);
        return buf_add(&s->type, value, e);
    }
    return true;
}

static bool end_line(struct sse *s, struct err *e)
{
    struct span line = buf_span(&s->line);
    bool ok = true;
    if (s->at_start && span_starts(line, SPAN("\xEF\xBB\xBF")))
        line = span_from(line, 3);
    s->at_start = false;
    if (line.n > 0)
        ok = add_field(s, line, e);
    else if (s->data.n > 0)
        s->lent = true;
    else
        buf_clear(&s->type); /* a type without data is no event */
    buf_clear(&s->line);
    return ok;
}

/* One line of *rest up to its LF (a CR before it is cut). False when the line is not whole, ends in
 * a lone CR or is too long: the table's business. */
static bool whole_line(struct sse *s, struct span *rest, struct span *out_line)
{
    const char *nl = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    if (nl == NULL)
        return false;
    struct span line = span_upto(*rest, (size_t)(nl - rest->p));
    *rest = span_from(*rest, line.n + 1);
    if (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n > s->max)
        return false;
    if (line.n > 0 && memchr(line.p, '\r', line.n) != NULL) {
        s->lone_cr = true;
        return false;
    }
    *out_line = line;
    return true;
}

/* The common event - fields with one data line, then the empty line, all in *in - is lent in place.
 * Called between two events only. Eats nothing when it says no. */
static bool lend_whole(struct sse *s, struct span *in, struct sse_event *out_ev)
{
    struct span rest = *in, line, value, type = SPAN(""), data = {0};
    while (whole_line(s, &rest, &line)) {
        if (line.n == 0) {
            if (data.p == NULL)
                return false;
            *out_ev = (struct sse_event){.type = type, .data = data};
            *in = rest;
            return true;
        }
        struct span name = cut_field(line, &value);
        if (span_eq(name, SPAN("event"))) {
            type = value;
        } else if (span_eq(name, SPAN("data"))) {
            if (data.p != NULL || value.n + 1 > s->max)
                return false;
            data = value;
        }
    }
    return false;
}

static enum kind kind_of(char c)
{
    return c == '\n' ? K_LF : c == '\r' ? K_CR : K_TEXT;
}

/* Length of the text run at the front: up to the next CR or LF. */
static size_t text_run(struct span in)
{
    const char *nl = memchr(in.p, '\n', in.n);
    size_t n = nl != NULL ? (size_t)(nl - in.p) : in.n;
    const char *cr = memchr(in.p, '\r', n);
    return cr != NULL ? (size_t)(cr - in.p) : n;
}

static bool between_events(const struct sse *s)
{
    return s->state == ST_LINE && !s->at_start && !s->lone_cr && s->line.n == 0 && s->type.n == 0 &&
           s->data.n == 0;
}

static void step(struct sse *s, struct span *in, struct err *e)
{
    enum kind k = kind_of(in->p[0]);
    size_t n = k == K_TEXT ? text_run(*in) : 1;
    bool ok = true;
    if (s->state == ST_AFTER_CR && k != K_LF)
        s->lone_cr = true;
    switch (table[s->state][k].act) {
    case ACT_SKIP:
        break;
    case ACT_STORE:
        ok = buf_add(&s->line, span_upto(*in, n), e);
        break;
    case ACT_END_LINE:
        ok = end_line(s, e);
        break;
    }
    s->state = ok ? table[s->state][k].to : ST_FAILED;
    if (ok)
        *in = span_from(*in, n);
}

enum sse_status sse_next(struct sse *s, struct span *in, struct sse_event *out_ev, struct err *e)
{
    if (s->state == ST_FAILED) {
        err_set(e, ERR_STATE, "sse: this stream has already failed");
        return SSE_FAIL;
    }
    if (s->lent) {
        buf_clear(&s->type);
        buf_clear(&s->data);
        s->lent = false;
    }
    if (s->state == ST_AFTER_CR && in->n > 0 && in->p[0] == '\n')
        step(s, in, e);
    if (between_events(s) && in->n > 0 && lend_whole(s, in, out_ev))
        return SSE_EVENT;
    while (in->n > 0 && !s->lent) {
        step(s, in, e);
        if (s->state == ST_FAILED)
            return SSE_FAIL;
    }
    if (!s->lent)
        return SSE_MORE;
    struct span data = buf_span(&s->data);
    *out_ev = (struct sse_event){.type = buf_span(&s->type), .data = span_upto(data, data.n - 1)};
    return SSE_EVENT;
}

bool sse_begin(struct buf *out, const char *type, struct err *e)
{
    size_t before = out->n;
    if (type != NULL && !(buf_add(out, SPAN("event: "), e) && buf_add(out, span_of(type), e) &&
                          buf_add_char(out, '\n', e))) {
        buf_cut(out, before);
        return false;
    }
    if (buf_add(out, SPAN("data: "), e))
        return true;
    buf_cut(out, before);
    return false;
}

bool sse_end(struct buf *out, struct err *e)
{
    return buf_add(out, SPAN("\n\n"), e);
}
