/* dialect/responses_read.h - the inside of a reader, shared by openai_responses_read.c (the stream,
 * the body, the end) and openai_responses_read_item.c (items and their pieces). */
#ifndef FUSOR_DIALECT_RESPONSES_READ_H
#define FUSOR_DIALECT_RESPONSES_READ_H

#include "dialect/responses_priv.h"

enum resp_read_kind { READ_MESSAGE, READ_REASONING, READ_CALL, READ_OTHER };

/* An item of the upstream's answer, as far as it has come. */
struct resp_read_item {
    enum resp_read_kind kind;
    int64_t index; /* output_index, -1: none */
    struct buf id;
    uint64_t parts; /* bit of each part that text came of; those beyond share the last */
    bool said;      /* an event of it is out */
    bool raw;       /* READ_REASONING: what is out is the thought itself, not its summary */
    bool done;      /* output_item.done came */

    /* READ_CALL */
    struct buf call_id, name;
    struct buf held; /* arguments that came before the name */
    size_t call;     /* number of the call, once it has begun */
    size_t n_args;   /* bytes of arguments so far */
    struct wire_track track;
    bool begun, ended, cut;
};

enum resp_state {
    READ_OPEN,   /* events come */
    READ_ENDED,  /* FINISH is queued or out; what comes now is ignored */
    READ_FAILED, /* err is set; it comes behind the queued events */
};

struct dialect_reader {
    enum resp_state state;
    struct json_scratch scratch; /* the current event: what is queued borrows from it */
    struct chat_event *queue;
    size_t head, n, cap;
    struct resp_read_item *items;
    size_t n_items, cap_items;
    size_t last; /* the item that was found last: the next event mostly is of it too */
    size_t n_calls;
    struct arena *arena; /* reports; made when the first comes */
    bool started, delivered, refused, texted;
    unsigned skipped; /* events that were no JSON */
    struct chat_member member;
    char reason[64];
    struct err err;
};

/* Room for one more event, zeroed but for its kind; NULL when memory runs out (*e set). */
struct chat_event *resp_push(struct dialect_reader *rd, enum chat_event_kind kind, struct err *e);

/* Handlers of events below an item; v: the event's data. */
MUST_USE bool resp_on_added(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_item_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_text(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_text_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_refusal(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_refusal_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_part_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_summary(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_summary_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_summary_part_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_thought(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_thought_done(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_arguments(struct dialect_reader *rd, json_val *v, struct err *e);
MUST_USE bool resp_on_arguments_done(struct dialect_reader *rd, json_val *v, struct err *e);

/* The items of a whole answer: what the stream has not said of them. */
MUST_USE bool resp_read_output(struct dialect_reader *rd, json_val *list, struct err *e);
/* Queues the last event of each call; calls that a limit has cut stay open. *out_cut: there are
 * such; *out_any: there are others. */
MUST_USE bool resp_end_calls(struct dialect_reader *rd, bool limited, bool *out_any, bool *out_cut,
                             struct err *e);
void resp_free_items(struct dialect_reader *rd);

#endif
