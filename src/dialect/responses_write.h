/* dialect/responses_write.h - the inside of a writer, shared by openai_responses_write.c (the
 * answer) and openai_responses_progress.c (what a fusion does meanwhile). */
#ifndef FUSOR_DIALECT_RESPONSES_WRITE_H
#define FUSOR_DIALECT_RESPONSES_WRITE_H

#include "base/limits.h"
#include "dialect/responses_priv.h"

#define RESP_MAX_SEEN (4 * LIMIT_PANEL)
#define RESP_NONE     SIZE_MAX /* no item */

/* A call of a fusion that was told of. */
struct resp_seen {
    char label[16];
    bool judge, ended;
};

struct dialect_writer {
    struct dialect_reply reply;
    struct chat_collect c; /* all that was said so far */
    struct buf echo;       /* what the object says back, rendered */
    struct buf delta;      /* a delta of the open part up to its sequence number, rendered */
    struct buf args;       /* the same for arguments of a call */
    size_t args_item;      /* which args is of */
    struct resp_item *items;
    size_t n, cap;
    size_t open;           /* the item that text or reasoning goes on with */
    bool delta_refusal;    /* delta is one of a refusal */
    size_t call_item[512]; /* item of a call; chat_collect lets no more calls pass */
    size_t fusion;         /* item of the fusion's progress */
    struct resp_seen seen[RESP_MAX_SEEN];
    size_t n_seen;
    int64_t sequence;
    bool created, ended;
};

/* An event being written: its object is open. */
struct resp_event {
    struct dialect_writer *w;
    struct buf *out;
    struct json_w j;
    struct err *e;
};

MUST_USE bool resp_open_event(struct resp_event *v, const char *type);
/* Below an item, and below its part when `part` names the index. */
MUST_USE bool resp_open_at(struct resp_event *v, const char *type, size_t item, const char *part,
                           int64_t index);
MUST_USE bool resp_close_event(struct resp_event *v);
/* A new item, not yet announced. */
MUST_USE bool resp_add_item(struct resp_event *v, enum resp_kind kind, size_t index, size_t *out);
/* An event that holds the item as it stands. */
MUST_USE bool resp_send_item(struct resp_event *v, const char *type, size_t item);

MUST_USE bool resp_on_member(struct resp_event *v, const struct chat_member *m);
MUST_USE bool resp_close_fusion(struct resp_event *v);

#endif
