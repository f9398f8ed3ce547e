/* json/regex.c - see json/regex.h: the tree becomes a program, and the program runs over a text
 * with all its threads side by side (Thompson's simulation): each character costs at most one step
 * per instruction. */
#include "json/regex.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/text.h"
#include "json/regex_priv.h"

enum op {
    OP_CHAR,   /* x: the character */
    OP_SET,    /* set */
    OP_ASSERT, /* x: the assertion */
    OP_JUMP,   /* x */
    OP_SPLIT,  /* x and y */
    OP_MATCH
};

struct inst {
    uint32_t op, x;
    union {
        uint32_t y;
        const struct re_set *set;
    };
};

struct regex {
    const struct inst *prog;
    uint32_t n;
    bool anchored; /* begins with ^: nowhere else can it match */
};

/* --- tree to program -------------------------------------------------------------------------- */

struct emitter {
    struct buf prog;
    struct err *e;
};

static uint32_t here(const struct emitter *m)
{
    return (uint32_t)(m->prog.n / sizeof(struct inst));
}

static struct inst *inst_at(struct emitter *m, uint32_t i)
{
    return (struct inst *)(void *)(m->prog.mem + m->prog.start) + i;
}

static bool put(struct emitter *m, struct inst i)
{
    if (buf_add(&m->prog, span_make(&i, sizeof i), m->e))
        return true;
    if (m->prog.n + sizeof i > m->prog.max)
        err_set(m->e, ERR_INPUT, "the pattern is too large (its repetitions are written out)");
    return false;
}

/* Jumps and splits whose way out is not known yet hang together by the field that will hold it. */
#define NO_INST UINT32_MAX

static void patch(struct emitter *m, uint32_t list, bool splits)
{
    uint32_t to = here(m);
    while (list != NO_INST) {
        struct inst *i = inst_at(m, list);
        list = splits ? i->y : i->x;
        *(splits ? &i->y : &i->x) = to;
    }
}

static bool emit(struct emitter *m, const struct re_node *n);

static bool emit_alt(struct emitter *m, const struct re_node *n)
{
    uint32_t outs = NO_INST;
    for (const struct re_node *k = n->child; k; k = k->next) {
        uint32_t split = here(m);
        if (!k->next)
            return emit(m, k) ? (patch(m, outs, false), true) : false;
        if (!put(m, (struct inst){.op = OP_SPLIT, .x = split + 1}) || !emit(m, k) ||
            !put(m, (struct inst){.op = OP_JUMP, .x = outs}))
            return false;
        outs = here(m) - 1;
        inst_at(m, split)->y = here(m);
    }
    return true;
}

/* split(body, out) body jump(split) */
static bool emit_star(struct emitter *m, const struct re_node *body)
{
    uint32_t split = here(m);
    if (!put(m, (struct inst){.op = OP_SPLIT, .x = split + 1}) || !emit(m, body) ||
        !put(m, (struct inst){.op = OP_JUMP, .x = split}))
        return false;
    inst_at(m, split)->y = here(m);
    return true;
}

/* max - min times: split(body, out) body */
static bool emit_optional(struct emitter *m, const struct re_node *n)
{
    uint32_t outs = NO_INST;
    for (uint32_t i = n->min; i < n->max; i++) {
        uint32_t split = here(m);
        if (!put(m, (struct inst){.op = OP_SPLIT, .x = split + 1, .y = outs}))
            return false;
        outs = split;
        if (!emit(m, n->child))
            return false;
        if (here(m) == split + 1)
            break; /* an empty body: once is as good as many times */
    }
    patch(m, outs, true);
    return true;
}

static bool emit_repeat(struct emitter *m, const struct re_node *n)
{
    uint32_t last = here(m);
    for (uint32_t i = 0; i < n->min; i++) {
        last = here(m);
        if (!emit(m, n->child))
            return false;
        if (here(m) == last)
            return true; /* an empty body */
    }
    if (n->max != RE_NO_MAX)
        return emit_optional(m, n);
    if (n->min == 0)
        return emit_star(m, n->child);
    return put(m, (struct inst){.op = OP_SPLIT, .x = last, .y = here(m) + 1});
}

/* As deep as the parser lets in. */
static bool emit(struct emitter *m, const struct re_node *n)
{
    switch (n->kind) {
    case RE_EMPTY:
        return true;
    case RE_CHAR:
        return put(m, (struct inst){.op = OP_CHAR, .x = n->c});
    case RE_SET:
        return put(m, (struct inst){.op = OP_SET, .set = n->set});
    case RE_ASSERT:
        return put(m, (struct inst){.op = OP_ASSERT, .x = n->assertion});
    case RE_CAT:
        for (const struct re_node *k = n->child; k; k = k->next)
            if (!emit(m, k))
                return false;
        return true;
    case RE_ALT:
        return emit_alt(m, n);
    case RE_REPEAT:
        return emit_repeat(m, n);
    }
    return true;
}

