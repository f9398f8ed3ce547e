/* cli/member_table.h - the calls of a fusion as lines and as a table. Private to cli/. */
#ifndef FUSOR_CLI_MEMBER_TABLE_H
#define FUSOR_CLI_MEMBER_TABLE_H

#include <stdio.h>

#include "base/limits.h"
#include "chat/chat.h"

#define MEMBER_ROWS (LIMIT_PANEL + 16)

struct member_total {
    struct chat_usage usage;
    int64_t total_us;
};

/* One call's state as a short line: "A  local/smollm2  streaming  312 bytes". */
void member_line(const struct chat_member *m, char *out, size_t cap);
/* Label, model, state, tokens, times and cost of every call, and the sum. why: with reasons. */
void member_table(FILE *f, const struct chat_fusion_report *r, const struct member_total *total,
                  bool why);
/* The same in one line for an answer that was not fused. */
void member_total(FILE *f, struct span model, const struct member_total *total);

#endif
