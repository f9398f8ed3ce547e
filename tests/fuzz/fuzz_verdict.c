/* tests/fuzz/fuzz_verdict.c - any bytes as a judge's reply: a verdict over the labels that were
 * asked for, or a reason; and any bytes as a member's answer: a canonical form that reads the same
 * again. */
#include <stdint.h>

#include "fusion/canon.h"
#include "fusion/verdict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
    if (!ok)
        abort();
}

static void verdict(struct arena *a, struct span reply)
{
    struct verdict v;
    struct err e = {0};
    if (!verdict_read(a, reply, "ABC", 3, &v, &e)) {
        check(e.cls == ERR_UPSTREAM && e.msg[0] != '\0');
        return;
    }
    check(v.best < 3);
    for (size_t i = 0; i < 3; i++)
        check(v.scores[i] >= 0 && v.scores[i] <= 10);
}

static void canonical(struct arena *a, struct span reply)
{
    static const enum fusion_answer kinds[] = {FUSION_ANSWER_AUTO,   FUSION_ANSWER_CHOICE,
                                               FUSION_ANSWER_NUMBER, FUSION_ANSWER_BOOLEAN,
                                               FUSION_ANSWER_JSON,   FUSION_ANSWER_TEXT};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct err e = {0};
        struct span first, again;
        const struct canon *c = canon_new(a, kinds[i], SPAN(""), &e);
        check(c != NULL && canon_read(c, a, reply, &first, &e));
        if (!first.p)
            continue;
        check(first.n > 2 && first.p[1] == ':');
        /* Numbers and objects are in their final form. */
        if (first.p[0] != 'n' && first.p[0] != 'j')
            continue;
        struct span said = span_from(first, 2);
        if (first.p[0] == 'n')
            said = arena_printf(a, "The answer is %.*s", SPAN_ARG(said));
        check(canon_read(c, a, said, &again, &e));
        check(again.p && span_eq(first, again));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(arena) a = arena_new(0);
    struct span reply = span_make(data, size);
    check(a != NULL);
    verdict(a, reply);
    canonical(a, reply);
    return 0;
}
