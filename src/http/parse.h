/* http/parse.h - HTTP/1.1 messages out of bytes, both directions; private to http/ (and its tests).
 *
 * Lives here: llhttp in its strict mode, the five guards around it, the limits that llhttp does not
 * have. Not here: sockets, timers, what to do with a message. Pulled: llhttp's callbacks only
 * record, logic runs after parse_next() has returned. Sources: RFC 9110, 9112;
 * docs/architecture.md, "HTTP". */
#ifndef FUSOR_HTTP_PARSE_H
#define FUSOR_HTTP_PARSE_H

#include <llhttp.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/span.h"
#include "http/server.h" /* struct http_header */

/* A head as it was received. Names are lower-cased. Offsets into mem fit 16 bits because a whole
 * head is at most LIMIT_HEAD_BYTES. The storage is reused from message to message. */
struct head {
    char *mem;
    uint32_t n, cap;
    struct head_field {
        uint16_t name, name_n, value, value_n;
    } fields[LIMIT_HEAD_FIELDS];
    uint16_t n_fields;
    uint16_t target_n; /* requests: the target is mem[0..target_n) */
    uint16_t status;   /* responses */
    uint8_t method;    /* requests: llhttp's number */
    bool http10;       /* version 1.0, else 1.1 */
    bool keep_alive;   /* the message asks for (or its version implies) a lasting connection */
    bool chunked;
    bool has_length;
    bool expects;    /* requests: a field "expect" is there */
    uint64_t length; /* content-length, if has_length */
};

void head_init(struct head *h);
void head_done(struct head *h);
/* Forgets the message; keeps at most `keep` bytes of storage. */
void head_clear(struct head *h, size_t keep);
struct http_header head_at(const struct head *h, size_t i);
/* First field of that lower-case name; p NULL when absent. */
struct span head_get(const struct head *h, struct span lower_name);
struct span head_target(const struct head *h);
struct span head_method(const struct head *h);

enum parse_kind { PARSE_REQUEST = 0, PARSE_RESPONSE };
enum parse_status {
    PARSE_MORE = 0, /* all eaten */
    PARSE_HEAD,     /* *h is whole and has passed the guards */
    PARSE_BODY,     /* *out_body is set: a piece of the decoded body, lent from the input */
    PARSE_END,      /* the message is over; what follows in the input belongs to the next one */
    PARSE_FAIL      /* *e is set; sticky */
};

struct parse {
    llhttp_t ll;
    enum parse_kind kind;
    struct head *head;
    struct span body;     /* recorded by the callback, not yet handed out */
    size_t head_bytes;    /* eaten in the head, 1xx heads included */
    uint64_t body_bytes;  /* decoded */
    uint64_t frame_bytes; /* eaten behind the head */
    bool in_head, in_name, head_due, done, failed, broken;
    bool head_told;     /* paused behind the head: llhttp has yet to look whether a body follows */
    bool no_body;       /* response to HEAD */
    bool until_close;   /* response without length: ends with the connection */
    bool skip_interim;  /* a 1xx head was read: start over */
    enum err_class cls; /* what a guard found, ERR_NONE: nothing */
    int status;
    const char *why;
};

/* h is borrowed until PARSE_HEAD has been answered and never touched behind the head.
 * no_body: the response answers HEAD. */
void parse_init(struct parse *p, enum parse_kind kind, bool no_body, struct head *h);
/* Eats from the front of *in until something is to be told. Requests fail with ERR_INPUT (400) or
 * ERR_LIMIT (431, 414), responses with ERR_UPSTREAM or ERR_LIMIT; both with ERR_NOMEM. */
MUST_USE enum parse_status parse_next(struct parse *p, struct span *in, struct span *out_body,
                                      struct err *e);
/* The peer has closed: PARSE_END for a response that ends that way, else PARSE_FAIL (ERR_CUT). */
MUST_USE enum parse_status parse_eof(struct parse *p, struct err *e);
/* No byte of a message was eaten yet. */
bool parse_untouched(const struct parse *p);

#endif
