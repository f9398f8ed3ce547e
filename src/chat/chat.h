/* chat/chat.h - the vocabulary of the whole program: request, event, source, sink.
 *
 * A source takes a request and emits events into a sink. A provider is a source, a recording is a
 * source, a fusion is a source made of sources; a dialect's writer, a panel member's collector and
 * the command line's printer are sinks. Every wire dialect is read into and written from these
 * structs, so they carry the union of what the dialects can say. No I/O here. */
#ifndef FUSOR_CHAT_CHAT_H
#define FUSOR_CHAT_CHAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/span.h"

/* --- request: plain values, spans borrowed from the request's arena
 * -------------------------------- */

enum chat_role { CHAT_SYSTEM, CHAT_DEVELOPER, CHAT_USER, CHAT_ASSISTANT, CHAT_TOOL };

enum chat_part_kind {
    CHAT_PART_TEXT,      /* text */
    CHAT_PART_IMAGE,     /* url (http or data:) or file_id; detail; media_type */
    CHAT_PART_DOCUMENT,  /* url or data: or file_id, or plain text in text; file_name; media_type */
    CHAT_PART_AUDIO,     /* url holds base64 data, media_type the format ("wav") */
    CHAT_PART_REFUSAL,   /* text: an earlier refusal of the assistant */
    CHAT_PART_REASONING, /* text, signature, id; opaque when encrypted: replayed byte for byte */
    CHAT_PART_TOOL_CALL, /* id, name, arguments (JSON text as the model wrote it) */
    CHAT_PART_RAW,       /* a part only one dialect knows: raw JSON, type in name */
};

struct chat_part {
    enum chat_part_kind kind;
    struct span text;
    struct span url, file_id, file_name, media_type, detail;
    struct span signature; /* reasoning: provider's signature; redacted: text is empty */
    struct span format;    /* whose signature it is: a CHAT_SIGNED_ name; p NULL: not known */
    struct span id, name, arguments;
    struct span raw;   /* CHAT_PART_RAW: the whole part as JSON. Other kinds: set when the part has
                        * members that only its own dialect knows; the fields above are set too */
    bool cache_mark;   /* the client marked a prompt-cache boundary after this part */
    struct span cache; /* the mark as JSON text, where it says more than that it is one ("ttl") */
    bool kept; /* its signature was put back by us, the client did not send it: for who signed it
                * alone */
    bool signs_text; /* reasoning: the signature is that of the text, even of an empty one (not
                      * shown);   else one without text is a redacted block */
};

/* Who signed a block of reasoning: only an upstream of the same kind takes the signature back. The
 * names are OpenRouter's (reasoning_details[].format). */
#define CHAT_SIGNED_ANTHROPIC SPAN("anthropic-claude-v1")
#define CHAT_SIGNED_GEMINI    SPAN("google-gemini-v1")
#define CHAT_SIGNED_OPENAI    SPAN("openai-responses-v1")
#define CHAT_SIGNED_MISTRAL   SPAN("mistral-thinking-v1") /* OpenRouter has no name for it */

/* A field unknown to us, kept for an upstream of the same dialect. */
struct chat_extra {
    struct span name; /* "logit_bias"; with a path where it stood deeper: "stream_options.x" */
    struct span json;
    bool hint; /* has no effect on the answer: others leave it out and list it */
};

struct chat_message {
    enum chat_role role;
    struct span name;         /* participant's name; p NULL if none */
    struct span tool_call_id; /* CHAT_TOOL: which call this answers */
    bool tool_failed;         /* CHAT_TOOL: the client says that the call went wrong */
    const struct chat_part *parts;
    size_t n_parts;
    const struct chat_extra *extras;
    size_t n_extras;
};

struct chat_tool {
    struct span name, description;
    struct span parameters; /* JSON Schema as JSON text; p NULL: none */
    int8_t strict;          /* -1 absent, 0, 1 */
    struct span raw;        /* a tool that is no function: whole, as JSON; name is its type */
    struct span whole; /* a function with members that only its dialect knows: whole, as JSON */
    bool cache_mark;   /* as in chat_part, with its cache */
    struct span cache;
};

