/* cli/probe.h - what a provider says to a key: asked by `init` (one token of a chat) and `doctor`
 * (the list of models), and put into plain words. Private to cli/. */
#ifndef FUSOR_CLI_PROBE_H
#define FUSOR_CLI_PROBE_H

#include "cli/fetch.h"
#include "config/config.h"

/* For one answer. */
#define PROBE_TIMEOUT_US 5000000
#define PROBE_BODY_BYTES (16U << 20)

enum probe_word {
    PROBE_OK,
    PROBE_ODD,      /* the key is not refused, yet something is wrong */
    PROBE_BAD_KEY,  /* refused */
    PROBE_UNREACHED /* no answer, or none that tells about the key */
};

struct probe {
    enum probe_word word;
    char text[320]; /* "the key is refused (status 401)"; never holds the key */
};

/* Sets up a call that asks for the models; f->out is the caller's. */
void probe_models(struct fetch *f, const struct config_provider *p);
/* One message, one token, in the provider's dialect: the path and the body of a call. */
MUST_USE bool probe_chat(const struct config_usual *u, struct buf *path, struct buf *body,
                         struct err *e);
void probe_read(const struct fetch *f, struct probe *out);

#endif
