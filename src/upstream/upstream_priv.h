/* upstream/upstream_priv.h - what the files of this folder share: the snapshot's providers, the
 * worker's upstream, and how each kind of provider starts a call. */
#ifndef FUSOR_UPSTREAM_UPSTREAM_PRIV_H
#define FUSOR_UPSTREAM_UPSTREAM_PRIV_H

#include "base/list.h"
#include "base/secret.h"
#include "dialect/dialect.h"
#include "http/tls.h"
#include "upstream/recording.h"
#include "upstream/upstream.h"

/* What a provider of the snapshot needs to be called; read only after upstream_shared_new(). */
struct up_provider {
    const struct config_provider *config;
    const struct dialect *dialect; /* NULL: recorded */
    struct http_origin origin;     /* hosted */
    struct tls *tls;               /* hosted with https, else NULL */
    struct http_origin proxy;      /* hosted; ->host empty: none */
    struct secret *key;            /* value of the dialect's key header ("Bearer KEY"), or NULL */
    struct recording *recording;   /* recorded */
};

struct upstream_shared {
    const struct config *config;
    struct up_provider *providers; /* in the order of the snapshot */
    size_t n_providers;
};

struct upstream {
    struct upstream_env env;
    struct upstream_shared *shared;
    struct list calls; /* struct upstream_node: under way, and ended but not yet freed */
    struct list idle;  /* struct attempt: kept with their buffers for the next call */
    size_t n_idle;
};

/* What upstream_free() knows of a call: its place in ->calls and how it goes at once. */
struct upstream_node {
    struct list node;
    void (*drop)(struct upstream_node *n); /* ends the call without an event and leaves ->calls */
};

/* The provider of the model; NULL when the model is of another snapshot. */
const struct up_provider *upstream_provider_of(const struct upstream *u,
                                               const struct config_model *m);

extern const struct chat_source_ops upstream_http_ops;     /* attempt.c: hosted and local */
extern const struct chat_source_ops upstream_recorded_ops; /* recorded.c */

/* Attempts kept for reuse (attempt.c). */
void upstream_free_idle(struct upstream *u);

#endif
