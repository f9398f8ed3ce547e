/* tests/fuzz/http_log.h - one message parsed in steps of a given size, as a text: where packets end
 * must never show in it. */
#ifndef FUSOR_TESTS_HTTP_LOG_H
#define FUSOR_TESTS_HTTP_LOG_H

#include "base/buf.h"
#include "http/parse.h"

static inline void http_log_check(bool ok)
{
    if (!ok)
        abort();
}

static inline void http_log_head(struct buf *log, const struct head *h, enum parse_kind kind)
{
    struct err e;
    bool ok = kind == PARSE_REQUEST ? buf_add(log, head_target(h), &e)
                                    : buf_addf(log, &e, "%d", h->status);
    for (size_t i = 0; ok && i < h->n_fields; i++) {
        struct http_header f = head_at(h, i);
        http_log_check(head_get(h, f.name).p != NULL);
        ok = buf_add_char(log, '\n', &e) && buf_add(log, f.name, &e) &&
             buf_add_char(log, '=', &e) && buf_add(log, f.value, &e);
    }
    http_log_check(ok && h->n_fields <= LIMIT_HEAD_FIELDS && h->n <= LIMIT_HEAD_BYTES);
}

/* The first message in `in`, and how it ended. */
static inline void http_log(struct buf *log, enum parse_kind kind, bool no_body, struct span in,
                            size_t step)
{
    struct head h;
    struct parse p;
    struct err e;
    enum parse_status st = PARSE_MORE;
    head_init(&h);
    parse_init(&p, kind, no_body, &h);
    while (st != PARSE_END && st != PARSE_FAIL && in.n > 0) {
        struct span piece = span_upto(in, step), body;
        size_t before = piece.n;
        do {
            st = parse_next(&p, &piece, &body, &e);
            if (st == PARSE_HEAD)
                http_log_head(log, &h, kind);
            if (st == PARSE_BODY)
                http_log_check(body.n > 0 && buf_add(log, body, &e));
        } while (st == PARSE_HEAD || st == PARSE_BODY);
        in = span_from(in, before - piece.n);
    }
    if (st == PARSE_MORE)
        st = parse_eof(&p, &e);
    http_log_check(buf_addf(log, &e, "#%d %zu", st, st == PARSE_END ? in.n : 0));
    head_done(&h);
}

static inline void http_log_splits(enum parse_kind kind, bool no_body, struct span in)
{
    static const size_t steps[] = {1, 2, 7};
    struct buf whole, cut;
    buf_init(&whole, MIB(64));
    buf_init(&cut, MIB(64));
    http_log(&whole, kind, no_body, in, SIZE_MAX);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        buf_clear(&cut);
        http_log(&cut, kind, no_body, in, steps[i]);
        http_log_check(span_eq(buf_span(&whole), buf_span(&cut)));
    }
    buf_done(&whole);
    buf_done(&cut);
}

#endif
