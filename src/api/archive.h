/* api/archive.h - a question of one request to the archive: asked by a post, answered by a post,
 * given up when it takes too long or when the request ends. Private to api/. */
#ifndef FUSOR_API_ARCHIVE_H
#define FUSOR_API_ARCHIVE_H

#include "api/app_priv.h"

/* What is kept there. */
#define ARCHIVE_RESPONSE  SPAN("response")  /* a turn, by the id of its answer */
#define ARCHIVE_REASONING SPAN("reasoning") /* what was signed, by the id of a tool call */

struct archive_ask;

enum archive_verb { ARCHIVE_GET, ARCHIVE_REMOVE };

/* Called once from the loop, unless the question was given up before. err: the archive has failed,
 * or has not answered within the patience (ERR_UNAVAILABLE). Ends with archive_ask_free(). */
typedef void archive_answer(void *owner, struct archive_ask *q, const struct err *err);

/* owned. Copies kind and keys. n > 0. NULL: ERR_NOMEM. */
MUST_USE struct archive_ask *archive_ask_new(struct worker *w, enum archive_verb verb,
                                             struct span kind, const struct span *keys, size_t n,
                                             int64_t patience_us, archive_answer *on_answer,
                                             void *owner, struct err *e);
/* Gives it up if it is not answered yet. NULL is fine. */
void archive_ask_free(struct archive_ask *q);
/* For each key, in their order; p NULL: there is none. Good until archive_ask_free(). */
const struct span *archive_values(const struct archive_ask *q);
const struct span *archive_keys(const struct archive_ask *q, size_t *out_n);
size_t archive_found(const struct archive_ask *q);

#endif
