/* chat/collect.c - see chat/collect.h. The cap stands above the buffers' own maxima: one sum over
 * all that an answer holds, so that no mix of text, reasoning and calls passes it. */
#include "chat/collect.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

/* Names and ids: longer ones are cut, they are never shown nor sent back in full. */
#define NAME_BYTES 512
/* Calls of one answer; a reader counts them from 0 without gaps. */
#define MAX_TOOLS 512
/* Blocks of reasoning of one answer. */
#define MAX_BLOCKS 512

void chat_collect_init(struct chat_collect *c, size_t cap)
{
    *c = (struct chat_collect){.cap = cap, .usage.cost_nusd = -1};
    struct buf *capped[] = {&c->text, &c->reasoning, &c->refusal};
    for (size_t i = 0; i < COUNT_OF(capped); i++)
        buf_init(capped[i], cap);
    buf_init(&c->stop_sequence, NAME_BYTES);
    buf_init(&c->id, NAME_BYTES);
    buf_init(&c->model, NAME_BYTES);
}

void chat_collect_done(struct chat_collect *c)
{
    struct buf *all[] = {&c->text, &c->reasoning, &c->refusal,
                         &c->id,   &c->model,     &c->stop_sequence};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        buf_done(all[i]);
    for (size_t i = 0; i < c->n_blocks; i++) {
        buf_done(&c->blocks[i].signature);
        buf_done(&c->blocks[i].format);
        buf_done(&c->blocks[i].id);
    }
    mem_free(c->blocks);
    for (size_t i = 0; i < c->n_tools; i++) {
        buf_done(&c->tools[i].id);
        buf_done(&c->tools[i].name);
        buf_done(&c->tools[i].arguments);
        buf_done(&c->tools[i].signature);
    }
    mem_free(c->tools);
    *c = (struct chat_collect){.cap = c->cap};
}

/* Adds s as far as the cap allows; text is cut between characters. */
static bool add(struct chat_collect *c, struct buf *b, struct span s, struct err *e)
{
    size_t room = c->cap - c->used;
    struct span fits = s.n <= room ? s : text_upto(s, room);
    if (c->over && s.n > 0)
        return err_set(e, ERR_LIMIT, "the answer is longer than %zu bytes", c->cap);
    if (!buf_add(b, fits, e))
        return false;
    c->used += fits.n;
    if (fits.n == s.n)
        return true;
    c->over = true;
    return err_set(e, ERR_LIMIT, "the answer is longer than %zu bytes", c->cap);
}

static bool set_name(struct buf *b, struct span s, struct err *e)
{
    buf_clear(b);
    return buf_add(b, text_upto(s, NAME_BYTES), e);
}

static bool grow_tools(struct chat_collect *c, size_t index, struct err *e)
{
    if (index < c->n_tools)
        return true;
    if (index >= MAX_TOOLS)
        return err_set(e, ERR_LIMIT, "the answer has more than %d tool calls", MAX_TOOLS);
    struct chat_collected_tool *tools = mem_realloc(c->tools, (index + 1) * sizeof *tools);
    if (!tools)
        return err_set(e, ERR_NOMEM, "no memory for a tool call");
    c->tools = tools;
    for (; c->n_tools <= index; c->n_tools++) {
        struct chat_collected_tool *t = &tools[c->n_tools];
        *t = (struct chat_collected_tool){0};
        buf_init(&t->id, NAME_BYTES);
        buf_init(&t->name, NAME_BYTES);
        buf_init(&t->arguments, c->cap);
        buf_init(&t->signature, c->cap);
    }
    return true;
}

/* A later signature of a call takes the place of an earlier one. */
static bool set_signature(struct chat_collect *c, struct buf *b, struct span s, struct err *e)
{
    if (s.n == 0)
        return true;
    c->used -= b->n;
    buf_clear(b);
    /* Half a signature is worth nothing. */
    if (s.n > c->cap - c->used) {
        c->over = true;
        return err_set(e, ERR_LIMIT, "the answer is longer than %zu bytes", c->cap);
    }
    return add(c, b, s, e);
}

