/* route/structured_priv.h - what is said to a model about its answer. */
#ifndef FUSOR_ROUTE_STRUCTURED_PRIV_H
#define FUSOR_ROUTE_STRUCTURED_PRIV_H

#include "chat/chat.h"

/* r with its format in words, behind its system messages; json_object: and as that format. Values
 * live in the arena or are r's. */
MUST_USE bool structured_prompt(struct arena *a, const struct chat_request *r, bool json_object,
                                struct chat_request *out, struct err *e);
/* sent, its answer, and that it was wrong. answer and why are borrowed until the call's end. */
MUST_USE bool structured_repair(struct arena *a, const struct chat_request *sent,
                                struct span answer, const char *why, struct chat_request *out,
                                struct err *e);
/* An answer without white space and the code fence around it; one fence in prose counts too. */
struct span structured_strip(struct span answer);

#endif
