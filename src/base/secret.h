/* base/secret.h - a value that cannot be printed: provider keys.
 *
 * The struct is opaque, no function formats it, and its memory is wiped when freed. Reveal it only
 * where it is written into a request. Reference counted, thread safe. */
#ifndef FUSOR_BASE_SECRET_H
#define FUSOR_BASE_SECRET_H

#include "base/auto.h"
#include "base/err.h"
#include "base/span.h"

struct secret;

/* owned; reads "env:NAME", "file:PATH" or "cred:NAME" ($CREDENTIALS_DIRECTORY). The environment
 * variable is overwritten in place after reading and remembered, so a reload finds it again. White
 * space at the ends is cut. Anything else, a missing or an empty value, one with control characters
 * inside, a file over LIMIT_SECRET_BYTES: ERR_CONFIG, and the message never holds a part of the
 * value. Out of memory: ERR_NOMEM, and the variable is untouched. Not thread safe for env: (call it
 * while loading). */
MUST_USE struct secret *secret_load(struct span ref, struct err *e);
/* owned; for tokens we make ourselves. NULL when memory runs out. */
MUST_USE struct secret *secret_new(struct span value);
struct secret *secret_ref(struct secret *s);
void secret_free(struct secret *s);
AUTO_DEFINE(secret)
/* borrowed while s lives. Write it to the wire, nowhere else. */
struct span secret_reveal(const struct secret *s);

#endif
