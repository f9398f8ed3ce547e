/* json/json_write.c - JSON text: strings, values as they came, and the writer that puts the commas.
 * No printf for numbers: its decimal point follows the locale. */
#include <math.h>
#include <string.h>

#include "base/limits.h"
#include "json/json_priv.h"

/* --- strings ---------------------------------------------------------------------------------- */

/* Length of the UTF-8 sequence at p (n > 0, p[0] >= 0x80). When it is broken: *ok false and the
 * length of what a reader replaces by one U+FFFD (Unicode, "maximal subparts"). The second byte
 * alone has bounds of its own: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
static size_t sequence(const unsigned char *p, size_t n, bool *ok)
{
    size_t want = p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    unsigned low = p[0] == 0xE0 ? 0xA0 : p[0] == 0xF0 ? 0x90 : 0x80;
    unsigned high = p[0] == 0xED ? 0x9F : p[0] == 0xF4 ? 0x8F : 0xBF;
    size_t i = 1;
    for (; i < want && i < n && p[i] >= low && p[i] <= high; i++) {
        low = 0x80;
        high = 0xBF;
    }
    *ok = i == want;
    return i;
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Index of the first of eight bytes that is not plain (ASCII, no control, quote or backslash), 8
 * when all are. The usual bit tricks for "a byte below n" and "a byte equal to n": they may see too
 * much behind a true hit, never before one. */
static size_t plain_of_eight(const unsigned char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap64(w);
#endif
    uint64_t quote = w ^ EACH('"'), slash = w ^ EACH('\\');
    uint64_t hits = (w - EACH(0x20)) | (quote - EACH(1)) | (slash - EACH(1)) | w;
    hits &= EACH(0x80);
    return hits == 0 ? 8 : (size_t)__builtin_ctzll(hits) / 8;
}

/* Length of the start of s that goes out unchanged. */
static size_t plain_run(struct span s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t i = 0;
    while (i < s.n) {
        if (s.n - i >= 8) {
            size_t n = plain_of_eight(p + i);
            i += n;
            if (n == 8)
                continue;
        }
        if (p[i] < 0x20 || p[i] == '"' || p[i] == '\\')
            return i;
        i += p[i] < 0x80;
        /* All of a word at once: text in other scripts would pay the test above for each letter. */
        while (i < s.n && p[i] >= 0x80) {
            bool ok;
            size_t n = sequence(p + i, s.n - i, &ok);
            if (!ok)
                return i;
            i += n;
        }
    }
    return i;
}

/* Writes what stands for the byte or broken sequence at the start of s, which is not plain. */
static bool write_escape(struct buf *b, struct span *s, struct err *e)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                  ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    unsigned char c = (unsigned char)s->p[0];
    if (c >= 0x80) {
        bool ok;
        *s = span_from(*s, sequence((const unsigned char *)s->p, s->n, &ok));
        return buf_add(b, SPAN("\xEF\xBF\xBD"), e);
    }
    *s = span_from(*s, 1);
    if (c < sizeof shorts && shorts[c] != '\0')
        return buf_add(b, (struct span){(char[]){'\\', shorts[c]}, 2}, e);
    const char hex[] = "0123456789abcdef";
    return buf_add(b, (struct span){(char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6}, e);
}

static bool write_escaped(struct buf *b, struct span s, size_t run, struct err *e)
{
    if (!buf_add_char(b, '"', e))
        return false;
    for (;;) {
        if (!buf_add(b, span_upto(s, run), e))
            return false;
        s = span_from(s, run);
        if (s.n == 0)
            return buf_add_char(b, '"', e);
        if (!write_escape(b, &s, e))
            return false;
        run = plain_run(s);
    }
}

bool json_write_str(struct buf *b, struct span s, struct err *e)
{
    size_t run = plain_run(s), before = b->n;
    char *out;
    if (run < s.n) {
        if (write_escaped(b, s, run, e))
            return true;
        buf_cut(b, before);
        return false;
    }
    if (!buf_room(b, s.n + 2, &out, e))
        return false;
    out[0] = '"';
    if (s.n > 0)
        memcpy(out + 1, s.p, s.n);
    out[s.n + 1] = '"';
    buf_grew(b, s.n + 2);
    return true;
}

/* --- values ----------------------------------------------------------------------------------- */

static bool write_scalar(struct buf *b, json_val *v, struct err *e)
{
    if (json_is_str(v))
        return json_write_str(b, json_str(v), e);
    if (json_is_num(v))
        return buf_add(b, json_num_text(v), e);
    if (json_is_bool(v))
        return buf_add(b, json_true(v) ? SPAN("true") : SPAN("false"), e);
    return buf_add(b, SPAN("null"), e);
}

struct frame {
    size_t left;
    bool obj, first;
};

/* Before the next child of f: comma and key. *at stands at the child afterwards. */
static bool write_between(struct buf *b, struct frame *f, json_val **at, struct err *e)
{
    if (!f->first && !buf_add_char(b, ',', e))
        return false;
    f->first = false;
    f->left--;
    if (!f->obj)
        return true;
    struct span key = json_str((*at)++);
    return json_write_str(b, key, e) && buf_add_char(b, ':', e);
}

