/* dialect/openai_responses.c - OpenAI's Responses, and what speaks like it: the table of the
 * dialect. Sources of the format: github.com/openai/openai-openapi (f85dbe2) and openresponses.org
 * (2026-04-24); what real servers and client libraries do beside the book stands where it is
 * handled. */
#include "dialect/responses_priv.h"

const struct dialect dialect_openai_responses = {
    .name = "openai_responses",
    .id_prefix = "resp_",
    .path = "/responses",
    .key_header = "authorization",
    .read_request = resp_read_request,
    .writer_new = resp_writer_new,
    .writer_free = resp_writer_free,
    .write_event = resp_write_event,
    .write_unary = resp_write_unary,
    .write_error = oai_write_error,
    .write_request = resp_write_request,
    .reader_new = resp_reader_new,
    .reader_free = resp_reader_free,
    .reader_feed = resp_reader_feed,
    .reader_body = resp_reader_body,
    .reader_eof = resp_reader_eof,
    .reader_next = resp_reader_next,
    .read_error = wire_read_error,
};
