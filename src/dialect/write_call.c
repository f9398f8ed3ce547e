/* dialect/write_call.c - a request in an upstream's dialect, be it without the fields that this
 * upstream cannot take: what it refuses by name is left out of a copy and listed, and the copy is
 * written again.
 *
 * Only settings of the request as a whole can be done without. What stands in messages, parts,
 * tools and schemas is the question itself: a model that cannot take it is not the one to ask. */
#include <stddef.h>

#include "base/mem.h"
#include "dialect/wire_fields.h"

struct copy {
    struct chat_request r;
    struct chat_extra *extras; /* owned; NULL: those of the request */
};

/* By their names in the messages of every dialect. */
static const struct {
    struct span name;
    size_t at; /* of a span in chat_request */
} settings[] = {
    {SPAN_INIT("temperature"), offsetof(struct chat_request, temperature)},
    {SPAN_INIT("top_p"), offsetof(struct chat_request, top_p)},
    {SPAN_INIT("top_k"), offsetof(struct chat_request, top_k)},
    {SPAN_INIT("presence_penalty"), offsetof(struct chat_request, presence_penalty)},
    {SPAN_INIT("frequency_penalty"), offsetof(struct chat_request, frequency_penalty)},
    {SPAN_INIT("seed"), offsetof(struct chat_request, seed)},
    {SPAN_INIT("reasoning_effort"), offsetof(struct chat_request, reasoning_effort)},
    {SPAN_INIT("verbosity"), offsetof(struct chat_request, verbosity)},
};

static bool drop_setting(struct chat_request *r, struct span name, struct span *out)
{
    if (span_eq(name, SPAN("stop")) && r->n_stop > 0) {
        r->n_stop = 0;
        *out = SPAN("stop");
        return true;
    }
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        struct span *value = (struct span *)(void *)((char *)r + settings[i].at);
        if (!span_eq(name, settings[i].name) || !value->p)
            continue;
        *value = (struct span){NULL, 0};
        *out = settings[i].name;
        return true;
    }
    return false;
}

static bool is_called(const struct chat_extra *x, struct span name)
{
    char shown[WIRE_SHOWN_BYTES];
    return span_eq(wire_shown_name(x, shown), name);
}

static bool drop_extra(struct copy *c, struct span name, struct span *out)
{
    size_t at = 0, n = c->r.n_extras;
    while (at < n && !is_called(&c->r.extras[at], name))
        at++;
    if (at == n)
        return false;
    if (!c->extras) {
        c->extras = mem_alloc(n * sizeof *c->extras);
        if (!c->extras)
            return false;
        for (size_t i = 0; i < n; i++)
            c->extras[i] = c->r.extras[i];
        c->r.extras = c->extras;
    }
    *out = c->extras[at].name;
    for (size_t i = at + 1; i < n; i++)
        c->extras[i - 1] = c->extras[i];
    c->r.n_extras--;
    return true;
}

/* False: nothing of that name can be left out, or listed. */
static bool drop(struct copy *c, const char *param, struct dialect_notes *left)
{
    struct span name = span_of(param), gone;
    if (left->n == COUNT_OF(left->ignored))
        return false;
    if (!drop_setting(&c->r, name, &gone) && !drop_extra(c, name, &gone))
        return false;
    wire_note(left, gone);
    return true;
}

static bool is_same(const struct dialect *d, const struct chat_request *r)
{
    return span_eq(r->dialect, span_of(d->name));
}

bool dialect_write_call(const struct dialect *d, const struct chat_request *r,
                        const struct dialect_target *t, struct buf *out,
                        struct dialect_notes *notes, size_t *n_left, struct err *e)
{
    struct copy c = {.r = *r};
    struct dialect_notes left = {0};
    bool ok, again;
    do {
        *notes = left;
        ok = d->write_request(&c.r, t, out, notes, e);
        again = !ok && t->lenient && e->cls == ERR_INPUT && drop(&c, e->param, &left);
    } while (again);
    mem_free(c.extras);
    *n_left = left.n;
    if (r->betas.n > 0 && !dialect_betas(d, r).p)
        wire_note(notes, SPAN("anthropic-beta"));
    return ok;
}

struct span dialect_betas(const struct dialect *d, const struct chat_request *r)
{
    bool takes = d->betas_header && r->betas.n > 0 && is_same(d, r);
    return takes ? r->betas : (struct span){NULL, 0};
}
