/* json/schema_ref.c - names inside a schema: resources ($id), anchors, and the references to them.
 * All are in one document; what points elsewhere is refused. References are connected when every
 * node is there, and then no circle may be left that comes back to its start without going into the
 * value. */
#include "base/text.h"
#include "json/schema_priv.h"

#define MAX_NAMED     256 /* resources and anchors: they are looked for one by one */
#define MAX_URI_BYTES 1024

/* --- resources and anchors -------------------------------------------------------------------- */

static bool count_named(struct schema_compiler *c, json_val *at)
{
    if (++c->n_named <= MAX_NAMED)
        return true;
    return schema_bad(c, at, "the schema has more than %d names ($id, $anchor)", MAX_NAMED);
}

static struct schema_resource *find_resource(struct schema_compiler *c, struct span uri)
{
    for (struct schema_resource *r = c->resources; r; r = r->next)
        if (span_eq(r->uri, uri))
            return r;
    return NULL;
}

bool schema_add_resource(struct schema_compiler *c, json_val *at, json_val *id,
                         struct schema_resource **io)
{
    struct span text = id ? json_str(id) : SPAN("");
    struct span base = *io ? (*io)->uri : SPAN("schema:/");
    if (!text.p || text.n > MAX_URI_BYTES)
        return schema_bad(c, id, "\"$id\" must be a string of at most %d bytes", MAX_URI_BYTES);
    size_t n = span_find(text, "#");
    if (n + 1 < text.n)
        return schema_bad(c, id, "\"$id\" must not have a fragment: use \"$anchor\"");
    struct schema_resource *r = arena_alloc(c->a, sizeof *r);
    struct span uri = schema_uri_resolve(c->a, base, span_upto(text, n));
    if (!r || !uri.p)
        return schema_no_memory(c);
    if (uri.n > MAX_URI_BYTES || find_resource(c, uri))
        return schema_bad(c, id, "\"$id\" is the URI of another schema already, or too long");
    *r = (struct schema_resource){.next = c->resources, .uri = uri, .root = at};
    c->resources = r;
    *io = r;
    return count_named(c, at);
}

static struct schema_anchor *find_anchor(const struct schema_resource *in, struct span name)
{
    for (struct schema_anchor *a = in->anchors; a; a = a->next)
        if (span_eq(a->name, name))
            return a;
    return NULL;
}

static bool is_anchor_name(struct span s)
{
    if (!s.p || s.n == 0 || s.n > 256 || strchr("0123456789-.", s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\0' ||
            !strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._", c))
            return false;
    }
    return true;
}

bool schema_add_anchor(struct schema_compiler *c, struct schema_resource *in, json_val *at,
                       json_val *name, bool dynamic)
{
    struct span text = json_str(name);
    if (!is_anchor_name(text))
        return schema_bad(c, name,
                          "an anchor is a letter or \"_\" and then letters, digits, "
                          "\"-\", \".\" or \"_\"");
    struct schema_anchor *same = find_anchor(in, text);
    if (same && same->at != at)
        return schema_bad(c, name, "the anchor stands twice in its schema");
    if (same) { /* $anchor and $dynamicAnchor of one name at one place */
        same->dynamic = same->dynamic || dynamic;
        return true;
    }
    struct schema_anchor *a = arena_alloc(c->a, sizeof *a);
    if (!a)
        return schema_no_memory(c);
    *a = (struct schema_anchor){.next = in->anchors, .name = text, .dynamic = dynamic, .at = at};
    in->anchors = a;
    return count_named(c, name);
}

/* --- one reference ---------------------------------------------------------------------------- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* %41 to A, in the arena. */
static struct span percent_decode(struct arena *a, struct span s)
{
    struct span out = arena_dup(a, s);
    char *p = (char *)(uintptr_t)out.p;
    size_t n = 0;
    for (size_t i = 0; p && i < s.n; i++) {
        int hi = s.p[i] == '%' && i + 2 < s.n ? hex_of(s.p[i + 1]) : -1;
        int lo = hi >= 0 ? hex_of(s.p[i + 2]) : -1;
        p[n++] = lo >= 0 ? (char)(hi << 4 | lo) : s.p[i];
        i += lo >= 0 ? 2 : 0;
    }
    out.n = p ? n : 0;
    return out;
}

/* ~1 to / and ~0 to ~, in place: s is ours. */
static struct span pointer_decode(struct span s)
{
    char *p = (char *)(uintptr_t)s.p;
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '~' && i + 1 < s.n && (s.p[i + 1] == '0' || s.p[i + 1] == '1');
        p[n++] = !escape ? s.p[i] : s.p[i + 1] == '0' ? '~' : '/';
        i += escape;
    }
    return (struct span){p, n};
}

static json_val *item_at(json_val *v, struct span token)
{
    int64_t i;
    if (token.n == 0 || token.n > 9 || (token.n > 1 && token.p[0] == '0') ||
        !span_to_i64(token, &i) || i < 0)
        return NULL;
    struct json_iter it = json_iter_of(v);
    json_val *item = NULL;
    for (int64_t k = 0; k <= i; k++)
        if (!json_next(&it, NULL, &item))
            return NULL;
    return item;
}

