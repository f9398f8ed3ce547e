/* bench/shape.h - what the mock upstream answers, said by the model's id; both tools read it, so
 * the client knows every byte of text that must arrive.
 *
 * An id is fields joined by '-', in any order:
 *   n32      32 pieces of text (default 32)
 *   b30      30 bytes a piece (default: a frame of about 283 bytes, what OpenAI sends)
 *   d60      the first byte comes after 60 ms
 *   p5       5 ms from piece to piece; without it, all in one write
 *   cB       a last piece says " The answer is B."
 *   t20      behind the text a call of tool_0, its arguments in 20 pieces; streams only
 *   verdict  instead of text, a judge's verdict over the labels that the request asks for
 *   hold     the first piece, and then nothing for ever
 *   as-NAME  no meaning: tells apart models that answer the same
 * Also here: the few calls that both tools share. */
#ifndef FUSOR_BENCH_SHAPE_H
#define FUSOR_BENCH_SHAPE_H

#include <stdint.h>

#include "base/buf.h"

struct shape {
    unsigned pieces, piece_bytes, delay_ms, pace_ms, args;
    char choice; /* 0: none */
    bool verdict, hold;
};

/* What a client or an upstream speaks: the names of --dialect. */
enum bench_dialect { BENCH_CHAT, BENCH_MESSAGES, BENCH_RESPONSES };

/* False: not an id of this form. */
MUST_USE bool shape_parse(struct span id, struct shape *out);
/* How many pieces its text has: those asked for, and the choice. */
unsigned shape_count(const struct shape *s);
/* Adds the i-th piece: its number, then words; plain ASCII that JSON leaves as it is. */
void shape_piece(const struct shape *s, unsigned i, struct buf *out);
/* Adds the i-th of s->args pieces of a call's arguments, escaped as inside a JSON string. */
void shape_args_piece(const struct shape *s, unsigned i, struct buf *out);

/* A whole number from a command line; ends the program when it is none. */
int64_t bench_number(const char *option, const char *text);
int64_t bench_now_ns(void);
/* These programs have nobody to tell: what fails ends them. */
void bench_die(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((noreturn));
void bench_must(bool ok, const char *what);
/* True: read or write would block. False: the connection is gone. */
bool bench_later(void);

#endif
