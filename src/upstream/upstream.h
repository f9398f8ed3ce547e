/* upstream/upstream.h - sources that answer by themselves: a provider over HTTP, a supervised local
 * server, recorded answers.
 *
 * One `upstream` per worker and configuration snapshot. An attempt books before it sends
 * (ledger/gate.h), always streams from its provider, is cancelled for good, and books its end with
 * the usage seen or estimated. Not here: names, queues, fallbacks (route/). */
#ifndef FUSOR_UPSTREAM_UPSTREAM_H
#define FUSOR_UPSTREAM_UPSTREAM_H

#include "chat/chat.h"
#include "config/config.h"
#include "http/client.h"
#include "ledger/gate.h"
#include "loop/loop.h"
#include "observe/log.h"

struct child_pool;      /* upstream/child.h: process-wide */
struct upstream_shared; /* what all workers share of one snapshot: origins, TLS, recordings */
struct upstream;

/* owned; builds it from the snapshot (borrowed, must outlive it): parses base URLs, loads CA files
 * and recordings. ERR_CONFIG names the provider. Blocking: not on a worker's loop. */
MUST_USE struct upstream_shared *upstream_shared_new(const struct config *c, struct err *e);
void upstream_shared_free(struct upstream_shared *s);
AUTO_DEFINE(upstream_shared)

struct upstream_env {
    struct loop *loop;
    struct http_client *http;
    struct gate *gate;
    struct child_pool *children; /* NULL: local models are refused */
    struct log *log;             /* may be NULL */
};
/* owned; env is copied, its parts and `shared` are borrowed. */
MUST_USE struct upstream *upstream_new(const struct upstream_env *env,
                                       struct upstream_shared *shared, struct err *e);
void upstream_free(struct upstream *u);
AUTO_DEFINE(upstream)

/* Whether the model's provider can be asked this: what passes as it came goes to those who speak
 * like its client. ERR_INPUT "unsupported_by_upstream". */
MUST_USE bool upstream_takes(const struct config_model *m, const struct chat_request *r,
                             struct err *e);

/* One model of one provider as a source. Plain storage of the caller (an arena), no end needed;
 * must outlive its calls. */
struct upstream_source {
    struct chat_source source;
    struct upstream *upstream;
    const struct config_model *model;
};
void upstream_source_init(struct upstream_source *s, struct upstream *u,
                          const struct config_model *m);

#endif