static const struct regex *finish(struct arena *a, struct emitter *m)
{
    struct regex *r = arena_alloc(a, sizeof *r);
    struct inst *prog = arena_array(a, here(m), sizeof *prog);
    if (!r || !prog) {
        err_set(m->e, ERR_NOMEM, "out of memory for a pattern");
        return NULL;
    }
    r->n = here(m);
    memcpy(prog, inst_at(m, 0), r->n * sizeof *prog);
    r->prog = prog;
    r->anchored = prog[0].op == OP_ASSERT && prog[0].x == RE_BEGIN;
    return r;
}

const struct regex *regex_new(struct arena *a, struct span pattern, struct err *e)
{
    struct emitter m = {.e = e};
    if (pattern.n > LIMIT_PATTERN_BYTES) {
        err_set(e, ERR_INPUT, "the pattern is longer than %zu bytes", LIMIT_PATTERN_BYTES);
        return NULL;
    }
    if (!text_is_utf8(pattern)) {
        err_set(e, ERR_INPUT, "the pattern is not UTF-8");
        return NULL;
    }
    const struct re_node *tree = re_parse(a, pattern, e);
    if (!tree)
        return NULL;
    buf_init(&m.prog, LIMIT_PATTERN_INSTS * sizeof(struct inst));
    const struct regex *r = NULL;
    if (emit(&m, tree) && put(&m, (struct inst){.op = OP_MATCH}))
        r = finish(a, &m);
    buf_done(&m.prog);
    return r;
}

size_t regex_size(const struct regex *r)
{
    return r->n;
}

/* --- the simulation --------------------------------------------------------------------------- */

/* Threads at one place of the text: a set of instructions without repeats, in order of arrival.
 * Membership needs no clearing between places: where[i] counts only when list[where[i]] is i. */
struct threads {
    uint32_t *list, *where;
    uint32_t n;
};

static void add(struct threads *t, uint32_t i)
{
    if (t->where[i] < t->n && t->list[t->where[i]] == i)
        return;
    t->where[i] = t->n;
    t->list[t->n++] = i;
}

struct place {
    bool begin, end, edge;
    uint32_t c; /* when not at the end */
};

static bool holds(const struct place *at, enum re_assertion what)
{
    switch (what) {
    case RE_BEGIN:
        return at->begin;
    case RE_END:
        return at->end;
    case RE_WORD_EDGE:
        return at->edge;
    case RE_NO_WORD_EDGE:
        return !at->edge;
    }
    return false;
}

/* Follows every thread to what it waits for and gives those that take the character to the next
 * place; they are behind it there. True: one has matched. */
static bool advance(const struct regex *r, struct threads *now, struct threads *next,
                    const struct place *at)
{
    for (uint32_t k = 0; k < now->n; k++) {
        const struct inst *i = &r->prog[now->list[k]];
        switch ((enum op)i->op) {
        case OP_CHAR:
            if (!at->end && at->c == i->x)
                add(next, now->list[k] + 1);
            break;
        case OP_SET:
            if (!at->end && re_set_has(i->set, at->c))
                add(next, now->list[k] + 1);
            break;
        case OP_ASSERT:
            if (holds(at, (enum re_assertion)i->x))
                add(now, now->list[k] + 1);
            break;
        case OP_JUMP:
            add(now, i->x);
            break;
        case OP_SPLIT:
            add(now, i->x);
            add(now, i->y);
            break;
        case OP_MATCH:
            return true;
        }
    }
    return false;
}

size_t regex_scratch_bytes(const struct regex *r)
{
    return 4 * (size_t)r->n * sizeof(uint32_t);
}

enum regex_answer regex_find(const struct regex *r, struct span text, void *scratch, int64_t *steps)
{
    uint32_t *mem = scratch;
    struct threads now = {mem, mem + r->n, 0}, next = {mem + 2 * r->n, mem + 3 * r->n, 0};
    struct place at = {.begin = true};
    bool word_before = false;
    memset(mem, 0, regex_scratch_bytes(r));
    *steps -= r->n / 16;
    for (;;) {
        size_t n = 0;
        at.end = text.n == 0;
        at.c = at.end ? 0 : re_decode(text, &n);
        bool word = !at.end && re_is_word(at.c);
        at.edge = word != word_before;
        if (at.begin || !r->anchored)
            add(&now, 0);
        if (advance(r, &now, &next, &at))
            return REGEX_YES;
        *steps -= now.n + 1;
        if (at.end || (r->anchored && next.n == 0))
            return REGEX_NO;
        if (*steps < 0)
            return REGEX_STOPPED;
        struct threads done = now;
        now = next;
        next = (struct threads){done.list, done.where, 0};
        text = span_from(text, n);
        at.begin = false;
        word_before = word;
    }
}
