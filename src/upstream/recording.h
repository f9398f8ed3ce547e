/* upstream/recording.h - answers of models kept in a file, found by id or by question.
 *
 * A JSONL file, a line a question: {"id", "question", "outputs": {"model": "text"}, ...}. Loaded
 * once per snapshot, read only after that, so any thread may look. */
#ifndef FUSOR_UPSTREAM_RECORDING_H
#define FUSOR_UPSTREAM_RECORDING_H

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"

struct recording;

/* owned; path as in the configuration. Errors (ERR_CONFIG, ERR_NOMEM) name file and line. Blocking.
 */
MUST_USE struct recording *recording_load(struct span path, struct err *e);
void recording_free(struct recording *r);
AUTO_DEFINE(recording)
/* The answer of `model` to the record whose id is `id`, or, where id.p is NULL, to the record whose
 * question stands in `message` (the one that ends last; a few-shot prompt holds others before it).
 * borrowed from r. ERR_NOT_FOUND names the models, or says how records are found. */
MUST_USE bool recording_find(const struct recording *r, struct span model, struct span id,
                             struct span message, struct span *out, struct err *e);

#endif
