/* json/schema_check.c - runs a compiled schema over a value.
 *
 * A node is a conjunction of rules; rules that hold nodes apply them to the same value or to its
 * children. Marks (which members and items were looked at) are kept only below a node with an
 * unevaluated keyword; what may fail without consequence collects its own, which count when it
 * succeeds. Every step is counted, so a schema that multiplies alternatives ends in an error and
 * not in a held-up loop. */
#include "base/mem.h"
#include "json/schema_priv.h"

bool schema_charge(struct schema_run *r, size_t steps)
{
    r->steps -= (int64_t)steps;
    if (r->steps < 0)
        r->stopped = true;
    return !r->stopped;
}

/* What branches and deeper values fail with says more than what stands above. */
bool schema_fail(struct schema_run *r, const struct schema_rule *rule, json_val *at,
                 json_val *extra)
{
    if (r->quiet == 0 && (!r->failure.rule || r->level > r->failure.level))
        r->failure =
            (struct schema_failure){.rule = rule, .at = at, .extra = extra, .level = r->level};
    return false;
}

/* --- marks ------------------------------------------------------------------------------------ */

static bool grow_words(struct schema_run *r, size_t need)
{
    size_t n = r->cap_words > 0 ? r->cap_words : 64;
    if (need <= r->cap_words)
        return true;
    while (n < need)
        n *= 2;
    uint64_t *p = mem_realloc(r->words, n * sizeof *p);
    if (!p) {
        r->no_memory = r->stopped = true;
        return false;
    }
    r->words = p;
    r->cap_words = n;
    return true;
}

static bool marks_push(struct schema_run *r, size_t n, struct schema_marks *out)
{
    size_t words = (n + 63) / 64;
    if (!schema_charge(r, words))
        return false;
    if (!grow_words(r, r->n_words + words))
        return false;
    if (words > 0)
        memset(r->words + r->n_words, 0, words * sizeof *r->words);
    *out = (struct schema_marks){r->n_words, n};
    r->n_words += words;
    return true;
}

/* keep: what it holds counts for `into`, which may be NULL. */
static void marks_pop(struct schema_run *r, const struct schema_marks *m,
                      const struct schema_marks *into, bool keep)
{
    if (keep && into)
        for (size_t i = 0; i < (m->n + 63) / 64; i++)
            r->words[into->at + i] |= r->words[m->at + i];
    r->n_words = m->at;
}

void schema_mark(struct schema_run *r, const struct schema_marks *m, size_t i)
{
    if (m)
        r->words[m->at + i / 64] |= UINT64_C(1) << (i % 64);
}

bool schema_marked(const struct schema_run *r, const struct schema_marks *m, size_t i)
{
    return (r->words[m->at + i / 64] >> (i % 64) & 1) != 0;
}

void schema_mark_all(struct schema_run *r, const struct schema_marks *m)
{
    for (size_t i = 0; m && i < (m->n + 63) / 64; i++)
        r->words[m->at + i] = ~UINT64_C(0);
}

/* A node that may fail: its marks count only when it does not. */
static bool eval_apart(struct schema_run *r, const struct schema_node *n, json_val *v,
                       const struct schema_marks *m)
{
    struct schema_marks own;
    if (!m)
        return schema_eval(r, n, v, NULL);
    if (!marks_push(r, m->n, &own))
        return false;
    bool ok = schema_eval(r, n, v, &own);
    marks_pop(r, &own, m, ok);
    return ok;
}

static bool eval_quietly(struct schema_run *r, const struct schema_node *n, json_val *v,
                         const struct schema_marks *m)
{
    r->quiet++;
    bool ok = eval_apart(r, n, v, m);
    r->quiet--;
    return ok;
}

/* --- scalars ---------------------------------------------------------------------------------- */

static unsigned types_of(json_val *v)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_NULL:
        return TYPE_NULL;
    case YYJSON_TYPE_BOOL:
        return TYPE_BOOLEAN;
    case YYJSON_TYPE_STR:
        return TYPE_STRING;
    case YYJSON_TYPE_ARR:
        return TYPE_ARRAY;
    case YYJSON_TYPE_OBJ:
        return TYPE_OBJECT;
    default: /* a number, by the types of the library, not of an enum of ours */
        return TYPE_NUMBER;
    }
}

static bool has_type(json_val *v, unsigned types)
{
    unsigned is = types_of(v);
    if ((is & types) != 0)
        return true;
    if (is != TYPE_NUMBER || (types & TYPE_INTEGER) == 0)
        return false;
    struct schema_number n = schema_number_of(v);
    return schema_number_whole(&n);
}

static bool is_one_of(struct schema_run *r, const struct schema_rule *rule, json_val *v)
{
    if ((json_is_obj(v) || json_is_arr(v)) && !rule->containers)
        return false;
    uint64_t hash = schema_hash(v, &r->steps);
    size_t lo = 0, hi = rule->n_values;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (rule->values[mid].hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < rule->n_values && rule->values[lo].hash == hash; lo++)
        if (schema_equal(rule->values[lo].val, v, &r->steps))
            return true;
    return false;
}

