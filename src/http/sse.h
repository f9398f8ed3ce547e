/* http/sse.h - server-sent events: bytes in, whole events out; and the writing side.
 *
 * Lives here: line ends (LF, CRLF, CR) across any packet split, comments, joined data lines, the
 * size limit. Not here: sockets, JSON, the "[DONE]" mark (dialect/), id and retry (no stream is
 * resumed). Source: WHATWG HTML, "Interpreting an event stream". */
#ifndef FUSOR_HTTP_SSE_H
#define FUSOR_HTTP_SSE_H

#include "base/auto.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct sse; /* the parser of one stream */

struct sse_event {
    struct span type; /* borrowed; empty means "message" */
    struct span data; /* borrowed; data lines joined by LF, no final LF */
};

enum sse_status { SSE_MORE = 0, SSE_EVENT, SSE_FAIL };

/* owned; NULL only when memory runs out. max > 0: bytes of one line, of one event's data. */
struct sse *sse_new(size_t max);
void sse_free(struct sse *s);
AUTO_DEFINE(sse)

/* Eats bytes from the front of *in until one event is whole or *in is empty.
 * SSE_EVENT: *out_ev is set, good until the next call on s; call again, *in may hold more. An event
 *            that lies whole in *in is lent from there without a copy.
 * SSE_MORE:  all eaten; feed the next packet.
 * SSE_FAIL:  *e is set (ERR_LIMIT, ERR_NOMEM); every later call fails with ERR_STATE. */
MUST_USE enum sse_status sse_next(struct sse *s, struct span *in, struct sse_event *out_ev,
                                  struct err *e);

/* "data: ...\n\n" around bytes that the caller writes between the two: no copy of the payload. With
 * a type the "event: ...\n" line comes first. The payload may not hold CR or LF. */
MUST_USE bool sse_begin(struct buf *out, const char *type, struct err *e);
MUST_USE bool sse_end(struct buf *out, struct err *e);
/* The keep-alive bytes ": ka\n" (one line end: docs/api.md says why). */
#define SSE_KEEPALIVE SPAN(": ka\n")

#endif