/* A JSON pointer from v; NULL: nothing is there. */
static json_val *follow(struct schema_compiler *c, json_val *v, struct span pointer)
{
    while (v && pointer.n > 0) {
        pointer = span_from(pointer, 1);
        struct span token = span_upto(pointer, span_find(pointer, "/"));
        pointer = span_from(pointer, token.n);
        c->steps -= (int64_t)json_count(v);
        token = pointer_decode(token);
        v = json_is_arr(v) ? item_at(v, token) : json_get_span(v, token);
    }
    return v;
}

/* The place that the fragment names in the resource; *out_anchor when it was by an anchor. */
static json_val *find_place(struct schema_compiler *c, const struct schema_resource *in,
                            struct span fragment, struct schema_anchor **out_anchor)
{
    if (fragment.n == 0)
        return in->root;
    if (fragment.p[0] == '/')
        return follow(c, in->root, fragment);
    *out_anchor = find_anchor(in, fragment);
    return *out_anchor ? (*out_anchor)->at : NULL;
}

static const struct schema_resource *resource_of(struct schema_compiler *c,
                                                 const struct schema_pending *p, struct span uri)
{
    if (uri.n == 0)
        return p->base;
    struct span whole = schema_uri_resolve(c->a, p->base->uri, uri);
    return whole.p ? find_resource(c, whole) : NULL;
}

static bool connect(struct schema_compiler *c, struct schema_pending *p)
{
    struct span text = json_str(p->at);
    struct schema_anchor *anchor = NULL;
    if (!text.p || text.n > MAX_URI_BYTES)
        return schema_bad(c, p->at, "a reference must be a string of at most %d bytes",
                          MAX_URI_BYTES);
    size_t n = span_find(text, "#");
    struct span fragment = percent_decode(c->a, span_from(text, n + 1));
    if (!fragment.p)
        return schema_no_memory(c);
    const struct schema_resource *in = resource_of(c, p, span_upto(text, n));
    if (!in)
        return schema_bad(c, p->at,
                          "a reference to another document is not supported: put what it means "
                          "under \"$defs\"");
    json_val *at = find_place(c, in, fragment, &anchor);
    struct schema_node *node = at ? c->nodes[at - c->root] : NULL;
    if (c->steps < 0)
        return schema_bad(c, p->at, "the schema has too many references");
    if (!node)
        return schema_bad(c, p->at, "the reference leads to no schema");
    bool dynamic = p->rule->kind == RULE_DYNAMIC_REF && anchor && anchor->dynamic;
    p->rule->kind = dynamic ? RULE_DYNAMIC_REF : RULE_REF;
    if (dynamic)
        p->rule->dynamic = (struct schema_dynamic){anchor->name, node};
    else
        p->rule->node = node;
    return true;
}

/* --- circles ---------------------------------------------------------------------------------- */

enum { SEEN_NOT, SEEN_OPEN, SEEN_DONE };

static bool visit(struct schema_compiler *c, const struct schema_node *n, unsigned depth);

/* What a rule applies to the same value; dynamic references are left to the limit at run time. */
static bool visit_rule(struct schema_compiler *c, const struct schema_rule *r, unsigned depth)
{
    switch ((unsigned)r->kind) {
    case RULE_REF:
    case RULE_NOT:
        return visit(c, r->node, depth);
    case RULE_WHEN_PRESENT:
        return visit(c, r->when.node, depth);
    case RULE_ALL:
    case RULE_ANY:
    case RULE_ONE:
        for (size_t i = 0; i < r->n_nodes; i++)
            if (!visit(c, r->nodes[i], depth))
                return false;
        return true;
    case RULE_IF:
        return visit(c, r->cond.test, depth) && visit(c, r->cond.yes, depth) &&
               visit(c, r->cond.no, depth);
    default: /* all others go into the value, or nowhere */
        return true;
    }
}

static bool visit(struct schema_compiler *c, const struct schema_node *n, unsigned depth)
{
    if (!n || n->seen == SEEN_DONE)
        return true;
    if (n->seen == SEEN_OPEN)
        return schema_bad(c, n->at,
                          "the schema refers to itself without end: it would be asked of "
                          "the same value again and again");
    if (depth > LIMIT_SCHEMA_DEPTH)
        return schema_bad(c, n->at, "more than %d references lead from one to the next",
                          LIMIT_SCHEMA_DEPTH);
    struct schema_node *node = c->nodes[n->at - c->root];
    node->seen = SEEN_OPEN;
    for (size_t i = 0; i < n->n_rules; i++)
        if (!visit_rule(c, &n->rules[i], depth + 1))
            return false;
    node->seen = SEEN_DONE;
    return true;
}

bool schema_connect(struct schema_compiler *c)
{
    for (struct schema_resource *r = c->resources; r; r = r->next)
        for (struct schema_anchor *a = r->anchors; a; a = a->next)
            a->node = c->nodes[a->at - c->root];
    for (struct schema_pending *p = c->pending; p; p = p->next)
        if (!connect(c, p))
            return false;
    for (size_t i = 0; i < c->n_values; i++)
        if (!visit(c, c->nodes[i], 0))
            return false;
    return true;
}
