/* base/buf.c - see base/buf.h. Memory beyond the readable bytes always has one byte to spare (cap
 * is at most max + 1), so that the formatter can write its NUL in place. */
#include "base/buf.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_BYTES 256

void buf_init(struct buf *b, size_t max)
{
    /* The bound keeps every sum and doubling below from overflowing. */
    *b = (struct buf){.max = max < SIZE_MAX / 8 ? max : SIZE_MAX / 8};
}

void buf_done(struct buf *b)
{
    mem_free(b->mem);
    *b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
    b->start = b->n = 0;
}

static char *end_of(const struct buf *b)
{
    return b->mem + b->start + b->n;
}

struct span buf_span(const struct buf *b)
{
    return b->n > 0 ? (struct span){b->mem + b->start, b->n} : (struct span){"", 0};
}

/* need <= max + 1 */
static bool grow(struct buf *b, size_t need, struct err *e)
{
    size_t cap = b->cap > 0 ? b->cap : FIRST_BYTES;
    while (cap < need)
        cap *= 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    char *mem = mem_realloc(b->mem, cap);
    if (!mem)
        return err_set(e, ERR_NOMEM, "no memory for a buffer of %zu bytes", cap);
    b->mem = mem;
    b->cap = cap;
    return true;
}

/* The slow half of reserve(). Moving the bytes to the front is enough only when at least half as
 * many were eaten, or when the memory is as large as it may get; else it grows too, so that a
 * long-lived buffer moves each byte a constant number of times. */
static bool make_room(struct buf *b, size_t want, struct err *e)
{
    if (want > b->max || b->n > b->max - want)
        return err_set(e, ERR_LIMIT, "%zu bytes on top of %zu pass the limit of %zu bytes", want,
                       b->n, b->max);
    size_t need = b->n + want + 1;
    bool fits = need <= b->cap;
    bool enough = fits && (b->start >= b->n / 2 || b->cap > b->max);
    if (b->start > 0) {
        memmove(b->mem, b->mem + b->start, b->n);
        b->start = 0;
    }
    return enough || grow(b, fits ? b->cap + 1 : need, e);
}

/* Memory at hand is within the limit, because cap is: the common case needs one comparison. */
static bool reserve(struct buf *b, size_t want, struct err *e)
{
    if (want < b->cap && b->start + b->n + want < b->cap)
        return true;
    return make_room(b, want, e);
}

bool buf_add(struct buf *b, struct span s, struct err *e)
{
    if (s.n == 0)
        return true;
    if (!reserve(b, s.n, e))
        return false;
    memcpy(end_of(b), s.p, s.n);
    b->n += s.n;
    return true;
}

bool buf_add_char(struct buf *b, char c, struct err *e)
{
    if (!reserve(b, 1, e))
        return false;
    *end_of(b) = c;
    b->n++;
    return true;
}

/* Tries the room at hand first: most texts are short and fit. */
bool buf_addf(struct buf *b, struct err *e, const char *fmt, ...)
{
    if (!reserve(b, 0, e))
        return false;
    size_t room = b->cap - b->start - b->n;
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(end_of(b), room, fmt, args);
    va_end(args);
    if (len < 0)
        return err_set(e, ERR_STATE, "buffer: text that cannot be formatted");
    if ((size_t)len >= room) {
        if (!reserve(b, (size_t)len, e))
            return false;
        va_start(args, fmt);
        vsnprintf(end_of(b), (size_t)len + 1, fmt, args);
        va_end(args);
    }
    b->n += (size_t)len;
    return true;
}

bool buf_room(struct buf *b, size_t want, char **out, struct err *e)
{
    if (!reserve(b, want, e))
        return false;
    *out = end_of(b);
    return true;
}

void buf_grew(struct buf *b, size_t n)
{
    assert(n <= b->cap - b->start - b->n);
    b->n += n;
}

void buf_eat(struct buf *b, size_t n)
{
    b->n = n < b->n ? b->n - n : 0;
    b->start = b->n > 0 ? b->start + n : 0;
}

void buf_cut(struct buf *b, size_t n)
{
    if (n < b->n)
        b->n = n;
}
