/* dialect/openai_responses_seal.c - reasoning of any provider in the one string that Responses has
 * for it, `encrypted_content`.
 *
 * OpenAI binds that string to the id of its item and checks it. So a block that OpenAI signed goes
 * to clients as it came, under its own id. Any other signature (Anthropic's, Gemini's, one that
 * came without its id) is packed: "fusor1:FORMAT:ID:SIGNATURE", so that the turn that brings it
 * back says whose it is. FORMAT and ID may be empty and hold no colon. The text of the block stands
 * in the item's summary, which clients send back as it was. */
#include "base/limits.h"
#include "dialect/responses_priv.h"

#define MARK SPAN("fusor1:")

static struct span without_colon(struct span s)
{
    return span_find(s, ":") == s.n ? s : (struct span){"", 0};
}

static bool add_sealed(struct buf *b, const struct resp_block *block, struct err *e)
{
    return buf_add(b, MARK, e) && buf_add(b, without_colon(block->format), e) &&
           buf_add_char(b, ':', e) && buf_add(b, without_colon(block->id), e) &&
           buf_add_char(b, ':', e) && buf_add(b, block->signature, e);
}

void resp_write_sealed(struct json_w *w, const struct resp_block *b, struct span shown_id)
{
    struct buf text;
    bool own = span_eq(b->format, CHAT_SIGNED_OPENAI) &&
               (b->id.n == 0 || span_eq(b->id, shown_id)) && !span_starts(b->signature, MARK);
    if (b->signature.n == 0) {
        json_w_null(w);
        return;
    }
    if (own) {
        json_w_str(w, b->signature);
        return;
    }
    buf_init(&text, LIMIT_EVENT_BYTES + KIB(2));
    if (!w->failed && !add_sealed(&text, b, w->e))
        w->failed = true;
    json_w_str(w, buf_span(&text));
    buf_done(&text);
}

void resp_unseal(struct span sealed, struct span id, struct resp_block *out)
{
    struct span rest = span_from(sealed, MARK.n), format, own_id;
    out->id = id;
    out->signature = sealed;
    out->format = sealed.n > 0 ? CHAT_SIGNED_OPENAI : (struct span){0};
    if (!span_starts(sealed, MARK) || !span_cut(&rest, ':', &format) ||
        !span_cut(&rest, ':', &own_id))
        return;
    out->id = own_id.n > 0 ? own_id : (struct span){0};
    out->format = format.n > 0 ? format : (struct span){0};
    out->signature = rest;
}