static bool add_tool(struct chat_collect *c, const struct chat_event *ev, struct err *e)
{
    if (!grow_tools(c, ev->index, e))
        return false;
    struct chat_collected_tool *t = &c->tools[ev->index];
    if (t->id.n == 0 && ev->tool_id.n > 0 && !set_name(&t->id, ev->tool_id, e))
        return false;
    if (t->name.n == 0 && ev->tool_name.n > 0 && !set_name(&t->name, ev->tool_name, e))
        return false;
    if (!add(c, &t->arguments, ev->arguments, e) ||
        !set_signature(c, &t->signature, ev->signature, e))
        return false;
    t->whole = t->whole || ev->tool_done;
    return true;
}

static bool new_block(struct chat_collect *c, struct err *e)
{
    if (c->n_blocks == MAX_BLOCKS)
        return err_set(e, ERR_LIMIT, "the answer has more than %d blocks of reasoning", MAX_BLOCKS);
    struct chat_collected_block *blocks =
        mem_realloc(c->blocks, (c->n_blocks + 1) * sizeof *blocks);
    if (!blocks)
        return err_set(e, ERR_NOMEM, "no memory for reasoning");
    c->blocks = blocks;
    struct chat_collected_block *b = &blocks[c->n_blocks++];
    *b = (struct chat_collected_block){.from = c->reasoning.n};
    buf_init(&b->signature, c->cap);
    buf_init(&b->format, NAME_BYTES);
    buf_init(&b->id, NAME_BYTES);
    return true;
}

/* A signature ends its block, and so does another id. */
static bool is_same_block(const struct chat_collect *c, const struct chat_event *ev)
{
    if (c->n_blocks == 0)
        return false;
    const struct chat_collected_block *b = &c->blocks[c->n_blocks - 1];
    return b->signature.n == 0 &&
           (ev->id.n == 0 || b->id.n == 0 || span_eq(ev->id, buf_span(&b->id)));
}

static bool add_reasoning(struct chat_collect *c, const struct chat_event *ev, struct err *e)
{
    if (ev->text.n == 0 && ev->signature.n == 0)
        return true;
    if (!is_same_block(c, ev) && !new_block(c, e))
        return false;
    struct chat_collected_block *b = &c->blocks[c->n_blocks - 1];
    bool ok = add(c, &c->reasoning, ev->text, e);
    b->n = c->reasoning.n - b->from;
    b->signs_text = b->signs_text || ev->signs_text;
    return ok && set_signature(c, &b->signature, ev->signature, e) &&
           (ev->format.n == 0 || set_name(&b->format, ev->format, e)) &&
           (ev->id.n == 0 || set_name(&b->id, ev->id, e));
}

struct span chat_collected_text(const struct chat_collect *c, const struct chat_collected_block *b)
{
    return span_upto(span_from(buf_span(&c->reasoning), b->from), b->n);
}

bool chat_collect_event(struct chat_collect *c, const struct chat_event *ev, struct err *e)
{
    switch (ev->kind) {
    case CHAT_EV_START:
        c->started = true;
        return set_name(&c->id, ev->id, e) && set_name(&c->model, ev->model, e);
    case CHAT_EV_TEXT:
        return add(c, &c->text, ev->raw.p ? ev->raw : ev->text, e);
    case CHAT_EV_REASONING:
        return add_reasoning(c, ev, e);
    case CHAT_EV_REFUSAL:
        return add(c, &c->refusal, ev->text, e);
    case CHAT_EV_TOOL:
        return add_tool(c, ev, e);
    case CHAT_EV_MEMBER:
        return true;
    case CHAT_EV_USAGE:
        c->usage = ev->usage;
        c->has_usage = true;
        if (ev->report)
            c->report = ev->report;
        return true;
    case CHAT_EV_FINISH:
        c->ended = true;
        c->finish = ev->finish;
        return set_name(&c->stop_sequence, ev->stop_sequence, e);
    case CHAT_EV_ERROR:
        c->ended = c->failed = true;
        if (ev->err)
            c->err = *ev->err;
        return true;
    }
    return true;
}
