/* route/structured.h - structured outputs for every upstream: a source around another one.
 *
 * An answer that was asked for as JSON, or as JSON of a schema, is checked before it ends. NATIVE:
 * the upstream is sent the format and enforces it as well as it can (response_format, a grammar).
 * PROMPT: it cannot, so the schema stands in the prompt. Where nothing of the answer has gone out
 * yet (PROMPT, or a request that is not streamed) a code fence is taken off and an invalid answer
 * is asked for again, once, with the reason; a streamed NATIVE answer is relayed as it comes and
 * checked at its end. What is invalid then ends in ERR_UPSTREAM "invalid_structured_output" (502),
 * never in a finish. Answers that were cut at the token limit end as `length`, unchecked; tool
 * calls and refusals are answers of their own. Not here: which mode an upstream has (route.c), the
 * wire (dialect/). */
#ifndef FUSOR_ROUTE_STRUCTURED_H
#define FUSOR_ROUTE_STRUCTURED_H

#include "chat/chat.h"
#include "json/schema.h"

enum structured_mode { STRUCTURED_NATIVE, STRUCTURED_PROMPT };

/* Plain storage of the caller; must outlive its calls, as must the arena, which holds their state
 * and what is sent upstream, but nothing that is streamed. */
struct structured_source {
    struct chat_source source;
    struct chat_source *inner; /* borrowed */
    struct arena *arena;       /* borrowed */
    enum structured_mode mode;
    bool json_object;            /* PROMPT: the upstream knows response_format json_object */
    const struct schema *schema; /* of the request, compiled; NULL: start() compiles it */
};
void structured_source_init(struct structured_source *s, struct arena *a, struct chat_source *inner,
                            enum structured_mode mode, bool json_object);

/* Does the request ask for JSON? For others start() is the inner source's. */
bool structured_wanted(const struct chat_request *r);
/* Compiles the request's schema, with the checks of `strict`: what a request is refused with before
 * anything is sent. *out is NULL when it names none. ERR_INPUT, ERR_NOMEM. */
MUST_USE bool structured_schema(struct arena *a, const struct chat_request *r,
                                const struct schema **out, struct err *e);

#endif
