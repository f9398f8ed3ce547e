/* cli/printer.h - a sink that shows an answer on a terminal or in a pipe: progress and tables on
 * stderr, the answer on stdout. Private to cli/. */
#ifndef FUSOR_CLI_PRINTER_H
#define FUSOR_CLI_PRINTER_H

#include "chat/collect.h"
#include "cli/cli.h"

struct printer_options {
    bool json;  /* one JSON object on stdout instead of the text */
    bool raw;   /* bytes as they come (not on a terminal) */
    bool trace; /* also: seed, order, notes, reasons */
    bool recipe;
    struct span model;
};

struct printer; /* owned */

/* done(ctx, ok) runs once, from the loop, when the answer or its error is complete; the report it
 * prints from is alive only then, so tables are printed before. */
MUST_USE struct printer *printer_new(const struct printer_options *o, struct loop *l,
                                     void (*done)(void *ctx), void *ctx);
void printer_free(struct printer *p);
AUTO_DEFINE(printer)
struct chat_sink *printer_sink(struct printer *p);
/* After a cancel: what was used so far. */
void printer_cancelled(struct printer *p, const struct chat_usage *u);
/* The error that ended it; class ERR_NONE: it went well. */
const struct err *printer_error(const struct printer *p);

#endif
