/* json/json_parse.c - text to values, in one block of memory whose size is known beforehand.
 *
 * A scan over the text finds its depth and an upper bound of the number of values; so the parser
 * gets exactly one allocation, its memory follows what is in the text and not a guess from its
 * length (a body full of images has few values), and deep nesting is refused before it costs
 * anything. */
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "json/json_priv.h"

/* --- the scan --------------------------------------------------------------------------------- */

enum byte_class { B_OTHER = 0, B_OPEN, B_CLOSE, B_NEXT, B_QUOTE };
static const unsigned char byte_classes[256] = {
    ['{'] = B_OPEN, ['['] = B_OPEN, ['}'] = B_CLOSE, [']'] = B_CLOSE,
    [','] = B_NEXT, [':'] = B_NEXT, ['"'] = B_QUOTE,
};

/* p stands behind the opening quote. Returns the place behind the closing one, or end. */
static const char *skip_string(const char *p, const char *end)
{
    const char *start = p;
    while ((p = memchr(p, '"', (size_t)(end - p))) != NULL) {
        const char *q = p;
        while (q > start && q[-1] == '\\')
            q--;
        p++;
        if ((p - 1 - q) % 2 == 0) /* an even run of backslashes escapes itself, not the quote */
            return p;
        start = p;
    }
    return end;
}

/* Every value but the first stands behind an opening bracket, a comma or a colon. Broken text is
 * measured too: the parser stops where it breaks, so the bound holds. */
static bool scan(struct span text, size_t *out_values, struct err *e)
{
    const char *p = text.p, *end = text.p + text.n;
    size_t depth = 0, values = 1;
    while (p < end) {
        switch ((enum byte_class)byte_classes[(unsigned char)*p++]) {
        case B_OTHER:
            break;
        case B_OPEN:
            values++;
            if (++depth > LIMIT_JSON_DEPTH)
                return err_set(e, ERR_INPUT,
                               "not acceptable JSON at byte %zu: nested deeper than %d levels",
                               (size_t)(p - 1 - text.p), LIMIT_JSON_DEPTH);
            break;
        case B_CLOSE:
            depth -= depth > 0;
            break;
        case B_NEXT:
            values++;
            break;
        case B_QUOTE:
            p = skip_string(p, end);
            break;
        }
    }
    *out_values = values;
    return true;
}

struct span json_member_text(struct span object, size_t i)
{
    const char *p = object.p, *end = object.p + object.n, *from = NULL;
    size_t depth = 0, member = 0;
    while (p < end) {
        char c = *p++;
        bool over = false; /* the member ends before c */
        switch ((enum byte_class)byte_classes[(unsigned char)c]) {
        case B_OTHER:
            break;
        case B_OPEN:
            depth++;
            break;
        case B_CLOSE:
            over = --depth == 0;
            break;
        case B_NEXT:
            over = depth == 1 && c == ',';
            if (depth == 1 && c == ':' && member == i)
                from = p;
            break;
        case B_QUOTE:
            p = skip_string(p, end);
            break;
        }
        if (over && from != NULL)
            return span_trim(span_make(from, (size_t)(p - 1 - from)));
        member += over;
    }
    return (struct span){0};
}

/* --- one block -------------------------------------------------------------------------------- */

/* The parser's values, then its own copy of the text, which it unescapes in place. */
struct block {
    char *mem;
    size_t values_bytes, bytes;
};

/* The parser begins with a header and some 50 values and grows by half each time it runs out. */
#define SPARE_VALUES 64

/* Whether it has so few brackets that it cannot be too deep. Counted in bytes, a run of 255 at a
 * time, with the one bit masked in which '[' and '{' differ: so a compiler makes it fast. */
static bool is_shallow(struct span text)
{
    size_t n = 0;
    while (text.n > 0) {
        struct span run = span_upto(text, UINT8_MAX);
        uint8_t here = 0;
        for (size_t i = 0; i < run.n; i++)
            here = (uint8_t)(here + ((run.p[i] | 0x20) == '{'));
        n += here;
        text = span_from(text, run.n);
    }
    return n <= LIMIT_JSON_DEPTH;
}

/* unscanned: texts up to that long are reckoned to be nothing but values of one byte. */
static bool measure(struct span text, size_t unscanned, struct block *out, struct err *e)
{
    size_t values = text.n / 2 + 1;
    if (text.n == 0)
        return err_set(e, ERR_INPUT, "not valid JSON at byte 0: it is empty");
    if (text.n > SIZE_MAX / 64)
        return err_set(e, ERR_LIMIT, "the JSON text is too long");
    if ((text.n > unscanned || !is_shallow(text)) && !scan(text, &values, e))
        return false;
    size_t n = (values + SPARE_VALUES) + (values + SPARE_VALUES) / 2;
    out->values_bytes = n * sizeof(yyjson_val);
    out->bytes = out->values_bytes + text.n + YYJSON_PADDING_SIZE;
    return true;
}