/* Along the flat array of values; the frames are the containers that are open. */
static bool write_tree(struct buf *b, json_val *at, struct err *e)
{
    struct frame frames[LIMIT_JSON_DEPTH], *top = frames;
    do {
        if (top > frames && top[-1].left == 0) {
            if (!buf_add_char(b, (--top)->obj ? '}' : ']', e))
                return false;
            continue;
        }
        if (top > frames && !write_between(b, top - 1, &at, e))
            return false;
        if (!yyjson_is_ctn(at)) {
            if (!write_scalar(b, at++, e))
                return false;
            continue;
        }
        if (top == frames + LIMIT_JSON_DEPTH)
            return err_set(e, ERR_STATE, "json: a value nested deeper than the parser allows");
        *top = (struct frame){.left = json_count(at), .obj = json_is_obj(at), .first = true};
        at++;
        if (!buf_add_char(b, (top++)->obj ? '{' : '[', e))
            return false;
    } while (top > frames);
    return true;
}

bool json_write_val(struct buf *b, json_val *v, struct err *e)
{
    size_t before = b->n;
    if (v == NULL)
        return err_set(e, ERR_STATE, "json: no value to write");
    if (write_tree(b, v, e))
        return true;
    buf_cut(b, before);
    return false;
}

bool json_raw(struct arena *a, json_val *v, struct span *out, struct err *e)
{
    struct buf b;
    buf_init(&b, LIMIT_ARENA_BYTES);
    bool ok = json_write_val(&b, v, e);
    struct span copy = ok ? arena_dup(a, buf_span(&b)) : (struct span){NULL, 0};
    buf_done(&b);
    if (ok && copy.p == NULL)
        return err_set(e, ERR_NOMEM, "out of memory for a JSON value");
    if (ok)
        *out = copy;
    return ok;
}

/* --- the writer ------------------------------------------------------------------------------- */

void json_w_init(struct json_w *w, struct buf *b, struct err *e)
{
    *w = (struct json_w){.b = b, .e = e};
}

static void put(struct json_w *w, struct span s)
{
    w->failed = w->failed || !buf_add(w->b, s, w->e);
}

/* Before each value and key. */
static void begin(struct json_w *w)
{
    if (w->comma)
        put(w, SPAN(","));
    w->comma = false;
}

static void put_value(struct json_w *w, struct span s)
{
    begin(w);
    put(w, s);
    w->comma = true;
}

static void close_container(struct json_w *w, struct span s)
{
    w->comma = false;
    put_value(w, s);
}

void json_w_obj(struct json_w *w)
{
    begin(w);
    put(w, SPAN("{"));
}

void json_w_obj_end(struct json_w *w)
{
    close_container(w, SPAN("}"));
}

void json_w_arr(struct json_w *w)
{
    begin(w);
    put(w, SPAN("["));
}

void json_w_arr_end(struct json_w *w)
{
    close_container(w, SPAN("]"));
}

void json_w_key(struct json_w *w, const char *key)
{
    json_w_str(w, span_of(key));
    put(w, SPAN(":"));
    w->comma = false;
}

void json_w_str(struct json_w *w, struct span s)
{
    begin(w);
    w->failed = w->failed || !json_write_str(w->b, s, w->e);
    w->comma = true;
}

void json_w_cstr(struct json_w *w, const char *s)
{
    if (s == NULL)
        json_w_null(w);
    else
        json_w_str(w, span_of(s));
}

/* The decimal digits of v, right-aligned before end; at least `least`. Returns where they start. */
static char *digits_before(char *end, uint64_t v, size_t least)
{
    char *p = end;
    do
        *--p = (char)('0' + v % 10);
    while ((v /= 10) > 0 || (size_t)(end - p) < least);
    return p;
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

void json_w_i64(struct json_w *w, int64_t v)
{
    char text[24], *end = text + sizeof text, *p = digits_before(end, magnitude(v), 1);
    if (v < 0)
        *--p = '-';
    put_value(w, (struct span){p, (size_t)(end - p)});
}

void json_w_f64(struct json_w *w, double v)
{
    if (!isfinite(v)) {
        json_w_null(w);
        return;
    }
    char mem[1024]; /* the library formats into memory of its own: here, on the stack */
    size_t n = 0;
    yyjson_alc alc;
    yyjson_val val = {.tag = YYJSON_TYPE_NUM | YYJSON_SUBTYPE_REAL, .uni.f64 = v};
    const char *text = NULL;
    if (yyjson_alc_pool_init(&alc, mem, sizeof mem))
        text = yyjson_val_write_opts(&val, 0, &alc, &n, NULL);
    if (text == NULL && !w->failed)
        w->failed = !err_set(w->e, ERR_STATE, "json: a number that cannot be written");
    put_value(w, (struct span){text, n});
}

void json_w_bool(struct json_w *w, bool v)
{
    put_value(w, v ? SPAN("true") : SPAN("false"));
}

void json_w_null(struct json_w *w)
{
    put_value(w, SPAN("null"));
}

void json_w_raw(struct json_w *w, struct span json)
{
    put_value(w, json);
}

void json_w_nusd(struct json_w *w, int64_t nusd)
{
    enum { PLACES = 9 };
    char text[24], *end = text + sizeof text;
    char *p = digits_before(end, magnitude(nusd), PLACES + 1);
    char *point = end - PLACES;
    while (end > point && end[-1] == '0')
        end--;
    begin(w);
    if (nusd < 0)
        put(w, SPAN("-"));
    put(w, (struct span){p, (size_t)(point - p)});
    if (end > point) {
        put(w, SPAN("."));
        put(w, (struct span){point, (size_t)(end - point)});
    }
    w->comma = true;
}

bool json_w_end(struct json_w *w)
{
    return !w->failed;
}