enum chat_tool_choice {
    CHAT_CHOICE_UNSET,
    CHAT_CHOICE_AUTO,
    CHAT_CHOICE_NONE,
    CHAT_CHOICE_REQUIRED,
    CHAT_CHOICE_NAMED
};

enum chat_format { CHAT_FORMAT_UNSET, CHAT_FORMAT_TEXT, CHAT_FORMAT_JSON, CHAT_FORMAT_SCHEMA };

/* A request that is no chat and passes as it came, but for its model: the client's JSON around the
 * value of `model`. What it is for says chat_request.dialect. */
struct chat_pass {
    struct span head, tail; /* borrowed from the client's body, not from the arena */
    int64_t input_bytes;    /* of its text: what the upstream will count tokens of */
    bool names_url;         /* of something that the upstream may fetch */
};

/* A number kept as it was written (JSON text); p NULL: absent. */
#define CHAT_NUM struct span

struct chat_request {
    struct span dialect; /* "openai_chat": whose extras these are */
    struct span model;
    const struct chat_message *messages;
    size_t n_messages;

    const struct chat_tool *tools;
    size_t n_tools;
    enum chat_tool_choice tool_choice;
    struct span tool_choice_name;
    int8_t parallel_tool_calls; /* -1 absent, 0, 1 */

    enum chat_format format;
    struct span format_name, format_description, format_schema; /* schema as JSON text */
    int8_t format_strict;

    int64_t max_tokens; /* visible answer; -1: absent */
    CHAT_NUM temperature, top_p, top_k, presence_penalty, frequency_penalty, seed;
    const struct span *stop;
    size_t n_stop;
    struct span reasoning_effort;  /* "none", "low", ...; p NULL: absent */
    int64_t reasoning_tokens;      /* how many to think with at most; 0: absent */
    bool reasoning_hidden;         /* the client does not want to see it */
    struct span reasoning_summary; /* "auto", "concise", "detailed"; p NULL: absent */
    struct span thinking;  /* Messages' own object as JSON text, beside what reasoning_* say */
    struct span verbosity; /* "low", "medium", "high"; p NULL: absent */
    int64_t n;             /* answers wanted, 1 unless asked */
    int8_t logprobs;       /* -1 absent */
    int64_t top_logprobs;  /* -1 absent */
    bool audio_out;

    bool stream;
    bool stream_usage; /* stream_options.include_usage: the client wants OpenAI's own shape */

    /* Conversations that we keep (Responses). */
    bool store;              /* keep the answer, to be named by a later previous_id */
    struct span previous_id; /* the answer that this request goes on from; p NULL: none */
    size_t n_instructions;   /* leading messages that hold for this request only */

    /* Routing (OpenRouter's fields). */
    const struct span *fallbacks; /* `models`: tried in this order when `model` fails */
    size_t n_fallbacks;
    struct span routing; /* the `provider` object as JSON text; p NULL: none */
    struct span session; /* requests of one session go to one upstream; p NULL: none */

    const struct chat_pass *pass; /* NULL: a chat; else there are no messages */

    struct span betas; /* the client's anthropic-beta header, for an upstream of the same dialect;
                        * p NULL: none */
    struct span user;  /* hint */
    struct span metadata; /* hint: JSON object text */
    struct span fusion;   /* the `fusion` object as JSON text; p NULL: none */
    const struct chat_extra *extras;
    size_t n_extras;
};

/* All text bytes of messages, tools and schema: an upper bound of the input tokens of any tokeniser
 * that never makes more than one token of a byte. */
int64_t chat_input_bytes(const struct chat_request *r);
/* The text of one message: text and refusal parts joined by LF, in the arena (p NULL: no memory).
 */
struct span chat_message_text(struct arena *a, const struct chat_message *m);

/* --- events
 * -------------------------------------------------------------------------------------------- */

