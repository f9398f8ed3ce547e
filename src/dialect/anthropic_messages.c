/* dialect/anthropic_messages.c - Anthropic's Messages: the table of the dialect. Sources of the
 * format: the types of anthropic-sdk-python 2.14.0 and platform.claude.com/docs (October 2026);
 * what real servers and client libraries do beside the book stands where it is handled. */
#include "dialect/anthropic_priv.h"

const struct dialect dialect_anthropic_messages = {
    .name = "anthropic_messages",
    .id_prefix = "msg_",
    .path = "/messages",
    .key_header = "x-api-key",
    .headers = {{"anthropic-version", "2023-06-01"}},
    .betas_header = "anthropic-beta",
    .read_request = ant_read_request,
    .read_count = ant_read_count,
    .write_count = ant_write_count,
    .writer_new = ant_writer_new,
    .writer_free = ant_writer_free,
    .write_event = ant_write_event,
    .write_unary = ant_write_unary,
    .write_error = ant_write_error,
    .write_request = ant_write_request,
    .reader_new = ant_reader_new,
    .reader_free = ant_reader_free,
    .reader_feed = ant_reader_feed,
    .reader_body = ant_reader_body,
    .reader_eof = ant_reader_eof,
    .reader_next = ant_reader_next,
    .read_error = wire_read_error,
};
