/* dialect/pass_priv.h - what the two files of the passes share: pass.c has the requests and the
 * answers to clients, pass_read.c reads an upstream's answer. */
#ifndef FUSOR_DIALECT_PASS_PRIV_H
#define FUSOR_DIALECT_PASS_PRIV_H

#include "dialect/wire.h"

struct dialect_reader *pass_reader_new(void);
void pass_reader_free(struct dialect_reader *rd);
bool pass_reader_feed(struct dialect_reader *rd, struct span type, struct span data, struct err *e);
bool pass_reader_body(struct dialect_reader *rd, struct span body, struct err *e);
void pass_reader_eof(struct dialect_reader *rd);
enum dialect_status pass_reader_next(struct dialect_reader *rd, struct chat_event *out,
                                     struct err *e);

#endif
