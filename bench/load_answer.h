/* bench/load_answer.h - checks one answer byte by byte as it comes.
 *
 * Lives here: the response's head, chunks, frames, and that every piece of the text is there, in
 * order, and nothing else; when the pieces came. Not here: sockets, requests, sums (load.c). */
#ifndef FUSOR_BENCH_LOAD_ANSWER_H
#define FUSOR_BENCH_LOAD_ANSWER_H

#include "shape.h"

enum answer_status { ANSWER_MORE, ANSWER_WHOLE, ANSWER_WRONG };

enum answer_phase { AT_HEAD, AT_SIZE, AT_DATA, AT_DATA_END, AT_TRAILER, AT_LENGTH, AT_END };

struct answer {
    struct span want; /* the text, then arguments of a call; borrowed for ever */
    enum bench_dialect dialect;
    bool stream; /* a stream is expected, else one body */
    enum answer_phase phase;
    struct buf held;  /* a head, line or body of which the end is missing */
    uint64_t left;    /* bytes of this chunk or body */
    bool digits;      /* a chunk's size has one already */
    bool close;       /* the server closes behind it */
    bool done;        /* the last frame came, or the body was right */
    bool finished;    /* the reason of the end came */
    size_t at;        /* bytes of the text that have come */
    unsigned frames;  /* frames with text */
    int64_t first_ns; /* when the first text came, 0: not yet */
    int64_t last_ns;
    int64_t gap_ns; /* the longest wait between two texts */
    char why[200];  /* ANSWER_WRONG: what is */
};

void answer_init(struct answer *a, struct span want, enum bench_dialect dialect, bool stream);
void answer_done(struct answer *a);
/* Ready for the next answer; memory is kept. */
void answer_clear(struct answer *a);
MUST_USE enum answer_status answer_feed(struct answer *a, struct span bytes, int64_t now_ns);

#endif
