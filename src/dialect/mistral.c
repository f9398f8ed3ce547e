/* dialect/mistral.c - Mistral's chat API, towards upstreams: the table of the dialect, and what its
 * errors say that others' do not.
 *
 * A strict cousin of Chat Completions: requests are written by a schema that refuses every field it
 * does not know (mistral_send.c), answers are read as all others of that family. Its clients are
 * served by openai_chat, which knows their fields. Sources of the format:
 * github.com/mistralai/platform-docs-public (222f4ba, openapi.yaml); the order of messages:
 * github.com/mistralai/mistral-common, protocol/instruct/validator.py. */
#include "base/text.h"
#include "dialect/mistral_priv.h"

/* A 403 is a key that may not, or a guardrail that was not kept; only the words tell. */
#define WORDS_BYTES 4096

static bool mentions(struct span text, struct span word)
{
    text = span_upto(text, WORDS_BYTES);
    for (size_t i = 0; i + word.n <= text.n; i++)
        if (span_eq_nocase(span_upto(span_from(text, i), word.n), word))
            return true;
    return false;
}

void mistral_read_error(int status, struct span body, int64_t retry_after_ms, struct err *out)
{
    wire_read_error(status, body, retry_after_ms, out);
    if (status != 403 ||
        (!mentions(body, SPAN("guardrail")) && !mentions(body, SPAN("moderation"))))
        return;
    err_set(out, ERR_FORBIDDEN, "the upstream's guardrails blocked the request (status 403)");
    err_with_code(out, "content_filter");
    out->sent = SENT_REFUSED;
    out->upstream_status = status;
    out->retry_after_ms = -1;
}

const struct dialect dialect_mistral = {
    .name = "mistral",
    .id_prefix = "chatcmpl-",
    .path = "/chat/completions",
    .passes = true,
    .key_header = "authorization",
    .write_request = mistral_write_request,
    .reader_new = oai_reader_new,
    .reader_free = oai_reader_free,
    .reader_feed = oai_reader_feed,
    .reader_body = oai_reader_body,
    .reader_eof = oai_reader_eof,
    .reader_next = oai_reader_next,
    .read_error = mistral_read_error,
};
