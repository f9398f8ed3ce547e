/* dialect/openai_chat_calls.c - tool calls of an upstream, put together from their fragments.
 *
 * The book says: index on every fragment, id and name on the first. Servers do otherwise: no index,
 * the same index for all, an id on every fragment (the same, or a new one each: vLLM), the name
 * repeated or empty or late, arguments as an object. Calls are numbered here, from 0, in the order
 * in which they begin. */
#include "base/limits.h"
#include "base/mem.h"
#include "dialect/openai_chat_read.h"

#define MAX_CALLS  512
#define NAME_BYTES KIB(1)

/* One fragment, as it came. */
struct fragment {
    int64_t index; /* -1: none */
    struct span id, name;
    struct span args;
    bool in_args; /* args stand at off of reader->args */
    size_t off;
};

static struct oai_call *by_index(struct dialect_reader *rd, int64_t index)
{
    for (size_t i = rd->n_calls; index >= 0 && i-- > 0;)
        if (rd->calls[i].index == index)
            return &rd->calls[i];
    return index < 0 && rd->n_calls > 0 ? &rd->calls[rd->n_calls - 1] : NULL;
}

/* The call that a fragment goes on with; NULL: it begins one. */
static struct oai_call *find_call(struct dialect_reader *rd, const struct fragment *f)
{
    for (size_t i = 0; f->id.n > 0 && i < rd->n_calls; i++) {
        struct oai_call *c = &rd->calls[i];
        bool same_index = f->index < 0 || c->index < 0 || f->index == c->index;
        if (same_index && span_eq(buf_span(&c->id), f->id))
            return c;
    }
    struct oai_call *c = by_index(rd, f->index);
    if (!c || f->name.n == 0 || c->name.n == 0)
        return c; /* without a name there is no new call, whatever the id says */
    if (f->id.n > 0 && c->id.n > 0)
        return NULL;
    if (!span_eq(buf_span(&c->name), f->name))
        return NULL;
    /* The same name again: repeated on every fragment, or a second call of that tool. */
    return c->track.whole && f->args.n > 0 ? NULL : c;
}

static struct oai_call *new_call(struct dialect_reader *rd, int64_t index, struct err *e)
{
    if (rd->n_calls == MAX_CALLS) {
        err_set(e, ERR_UPSTREAM, "the upstream sent more than %d tool calls", MAX_CALLS);
        return NULL;
    }
    struct oai_call *calls = mem_realloc(rd->calls, (rd->n_calls + 1) * sizeof *calls);
    if (!calls) {
        wire_no_memory(e);
        return NULL;
    }
    rd->calls = calls;
    struct oai_call *c = &calls[rd->n_calls++];
    *c = (struct oai_call){.index = index};
    buf_init(&c->id, NAME_BYTES);
    buf_init(&c->name, NAME_BYTES);
    buf_init(&c->held, LIMIT_EVENT_BYTES);
    return c;
}

static bool keep(struct buf *b, struct span s, struct err *e)
{
    return b->n > 0 || buf_add(b, span_upto(s, NAME_BYTES), e);
}

/* The first event of a call goes out when its name is known; what came before is held. */
static bool start_call(struct dialect_reader *rd, struct oai_call *c, const struct fragment *f,
                       struct span signature, struct err *e)
{
    bool held = c->held.n > 0;
    if ((held || c->name.n == 0) && !buf_add(&c->held, f->args, e))
        return false;
    if (c->name.n == 0)
        return true;
    struct oai_pending *p = oai_push(rd, CHAT_EV_TOOL, e);
    if (!p)
        return false;
    c->started = true;
    p->ev.index = (size_t)(c - rd->calls);
    p->ev.tool_id = buf_span(&c->id);
    p->ev.tool_name = buf_span(&c->name);
    p->ev.signature = signature;
    p->ev.arguments = held ? buf_span(&c->held) : f->args;
    p->in_args = !held && f->in_args;
    p->off = f->off;
    p->n = f->args.n;
    return true;
}

