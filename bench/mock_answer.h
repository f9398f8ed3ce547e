/* bench/mock_answer.h - the bytes that the mock upstream sends, made once per model id and kept.
 *
 * Lives here: bodies and frames of OpenAI's and Anthropic's form, cut into the steps in which they
 * go out. Not here: sockets and clocks (mock_upstream.c). */
#ifndef FUSOR_BENCH_MOCK_ANSWER_H
#define FUSOR_BENCH_MOCK_ANSWER_H

#include "shape.h"

/* A whole HTTP response. Its bytes up to ends[k] may go out at the k-th step; the first step is due
 * after the shape's delay, each further one a pace later. One step when nothing is paced. */
struct mock_answer {
    struct shape shape;
    struct buf bytes;
    size_t *ends;
    unsigned n_steps;
};

/* owned. A stream or a whole body; request is the body asked with, read for a verdict only. */
struct mock_answer *mock_answer_new(struct span id, const struct shape *s, bool stream, bool usage,
                                    struct span request);
/* owned. The stream of a model that speaks Anthropic's Messages. */
struct mock_answer *mock_answer_messages(struct span id, const struct shape *s,
                                         struct span request);
void mock_answer_free(struct mock_answer *a);
AUTO_DEFINE(mock_answer)
/* owned; any other JSON reply. */
struct mock_answer *mock_answer_json(int status, struct span body);

#endif
