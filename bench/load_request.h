/* bench/load_request.h - the body of a request in the dialect of a client: chat completions,
 * Anthropic's messages, OpenAI's responses.
 *
 * Lives here: conversations of any length, with tools and calls of them. Not here: HTTP (load.c),
 * what is answered (shape.h). */
#ifndef FUSOR_BENCH_LOAD_REQUEST_H
#define FUSOR_BENCH_LOAD_REQUEST_H

#include "shape.h"

struct load_request {
    enum bench_dialect dialect;
    const char *model;
    /* messages: the system prompt is one. body_bytes: about the JSON of all of them. tools: each
     * comes on top, with a schema; with tools every fourth message is a call and the next its
     * result. */
    size_t body_bytes;
    unsigned messages, tools;
    bool stream;
};

/* False: no such name. */
MUST_USE bool load_dialect(struct span name, enum bench_dialect *out);
const char *load_path(enum bench_dialect d);
void load_request_body(const struct load_request *r, struct buf *out);

#endif
