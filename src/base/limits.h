/* base/limits.h - every maximum in the program, in one place. */
#ifndef FUSOR_BASE_LIMITS_H
#define FUSOR_BASE_LIMITS_H

#include <stddef.h>

#define KIB(n) ((size_t)(n) << 10)
#define MIB(n) ((size_t)(n) << 20)

/* Memory of one request: parsed body, messages, prompts. */
#define LIMIT_ARENA_BYTES MIB(256)
/* What a worker's heap keeps of freed memory, blocks of at least BLOCK not at all: twice what a
 * request of a megabyte takes, whose largest block is one of two. */
#define LIMIT_KEPT_HEAP_BYTES  MIB(8)
#define LIMIT_KEPT_BLOCK_BYTES MIB(4)
/* HTTP head: bytes of start line and fields together, number of fields, one target. */
#define LIMIT_HEAD_BYTES   KIB(32)
#define LIMIT_HEAD_FIELDS  100
#define LIMIT_TARGET_BYTES KIB(8)
/* Bodies of requests to chat routes, and to all others. */
#define LIMIT_CHAT_BODY_BYTES  MIB(64)
#define LIMIT_SMALL_BODY_BYTES KIB(256)
/* Bytes of a pipelined next request kept while the current one is answered. */
#define LIMIT_PIPELINE_BYTES KIB(64)
/* Unsent bytes to one client: above HIGH its upstream is paused, below LOW it goes on;
 * MAX closes. */
#define LIMIT_OUT_HIGH_BYTES KIB(64)
#define LIMIT_OUT_LOW_BYTES  KIB(16)
#define LIMIT_OUT_MAX_BYTES  MIB(32)
/* One SSE event or unary body of an upstream, and all bytes of one answer. */
#define LIMIT_EVENT_BYTES  MIB(16)
#define LIMIT_ANSWER_BYTES MIB(64)
/* The body of an answer that is passed on: 2,048 vectors of 3,072 dimensions in base64. */
#define LIMIT_PASS_BYTES LIMIT_OUT_MAX_BYTES
/* What a panel member's collector keeps. */
#define LIMIT_MEMBER_BYTES MIB(4)
/* One value that is kept for later requests (a turn of a conversation, reasoning), those that wait
 * to be written, and all that one question brings back. */
#define LIMIT_KEPT_BYTES       MIB(16)
#define LIMIT_KEPT_QUEUE_BYTES MIB(64)
#define LIMIT_KEPT_REPLY_BYTES LIMIT_CHAT_BODY_BYTES
/* JSON nesting. */
#define LIMIT_JSON_DEPTH 64
/* One `pattern` of a JSON schema: its text, and the instructions of its program and of all programs
 * of the schema together. */
#define LIMIT_PATTERN_BYTES KIB(8)
#define LIMIT_PATTERN_INSTS ((size_t)16384)
#define LIMIT_SCHEMA_INSTS  ((size_t)262144)
/* Checking one value against a schema, and compiling one: subschemas in subschemas, and steps of
 * some 10 ns each, which the loop is held up by. An answer of a megabyte takes one million. */
#define LIMIT_SCHEMA_DEPTH 512
#define LIMIT_SCHEMA_STEPS ((int64_t)5 * 1000 * 1000)
/* JSON values in a schema: some 200 bytes of memory each at most. */
#define LIMIT_SCHEMA_VALUES ((size_t)200000)
/* An answer that is to be checked against a schema. */
#define LIMIT_STRUCTURED_BYTES MIB(4)
/* Reads from one socket per turn of the loop, so that none starves the others. */
#define LIMIT_READS_PER_TURN 32
/* Threads that serve. */
#define LIMIT_WORKERS 256
/* Panel size and leaf calls of a nested recipe. */
#define LIMIT_PANEL        16
#define LIMIT_LEAF_CALLS   16
#define LIMIT_FUSION_DEPTH 2
/* Models that queues and sketches are kept for one by one. */
#define LIMIT_MODEL_ENTRIES 4096
/* Configuration file, and one secret in a file. */
#define LIMIT_CONFIG_BYTES MIB(4)
#define LIMIT_SECRET_BYTES KIB(8)

#endif
