/* cli/session.h - where `ask` and `plan` get their work done: in the running server, else in this
 * process.
 *
 * Both ways give a chat_source, so the printer cannot tell them apart. Private to cli/. */
#ifndef FUSOR_CLI_SESSION_H
#define FUSOR_CLI_SESSION_H

#include "cli/cli.h"
#include "dialect/dialect.h"

/* What the command line asks for. NULL or 0: not given. */
struct ask_options {
    const char *config, *model, *mode, *panel, *judge, *max_cost, *system, *max_tokens,
        *temperature, *criteria;
    struct span prompt;
};

struct session; /* owned */

MUST_USE struct session *session_open(const struct ask_options *o, struct err *e);
void session_free(struct session *s);
AUTO_DEFINE(session)
struct loop *session_loop(struct session *s);
struct arena *session_arena(struct session *s);
/* The request of the command line; lives in the session's arena. */
const struct chat_request *session_request(struct session *s);
bool session_is_recipe(const struct session *s);
/* Starts the request. */
MUST_USE struct chat_call *session_start(struct session *s, struct chat_sink *sink, struct err *e);
/* The plan as JSON; the request's model must be a recipe. */
MUST_USE bool session_plan(struct session *s, struct buf *out, struct err *e);

#endif