static bool check_number(const struct schema_rule *rule, json_val *v)
{
    struct schema_number n = schema_number_of(v);
    if (rule->kind == RULE_MULTIPLE)
        return schema_number_divides(&rule->number, &n);
    int order = schema_number_cmp(&n, &rule->number);
    return rule->kind == RULE_MAXIMUM   ? order <= 0
           : rule->kind == RULE_BELOW   ? order < 0
           : rule->kind == RULE_MINIMUM ? order >= 0
                                        : order > 0;
}

static int64_t code_points(struct span s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return n;
}

bool schema_matches(struct schema_run *r, const struct schema_pattern *p, struct span text)
{
    if (!r->scratch)
        r->scratch = mem_alloc(r->schema->scratch_bytes);
    if (!r->scratch) {
        r->no_memory = r->stopped = true;
        return false;
    }
    enum regex_answer answer = regex_find(p->regex, text, r->scratch, &r->steps);
    if (answer == REGEX_STOPPED)
        r->stopped = true;
    return answer == REGEX_YES;
}

static bool check_string(struct schema_run *r, const struct schema_rule *rule, struct span s)
{
    if (!schema_charge(r, s.n / 64))
        return false;
    if (rule->kind == RULE_MAX_LENGTH)
        return code_points(s) <= rule->limit;
    if (rule->kind == RULE_MIN_LENGTH)
        return code_points(s) >= rule->limit;
    return rule->kind == RULE_PATTERN ? schema_matches(r, &rule->pattern, s)
                                      : rule->format->check(s);
}

/* --- logic ------------------------------------------------------------------------------------ */

static bool check_all(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                      const struct schema_marks *m)
{
    for (size_t i = 0; i < rule->n_nodes; i++)
        if (!schema_eval(r, rule->nodes[i], v, m))
            return false;
    return true;
}

/* None of the branches took v: what the one that came deepest failed with, and that it was a
 * branch. */
static bool fail_branches(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                          const struct schema_failure *before)
{
    struct schema_failure inner = r->failure;
    r->failure = *before;
    if (!inner.rule)
        return schema_fail(r, rule, v, NULL);
    inner.branch = rule;
    inner.branch_at = v;
    if (r->quiet == 0 && (!before->rule || inner.level > before->level))
        r->failure = inner;
    return false;
}

static bool check_any(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                      const struct schema_marks *m)
{
    struct schema_failure before = r->failure;
    bool any = false;
    r->failure.rule = NULL;
    for (size_t i = 0; i < rule->n_nodes && !(any && !m); i++)
        any = eval_apart(r, rule->nodes[i], v, m) || any;
    if (!any)
        return fail_branches(r, rule, v, &before);
    r->failure = before;
    return true;
}

static bool check_one(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                      const struct schema_marks *m)
{
    static const struct schema_rule several = {.kind = RULE_ONLY_ONE};
    struct schema_failure before = r->failure;
    size_t matches = 0;
    r->failure.rule = NULL;
    for (size_t i = 0; i < rule->n_nodes && matches < 2; i++)
        matches += eval_apart(r, rule->nodes[i], v, m);
    if (matches == 0)
        return fail_branches(r, rule, v, &before);
    r->failure = before;
    return matches == 1 || schema_fail(r, &several, v, NULL);
}

static bool check_if(struct schema_run *r, const struct schema_cond *k, json_val *v,
                     const struct schema_marks *m)
{
    const struct schema_node *then = eval_quietly(r, k->test, v, m) ? k->yes : k->no;
    return !then || (!r->stopped && schema_eval(r, then, v, m));
}

static bool check_not(struct schema_run *r, const struct schema_rule *rule, json_val *v)
{
    return !eval_quietly(r, rule->node, v, NULL) || schema_fail(r, rule, v, NULL);
}

/* The outermost schema on the way here that has the anchor wins. */
static const struct schema_node *dynamic_target(const struct schema_run *r,
                                                const struct schema_dynamic *d)
{
    for (size_t i = 0; i < r->n_scope; i++)
        for (const struct schema_anchor *a = r->scope[i]->anchors; a; a = a->next)
            if (a->dynamic && span_eq(a->name, d->anchor))
                return a->node;
    return d->node;
}

/* --- nodes ------------------------------------------------------------------------------------ */

