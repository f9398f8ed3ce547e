/* tests/unit/fusion_rig.h - a laboratory, a client and a question in one; and a judge that reads
 * the fences as it was told to. */
#ifndef FUSOR_TESTS_FUSION_RIG_H
#define FUSOR_TESTS_FUSION_RIG_H

#include "scripted_source.h"

struct rig {
    struct lab lab;
    struct client client;
    struct chat_request req;
};

struct rig *rig_new(void); /* recipe seed 7, one question */
void rig_done(struct rig *g);
bool rig_run(struct rig *g);
/* The answer was that, and whole. */
void rig_check_text(const struct rig *g, const char *want);
/* What each member's call and each judge's call cost is what the whole cost, and what was billed.
 */
void rig_check_costs(const struct rig *g);
char rig_label(const struct rig *g, size_t member);
enum chat_member_state rig_state(const struct rig *g, size_t member);
void script_error(struct scripted *m, enum err_class cls, const char *msg);
struct span scripted_prompt(const struct scripted *m);
/* The code of the fences, as a judge's prompt announces it. */
struct span rig_code(struct span prompt);

struct reader {
    const char *wants; /* the best answer holds this */
    bool close;        /* gives the others one point less only */
    bool by_place;     /* prefers the first one shown, whatever it says */
    char best, label[16];
    size_t n;
    struct span outside; /* the prompt without what stands between fences */
    char outside_mem[65536];
    char reply[1024];
};

void reader_read(struct reader *r, struct span prompt);
/* Adds it to the recipe's judges; it scores what it prefers 8 and the others 3 (7 when close). */
struct scripted *rig_fair_judge(struct rig *g, const char *name, struct reader *reader);

#endif
