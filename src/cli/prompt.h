/* cli/prompt.h - questions on a terminal, or lines of a pipe. Private to cli/.
 *
 * A secret is read without echo; the terminal is put back before the program ends by a signal or
 * stops. Nothing is read ahead, so what follows the line stays in stdin. */
#ifndef FUSOR_CLI_PROMPT_H
#define FUSOR_CLI_PROMPT_H

#include "base/err.h"

enum prompt_end { PROMPT_LINE, PROMPT_EOF, PROMPT_FAIL };

/* Reads one line of stdin without its end into out, with a NUL. The question goes to stderr when
 * stdin is a terminal, else nobody is asked. PROMPT_EOF: stdin has ended, out is "". A line that
 * does not fit is read to its end: PROMPT_FAIL, ERR_LIMIT. The caller wipes out. */
enum prompt_end prompt_line(const char *question, bool secret, char *out, size_t cap,
                            struct err *e);

#endif