/* A rule about values of another type does not apply. */
static bool check_rule(struct schema_run *r, const struct schema_rule *rule, json_val *v,
                       const struct schema_marks *m)
{
    switch (rule->kind) {
    case RULE_TYPE:
        return has_type(v, rule->types) || schema_fail(r, rule, v, NULL);
    case RULE_ENUM:
        return is_one_of(r, rule, v) || schema_fail(r, rule, v, NULL);
    case RULE_MULTIPLE:
    case RULE_MAXIMUM:
    case RULE_BELOW:
    case RULE_MINIMUM:
    case RULE_ABOVE:
        return !json_is_num(v) || check_number(rule, v) || schema_fail(r, rule, v, NULL);
    case RULE_MAX_LENGTH:
    case RULE_MIN_LENGTH:
    case RULE_PATTERN:
    case RULE_FORMAT:
        return !json_is_str(v) || check_string(r, rule, json_str(v)) ||
               schema_fail(r, rule, v, NULL);
    case RULE_MAX_ITEMS:
    case RULE_MIN_ITEMS:
    case RULE_UNIQUE:
    case RULE_ITEMS:
    case RULE_CONTAINS:
    case RULE_OTHER_ITEMS:
        return !json_is_arr(v) || schema_check_array(r, rule, v, m);
    case RULE_MAX_MEMBERS:
    case RULE_MIN_MEMBERS:
    case RULE_REQUIRES:
    case RULE_MEMBERS:
    case RULE_NAMES:
    case RULE_WHEN_PRESENT:
    case RULE_OTHER_MEMBERS:
        return !json_is_obj(v) || schema_check_object(r, rule, v, m);
    case RULE_REF:
        return schema_eval(r, rule->node, v, m);
    case RULE_DYNAMIC_REF:
        return schema_eval(r, dynamic_target(r, &rule->dynamic), v, m);
    case RULE_ALL:
        return check_all(r, rule, v, m);
    case RULE_ANY:
        return check_any(r, rule, v, m);
    case RULE_ONE:
        return check_one(r, rule, v, m);
    case RULE_NOT:
        return check_not(r, rule, v);
    case RULE_IF:
        return check_if(r, &rule->cond, v, m);
    case RULE_NOTHING:
    case RULE_NO_MEMBER:
    case RULE_NO_ITEM:
    case RULE_ONLY_ONE:
        break; /* of messages only */
    }
    return false;
}

static bool check_rules(struct schema_run *r, const struct schema_node *n, json_val *v,
                        const struct schema_marks *m)
{
    for (size_t i = 0; i < n->n_rules; i++)
        if (!schema_charge(r, 1) || !check_rule(r, &n->rules[i], v, m))
            return false;
    return true;
}

static bool check_collecting(struct schema_run *r, const struct schema_node *n, json_val *v,
                             const struct schema_marks *m)
{
    struct schema_marks own;
    if (!marks_push(r, json_count(v), &own))
        return false;
    bool ok = check_rules(r, n, v, &own);
    marks_pop(r, &own, m, ok);
    return ok;
}

bool schema_eval(struct schema_run *r, const struct schema_node *n, json_val *v,
                 const struct schema_marks *m)
{
    static const struct schema_rule nothing = {.kind = RULE_NOTHING};
    if (n->kind == NODE_ANYTHING)
        return true;
    if (n->kind == NODE_NOTHING)
        return schema_fail(r, &nothing, v, NULL);
    if (!schema_charge(r, 1))
        return false;
    if (r->depth == LIMIT_SCHEMA_DEPTH) {
        r->stopped = true;
        return false;
    }
    size_t scope = r->n_scope;
    if (scope == 0 || r->scope[scope - 1] != n->resource)
        r->scope[r->n_scope++] = n->resource;
    r->depth++;
    bool ok = n->collects ? check_collecting(r, n, v, m) : check_rules(r, n, v, m);
    r->depth--;
    r->n_scope = scope;
    return ok;
}

bool schema_eval_child(struct schema_run *r, const struct schema_node *n, json_val *v)
{
    r->level++;
    bool ok = schema_eval(r, n, v, NULL);
    r->level--;
    return ok;
}

/* --- public ----------------------------------------------------------------------------------- */

static bool too_complex(struct err *e)
{
    err_set(
        e, ERR_LIMIT,
        "checking the value against the JSON schema takes too long or goes too deep: the schema "
        "multiplies alternatives, or the value is very large");
    return err_with_code(e, "schema_too_complex");
}

bool schema_check(const struct schema *s, json_val *v, struct err *e)
{
    struct schema_run r;
    memset(&r, 0, offsetof(struct schema_run, scope));
    memset(&r.n_scope, 0, sizeof r - offsetof(struct schema_run, n_scope));
    r.schema = s;
    r.steps = LIMIT_SCHEMA_STEPS;
    bool ok = schema_eval(&r, s->root, v, NULL);
    mem_free(r.words);
    mem_free(r.hashed);
    mem_free(r.scratch);
    if (r.no_memory)
        return err_set(e, ERR_NOMEM, "out of memory while a value was checked against its schema");
    if (r.stopped || r.steps < 0)
        return too_complex(e);
    if (!ok)
        schema_say(&r.failure, v, e);
    return ok;
}
