/* dialect/openai_chat_read.h - the inside of a reader, shared by openai_chat_read.c (chunks) and
 * openai_chat_calls.c (tool calls put together from fragments). */
#ifndef FUSOR_DIALECT_OPENAI_CHAT_READ_H
#define FUSOR_DIALECT_OPENAI_CHAT_READ_H

#include "dialect/openai_chat_priv.h"

struct oai_call {
    struct buf id, name;
    struct buf held; /* arguments that came before the name */
    int64_t index;   /* the upstream's number, -1: none */
    size_t n_args;   /* bytes of arguments so far */
    bool started;    /* its first event is out */
    struct wire_track track;
};

/* An event that waits for reader_next(). */
struct oai_pending {
    struct chat_event ev;
    bool in_args; /* ev.arguments stand at off, n of reader->args, which may move until then */
    size_t off, n;
};

enum oai_state {
    OAI_OPEN,   /* chunks come */
    OAI_ENDED,  /* FINISH is queued or out; what comes now is ignored */
    OAI_FAILED, /* err is set; it comes behind the queued events */
};

struct dialect_reader {
    enum oai_state state;
    struct json_scratch scratch; /* the current chunk: events borrow from it */
    struct oai_pending *queue;
    size_t head, n, cap;
    struct oai_call *calls;
    size_t n_calls;
    struct buf args;     /* arguments that came as an object, as text, of the current chunk */
    struct arena *arena; /* reports; made when the first comes */
    bool started, delivered, refused, texted;
    bool has_finish, has_usage;
    enum chat_finish finish;
    struct chat_usage usage; /* came with or after the finish: it goes out at the end */
    const struct chat_fusion_report *report;
    unsigned skipped; /* chunks that were no JSON */
    struct chat_member member;
    char reason[64];
    struct err err;
};

/* Room for one more event, zeroed but for its kind; NULL when memory runs out (*e set). */
struct oai_pending *oai_push(struct dialect_reader *rd, enum chat_event_kind kind, struct err *e);

/* The `tool_calls` of a delta or message. */
MUST_USE bool oai_read_calls(struct dialect_reader *rd, json_val *list, struct err *e);
/* Queues the last event of each call; calls that a limit has cut stay open. *out_cut: there are
 * such; *out_any: there are others. */
MUST_USE bool oai_end_calls(struct dialect_reader *rd, bool *out_any, bool *out_cut, struct err *e);
void oai_free_calls(struct dialect_reader *rd);

#endif
