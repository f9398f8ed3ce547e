/* bench/shape.c - see bench/shape.h. */
#include "shape.h"

#include <errno.h>
#include <time.h>

/* Makes a frame of 283 bytes with the envelope of mock_answer.c and an id of three letters. */
#define PIECE_BYTES 40
#define MAX_PIECES  9999
#define CHOICE_WORD " The answer is "

static const char words[] =
    "the river bends twice before it meets the old stone bridge and the mill behind it ";

static bool number(struct span field, unsigned max, unsigned *out)
{
    int64_t v;
    if (!span_to_i64(span_from(field, 1), &v) || v < 0 || v > max)
        return false;
    *out = (unsigned)v;
    return true;
}

static bool read_field(struct span f, struct shape *s)
{
    if (span_eq(f, SPAN("verdict")))
        return s->verdict = true;
    if (span_eq(f, SPAN("hold")))
        return s->hold = true;
    switch (f.n > 1 ? f.p[0] : '\0') {
    case 'n':
        return number(f, MAX_PIECES, &s->pieces);
    case 'b':
        return number(f, 4096, &s->piece_bytes) && s->piece_bytes >= 8;
    case 'd':
        return number(f, 600000, &s->delay_ms);
    case 'p':
        return number(f, 600000, &s->pace_ms);
    case 't':
        return number(f, MAX_PIECES, &s->args) && s->args >= 2;
    case 'c':
        s->choice = f.p[1];
        return f.n == 2 && f.p[1] >= 'A' && f.p[1] <= 'Z';
    default:
        return false;
    }
}

bool shape_parse(struct span id, struct shape *out)
{
    struct shape s = {.pieces = 32, .piece_bytes = PIECE_BYTES};
    struct span field;
    while (span_cut(&id, '-', &field)) {
        if (span_eq(field, SPAN("as")))
            span_cut(&id, '-', &field);
        else if (!read_field(field, &s))
            return false;
    }
    *out = s;
    return true;
}

unsigned shape_count(const struct shape *s)
{
    return s->pieces + (s->choice != 0);
}

void shape_piece(const struct shape *s, unsigned i, struct buf *out)
{
    if (i == s->pieces) {
        bench_must(buf_addf(out, NULL, CHOICE_WORD "%c.", s->choice), "a piece");
        return;
    }
    bench_must(buf_addf(out, NULL, "%04u ", i), "a piece");
    size_t at = i * 7 % (sizeof words - 1);
    for (unsigned k = 5; k < s->piece_bytes; k++, at = (at + 1) % (sizeof words - 1))
        bench_must(buf_add_char(out, words[at], NULL), "a piece");
}

void shape_args_piece(const struct shape *s, unsigned i, struct buf *out)
{
    bool ok = i == 0             ? buf_add(out, SPAN("{\\\"lines\\\":[0"), NULL)
              : i + 1 == s->args ? buf_add(out, SPAN("]}"), NULL)
                                 : buf_addf(out, NULL, ",%u", 1000000 + i);
    bench_must(ok, "a piece");
}

int64_t bench_number(const char *option, const char *text)
{
    int64_t v;
    if (!span_to_i64(span_of(text), &v) || v < 0)
        bench_die("--%s: '%s' is not a whole number", option, text);
    return v;
}

int64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void bench_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void bench_must(bool ok, const char *what)
{
    if (!ok)
        bench_die("%s: %s", what, errno ? strerror(errno) : "no memory");
}

bool bench_later(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}
