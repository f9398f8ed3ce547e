/* dialect/mistral_priv.h - what the files of Mistral's dialect share: mistral_send.c writes a
 * request, mistral_message.c its messages, mistral_calls.c tells which calls the results answer and
 * gives both ids that Mistral takes. */
#ifndef FUSOR_DIALECT_MISTRAL_PRIV_H
#define FUSOR_DIALECT_MISTRAL_PRIV_H

#include "base/map.h"
#include "dialect/openai_chat_priv.h"
#include "dialect/wire_fields.h"

/* --- calls and their results ------------------------------------------------------------------ */

struct mistral_call {
    struct span id;               /* the client's; borrowed from the request */
    char own[WIRE_CALL_ID_BYTES]; /* what Mistral sees */
    size_t turn;                  /* 1-based message that last made a call of this id */
    bool open;                    /* it has no result yet */
};

/* All ids of one request, and the calls that wait for a result. */
struct mistral_calls {
    struct mistral_call *list; /* owned */
    size_t n;
    struct map *by_id, *by_own; /* owned */
    size_t turn;                /* as above: of the calls that wait */
    size_t n_open;
};

/* Gives each id of a call its own of nine letters and digits: ids that are such stay, others become
 * a hash of themselves, the same in every request, unless two would be one. False: no memory; c is
 * fine for mistral_calls_done() all the same. */
MUST_USE bool mistral_calls_init(struct mistral_calls *c, const struct chat_request *r,
                                 struct err *e);
void mistral_calls_done(struct mistral_calls *c);
/* Message i (0-based) makes this call. False: it makes it twice. */
MUST_USE bool mistral_calls_make(struct mistral_calls *c, size_t i, const struct chat_part *p,
                                 struct span *out_own, struct err *e);
/* Message i holds the result of this call. False: nobody waits for it. */
MUST_USE bool mistral_calls_answer(struct mistral_calls *c, size_t i, struct span id,
                                   struct span *out_own, struct err *e);
/* False while a call waits: only results may come then. */
MUST_USE bool mistral_calls_check(const struct mistral_calls *c, struct err *e);

/* --- writing ---------------------------------------------------------------------------------- */

struct mistral_out {
    struct json_w *w;
    const struct chat_request *r;
    bool same; /* the request came by Chat Completions, which is what Mistral's clients speak */
    bool omit_reasoning;
    struct mistral_calls calls;
    struct json_scratch scratch;
    struct dialect_notes *notes;
    struct err *e;
};

MUST_USE bool mistral_write_messages(struct mistral_out *o);
/* Whether all members of a part that is kept as it came are known, at its top and one level below;
 * kind CHAT_PART_TOOL_CALL: of a tool. A cache mark is listed, another name is an error. */
MUST_USE bool mistral_check_members(struct mistral_out *o, const struct wire_path *at,
                                    enum chat_part_kind kind, struct span raw);

bool mistral_write_request(const struct chat_request *r, const struct dialect_target *t,
                           struct buf *out, struct dialect_notes *notes, struct err *e);
void mistral_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out);

#endif