static bool go_on(struct dialect_reader *rd, struct oai_call *c, const struct fragment *f,
                  bool late_id, struct span signature, struct err *e)
{
    if (f->args.n == 0 && !late_id && signature.n == 0)
        return true;
    struct oai_pending *p = oai_push(rd, CHAT_EV_TOOL, e);
    if (!p)
        return false;
    p->ev.index = (size_t)(c - rd->calls);
    p->ev.tool_id = late_id ? buf_span(&c->id) : (struct span){0};
    p->ev.signature = signature;
    p->ev.arguments = f->args;
    p->in_args = f->in_args;
    p->off = f->off;
    p->n = f->args.n;
    return true;
}

static bool read_args(struct dialect_reader *rd, json_val *v, struct fragment *f, struct err *e)
{
    if (json_is_str(v)) {
        f->args = json_str(v);
        return true;
    }
    if (!json_is_obj(v) && !json_is_arr(v))
        return true;
    f->off = rd->args.n;
    f->in_args = true;
    if (!json_write_val(&rd->args, v, e))
        return false;
    f->args = span_from(buf_span(&rd->args), f->off);
    return true;
}

static bool read_fragment(struct dialect_reader *rd, json_val *v, struct err *e)
{
    json_val *fn = json_get(v, "function");
    struct fragment f = {
        .index = -1, .id = json_str(json_get(v, "id")), .name = json_str(json_get(fn, "name"))};
    struct span signature =
        json_str(json_get(json_get(json_get(v, "extra_content"), "google"), "thought_signature"));
    if (!json_i64(json_get(v, "index"), &f.index) || f.index < 0)
        f.index = -1;
    if (span_eq(f.id, SPAN("null"))) /* what Mistral's server writes for "no id" */
        f.id = (struct span){0};
    if (!json_is_obj(v) || !read_args(rd, json_get(fn, "arguments"), &f, e))
        return !json_is_obj(v);
    struct oai_call *c = find_call(rd, &f);
    if (!c)
        c = new_call(rd, f.index, e);
    if (!c)
        return false;
    bool late_id = c->started && c->id.n == 0 && f.id.n > 0;
    if (!keep(&c->id, f.id, e) || !keep(&c->name, f.name, e))
        return false;
    wire_track_feed(&c->track, f.args);
    c->n_args += f.args.n;
    rd->delivered = true;
    return c->started ? go_on(rd, c, &f, late_id, signature, e)
                      : start_call(rd, c, &f, signature, e);
}

bool oai_read_calls(struct dialect_reader *rd, json_val *list, struct err *e)
{
    struct span key;
    json_val *v;
    for (struct json_iter it = json_iter_of(json_is_arr(list) ? list : NULL);
         json_next(&it, &key, &v);)
        if (!read_fragment(rd, v, e))
            return false;
    return true;
}

bool oai_end_calls(struct dialect_reader *rd, bool *out_any, bool *out_cut, struct err *e)
{
    bool limited = rd->finish == CHAT_FINISH_LENGTH || rd->finish == CHAT_FINISH_CONTENT_FILTER;
    *out_any = *out_cut = false;
    for (size_t i = 0; i < rd->n_calls; i++) {
        struct oai_call *c = &rd->calls[i];
        if (!c->started || (limited && !c->track.whole)) {
            *out_cut = true;
            continue;
        }
        struct oai_pending *p = oai_push(rd, CHAT_EV_TOOL, e);
        if (!p)
            return false;
        p->ev.index = i;
        p->ev.tool_done = true;
        /* A tool without parameters: clients parse the arguments, and "" is no JSON. */
        p->ev.arguments = c->n_args == 0 ? SPAN("{}") : SPAN("");
        *out_any = true;
    }
    return true;
}

void oai_free_calls(struct dialect_reader *rd)
{
    for (size_t i = 0; i < rd->n_calls; i++) {
        buf_done(&rd->calls[i].id);
        buf_done(&rd->calls[i].name);
        buf_done(&rd->calls[i].held);
    }
    mem_free(rd->calls);
    rd->calls = NULL;
    rd->n_calls = 0;
}
