/* chat/collect.h - a sink's memory: one whole answer put together from its events.
 *
 * Used for unary replies, panel members and judges. It never says "slow down"; it has a byte cap.
 */
#ifndef FUSOR_CHAT_COLLECT_H
#define FUSOR_CHAT_COLLECT_H

#include "base/buf.h"
#include "chat/chat.h"

struct chat_collected_tool {
    struct buf id, name, arguments;
    struct buf signature; /* the provider's, to be replayed with the call; usually empty */
    bool whole;           /* tool_done came: the arguments are not cut */
};

/* A block of reasoning: its text is a piece of the whole reasoning. */
struct chat_collected_block {
    size_t from, n;
    struct buf signature, format,
        id;          /* usually empty; a signature without text: redacted, unless */
    bool signs_text; /* it is that of a text that is not shown */
};

struct chat_collect {
    struct buf text; /* of a pass: its raw answer */
    struct buf reasoning, refusal, id, model;
    struct buf stop_sequence;            /* which one was met; usually empty */
    struct chat_collected_block *blocks; /* owned array */
    size_t n_blocks;
    struct chat_collected_tool *tools; /* owned array */
    size_t n_tools;
    struct chat_usage usage;
    bool has_usage;
    const struct chat_fusion_report
        *report;                 /* borrowed from the event: good until the last event */
    bool started, ended, failed; /* failed: ERROR came, see err */
    bool over;                   /* the cap was reached: text is cut, treat as length */
    enum chat_finish finish;
    struct err err;
    size_t cap, used;
};

/* cap > 0: bytes of text, reasoning, refusal and arguments together. */
void chat_collect_init(struct chat_collect *c, size_t cap);
void chat_collect_done(struct chat_collect *c);
/* False when memory ran out (ERR_NOMEM) or the cap is reached (ERR_LIMIT, ->over set). */
MUST_USE bool chat_collect_event(struct chat_collect *c, const struct chat_event *ev,
                                 struct err *e);
/* The text of a block; borrowed until the next event. */
struct span chat_collected_text(const struct chat_collect *c, const struct chat_collected_block *b);

#endif