enum chat_finish {
    CHAT_FINISH_STOP,
    CHAT_FINISH_LENGTH,
    CHAT_FINISH_TOOL_CALLS,
    CHAT_FINISH_CONTENT_FILTER,
    CHAT_FINISH_REFUSAL
};

struct chat_usage {
    int64_t input, cached, cache_write; /* tokens; cached and cache_write are parts of input */
    int64_t output, reasoning;          /* reasoning is a part of output */
    int64_t cost_nusd;                  /* -1: unknown price */
    bool estimated;                     /* counted by us: the upstream did not say */
};

enum chat_member_state {
    CHAT_MEMBER_WAITING,
    CHAT_MEMBER_STARTED,
    CHAT_MEMBER_STREAMING,
    CHAT_MEMBER_OK,
    CHAT_MEMBER_UNUSED,
    CHAT_MEMBER_FAILED,
    CHAT_MEMBER_ABANDONED
};

/* One call of a fusion, as it stands. Spans live as long as the fusion. */
struct chat_member {
    struct span label; /* "A": blind label; judges: "judge", "judge-2" */
    struct span model; /* as configured: "local/smollm2" */
    bool judge;
    unsigned sample; /* same model twice: 0, 1, ... */
    enum chat_member_state state;
    struct chat_usage usage;
    int64_t ttft_us, total_us; /* -1: did not come so far */
    uint64_t bytes;            /* answer bytes so far */
    const char *reason;        /* static code why it is unused, failed or abandoned; NULL */
    struct span detail;        /* message for a person; may be empty */
};

/* What a fusion did and cost: comes with its CHAT_USAGE event. */
struct chat_fusion_report {
    struct span id;           /* "fus_..." */
    const char *mode;         /* "merge", ... */
    const char *degraded;     /* static code, or NULL */
    struct span degraded_why; /* for a person */
    double agreement;         /* 0..1, negative: not measured */
    int64_t planned_nusd;     /* worst case of the plan, -1 unknown */
    uint64_t seed;
    const struct chat_member *members, *judges;
    size_t n_members, n_judges;
    double latency_ratio_slowest, latency_ratio_best; /* ours over theirs; negative: unknown */
    const struct span *notes; /* warnings and fields left out, for a person */
    size_t n_notes;
};

enum chat_event_kind {
    CHAT_EV_START,     /* once, first: an answer begins (upstream said yes) */
    CHAT_EV_TEXT,      /* text */
    CHAT_EV_REASONING, /* text, signature, format, id; a signature ends its block, and one that no
                        * text came before is a redacted block, unless it says that it signs text */
    CHAT_EV_REFUSAL,   /* text */
    CHAT_EV_TOOL,   /* a piece of tool call `index`: id and name with the first, arguments piece */
    CHAT_EV_MEMBER, /* progress of a fusion's call: member */
    CHAT_EV_USAGE,  /* usage so far or final: the last one counts; report for fusions */
    CHAT_EV_FINISH, /* last event of an answer: finish */
    CHAT_EV_ERROR,  /* last event of a failed answer: err */
};

/* Borrowed for the time of the call. */
struct chat_event {
    enum chat_event_kind kind;
    /* START: the upstream's answer id and model name; REASONING: id of the block */
    struct span id, model;
    struct span target; /* START: the model as it is named here, that answers; empty for a fusion */
    /* START: fields of the request that this upstream cannot take and that do not change its
     * answer; of a fusion "B: user" */
    const struct span *ignored;
    size_t n_ignored;
    struct span text;
    struct span raw; /* TEXT of a pass: JSON to be given back as it is, of which `text` is what the
                      * model says; p NULL: no pass */
    struct span signature; /* REASONING; TOOL: to be replayed with the call */
    struct span format;    /* REASONING: whose signature, as in chat_part */
    bool signs_text;       /* REASONING with a signature: as in chat_part */
    size_t index;          /* TOOL: 0-based number of the call */
    struct span tool_id, tool_name, arguments;
    bool tool_done; /* TOOL: arguments are whole with this piece */
    const struct chat_member *member;
    struct chat_usage usage;
    const struct chat_fusion_report *report; /* USAGE of a fusion; else NULL */
    enum chat_finish finish;
    struct span stop_sequence; /* FINISH: which one was met, if the upstream says */
    const struct err *err;
};

