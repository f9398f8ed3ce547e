/* dialect/wire_calls.c - see dialect/wire_calls.h. */
#include "dialect/wire_calls.h"

#include "base/limits.h"
#include "base/mem.h"

#define MAX_CALLS 512
/* Longer ids and names are nobody's. */
#define NAME_BYTES KIB(1)

void wire_calls_done(struct wire_calls *c)
{
    for (size_t i = 0; i < c->n; i++) {
        buf_done(&c->at[i].id);
        buf_done(&c->at[i].name);
        buf_done(&c->at[i].arguments);
        buf_done(&c->at[i].signature);
    }
    mem_free(c->at);
    *c = (struct wire_calls){0};
}

static bool grow(struct wire_calls *c, size_t index, struct err *e)
{
    if (index < c->n)
        return true;
    if (index >= MAX_CALLS)
        return err_set(e, ERR_LIMIT, "the answer has more than %d tool calls", MAX_CALLS);
    struct wire_call *at = mem_realloc(c->at, (index + 1) * sizeof *at);
    if (!at)
        return wire_no_memory(e);
    c->at = at;
    for (; c->n <= index; c->n++) {
        struct wire_call *new = &at[c->n];
        *new = (struct wire_call){0};
        buf_init(&new->id, NAME_BYTES);
        buf_init(&new->name, NAME_BYTES);
        buf_init(&new->arguments, LIMIT_ANSWER_BYTES);
        buf_init(&new->signature, LIMIT_EVENT_BYTES);
    }
    return true;
}

/* An id that another call of this answer has already is as good as none. */
static struct span own_id(const struct wire_calls *c, size_t index, struct span id)
{
    for (size_t i = 0; i < c->n; i++)
        if (i != index && span_eq(buf_span(&c->at[i].id), id))
            return (struct span){"", 0};
    return id;
}

static bool set_once(struct buf *b, struct span s, struct err *e)
{
    return b->n > 0 || buf_add(b, s, e);
}

struct wire_call *wire_calls_note(struct wire_calls *c, const struct chat_event *ev, struct err *e)
{
    if (!grow(c, ev->index, e))
        return NULL;
    struct wire_call *call = &c->at[ev->index];
    bool named = ev->tool_id.n == 0 || call->id.n > 0 ||
                 set_once(&call->id, span_upto(own_id(c, ev->index, ev->tool_id), NAME_BYTES), e);
    if (!named || !set_once(&call->name, span_upto(ev->tool_name, NAME_BYTES), e) ||
        !set_once(&call->signature, ev->signature, e))
        return NULL;
    call->whole = call->whole || ev->tool_done;
    return call;
}
