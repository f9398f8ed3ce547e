/* dialect/openai_chat.c - OpenAI's Chat Completions, and all that speaks like it: the table of the
 * dialect. Sources of the format: github.com/openai/openai-openapi (f85dbe2); what real servers and
 * client libraries do beside the book stands where it is handled. */
#include "dialect/openai_chat_priv.h"

const struct dialect dialect_openai_chat = {
    .name = "openai_chat",
    .id_prefix = "chatcmpl-",
    .path = "/chat/completions",
    .passes = true,
    .key_header = "authorization",
    .read_request = oai_read_request,
    .writer_new = oai_writer_new,
    .writer_free = oai_writer_free,
    .write_event = oai_write_event,
    .write_unary = oai_write_unary,
    .write_error = oai_write_error,
    .write_request = oai_write_request,
    .reader_new = oai_reader_new,
    .reader_free = oai_reader_free,
    .reader_feed = oai_reader_feed,
    .reader_body = oai_reader_body,
    .reader_eof = oai_reader_eof,
    .reader_next = oai_reader_next,
    .read_error = wire_read_error,
};