const char *chat_finish_name(enum chat_finish f);             /* OpenAI's words */
const char *chat_member_state_name(enum chat_member_state s); /* "ok", "abandoned", ... */
const char *chat_role_name(enum chat_role r);

/* --- sink and source
 * ------------------------------------------------------------------------------------- */

/* Consumes events, in order: START, then pieces, USAGE, then exactly one FINISH or ERROR; ERROR may
 * come first, or after a USAGE alone (what a failed call is reckoned to
 * cost). MEMBER may come at any time before the end. Called from the loop only, never from
 * inside chat_start() or chat_cancel(). May call chat_pause(), and chat_cancel() on its own call.
 */
struct chat_sink {
    void (*on_event)(struct chat_sink *s, const struct chat_event *ev);
};

/* A running call. After its last event, or after chat_cancel(), it is gone. */
struct chat_call {
    const struct chat_call_ops *ops;
};
struct chat_call_ops {
    /* Stops at once, without an event: every upstream connection is closed before this returns.
     * What was done is still booked. out: what the call had used so far; may be NULL. */
    void (*cancel)(struct chat_call *c, struct chat_usage *out);
    void (*pause)(struct chat_call *c);
    void (*resume)(struct chat_call *c);
};

/* To which regions a call's data may go. Every rule of the chain holds. */
struct chat_rule {
    const struct chat_rule *up;
    struct span name; /* of the policy, for messages */
    const struct span *regions;
    size_t n_regions;
};
/* NULL: it may go there; else the rule that forbids it. A region that nobody named is allowed by
 * none. */
const struct chat_rule *chat_rule_against(const struct chat_rule *rules, struct span region);

/* What becomes of a field that the upstream cannot take. */
enum chat_fields {
    CHAT_FIELDS_CONFIGURED, /* what the provider is configured to: refused, or left out and listed */
    CHAT_FIELDS_LENIENT,    /* left out and listed */
    CHAT_FIELDS_EXACT       /* refused */
};

struct chat_start_opts {
    struct span request_id; /* for logs */
    struct span fusion_id;  /* the fusion that the client called; empty: none. Lives as the call */
    int64_t deadline_us;    /* loop time of the total limit, 0: the source's own */
    unsigned depth;         /* fusions above this call: 0 for a client's */
    const char *role;       /* "call", "pass", "member", "judge": for the ledger; static */
    bool progress;          /* the sink wants CHAT_EV_MEMBER */
    bool spare;             /* others can be asked instead: fail at once where this one is known to
                             * be down */
    enum chat_fields fields;
    const struct chat_rule *rules; /* live as long as the call; NULL: none */
};

struct chat_source {
    const struct chat_source_ops *ops;
};
struct chat_source_ops {
    /* Begins a call; r and what it points to must live until the call's end. NULL with *e set when
     * it cannot even begin (then no event comes). */
    struct chat_call *(*start)(struct chat_source *s, const struct chat_request *r,
                               const struct chat_start_opts *o, struct chat_sink *sink,
                               struct err *e);
};

static inline struct chat_call *chat_start(struct chat_source *s, const struct chat_request *r,
                                           const struct chat_start_opts *o, struct chat_sink *k,
                                           struct err *e)
{
    return s->ops->start(s, r, o, k, e);
}
static inline void chat_cancel(struct chat_call *c, struct chat_usage *out)
{
    c->ops->cancel(c, out);
}
static inline void chat_pause(struct chat_call *c)
{
    c->ops->pause(c);
}
static inline void chat_resume(struct chat_call *c)
{
    c->ops->resume(c);
}

#endif