static void *block_alloc(void *ctx, size_t n)
{
    const struct block *k = ctx;
    return n <= k->values_bytes ? k->mem : NULL;
}

static void *block_realloc(void *ctx, void *p, size_t old_n, size_t n)
{
    return block_alloc(ctx, n);
}

static void block_free(void *ctx, void *p)
{
}

static bool refuse(struct err *e, size_t at, const char *why)
{
    return err_set(e, ERR_INPUT, "not valid JSON at byte %zu: %s", at, why);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The flag DONE makes the parser start small instead of guessing from the length; what comes behind
 * the value is then ours to check, in the text and not in the copy, where a number at the end got
 * its NUL. */
static yyjson_doc *parse_block(struct block *k, struct span text, struct err *e)
{
    char *copy = k->mem + k->values_bytes;
    memcpy(copy, text.p, text.n);
    memset(copy + text.n, 0, YYJSON_PADDING_SIZE);
    yyjson_alc alc = {block_alloc, block_realloc, block_free, k};
    yyjson_read_err why;
    yyjson_doc *doc = yyjson_read_opts(
        copy, text.n, YYJSON_READ_INSITU | YYJSON_READ_NUMBER_AS_RAW | YYJSON_READ_STOP_WHEN_DONE,
        &alc, &why);
    if (doc == NULL && why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        err_set(e, ERR_NOMEM, "out of memory for a JSON text of %zu bytes", text.n);
        return NULL;
    }
    if (doc == NULL) {
        refuse(e, why.pos, why.msg);
        return NULL;
    }
    struct span rest = span_from(text, yyjson_doc_get_read_size(doc));
    while (rest.n > 0 && is_space(rest.p[0]))
        rest = span_from(rest, 1);
    if (rest.n > 0) {
        refuse(e, text.n - rest.n, "unexpected content after the value");
        return NULL;
    }
    return doc;
}

/* --- public ----------------------------------------------------------------------------------- */

bool json_parse(struct arena *a, struct span text, json_val **out, struct err *e)
{
    struct block k = {0};
    if (!measure(text, 0, &k, e))
        return false;
    if (k.bytes > LIMIT_ARENA_BYTES)
        return err_set(e, ERR_LIMIT, "the JSON text has too many values");
    k.mem = arena_alloc(a, k.bytes);
    if (k.mem == NULL)
        return err_set(e, ERR_NOMEM, "out of memory for a JSON text of %zu bytes", text.n);
    yyjson_doc *doc = parse_block(&k, text, e);
    if (doc == NULL)
        return false;
    json_val *root = yyjson_doc_get_root(doc);
    if (!json_check_keys(root, yyjson_doc_get_val_count(doc), e))
        return false;
    *out = root;
    return true;
}

void json_scratch_init(struct json_scratch *s)
{
    *s = (struct json_scratch){0};
}

void json_scratch_done(struct json_scratch *s)
{
    mem_free(s->mem);
    json_scratch_init(s);
}

#define SCRATCH_FIRST_BYTES KIB(8)
/* A token's chunk: what it needs at most fits in the first block, so the scan would be for nothing.
 */
#define SCRATCH_UNSCANNED_BYTES 512
/* Above this the memory of one unusually large document is given back at the next small one. */
#define SCRATCH_KEEP_BYTES MIB(1)

static bool scratch_reserve(struct json_scratch *s, size_t bytes, struct err *e)
{
    bool oversized = s->cap > SCRATCH_KEEP_BYTES && bytes < s->cap / 8;
    if (s->cap >= bytes && !oversized)
        return true;
    size_t cap = SCRATCH_FIRST_BYTES;
    while (cap < bytes)
        cap *= 2;
    json_scratch_done(s); /* first: the old document is dead, and both need not fit */
    s->mem = mem_alloc(cap);
    if (s->mem == NULL)
        return err_set(e, ERR_NOMEM, "out of memory for a JSON text");
    s->cap = cap;
    return true;
}

bool json_parse_scratch(struct json_scratch *s, struct span text, json_val **out, struct err *e)
{
    struct block k = {0};
    if (!measure(text, SCRATCH_UNSCANNED_BYTES, &k, e) || !scratch_reserve(s, k.bytes, e))
        return false;
    k.mem = s->mem;
    yyjson_doc *doc = parse_block(&k, text, e);
    if (doc == NULL)
        return false;
    *out = yyjson_doc_get_root(doc);
    return true;
}
