/* bench/load_request.c - see load_request.h. The dialects agree on a message of plain text; what
 * they say differently stands in one table. */
#include "load_request.h"

struct form {
    const char *name, *path;
    const char *system, *messages; /* before the system prompt; between it and the messages */
    const char *max_tokens;
    const char *call, *call_end;     /* around the id of a call of tool_0 */
    const char *result, *result_mid; /* before the id of the call; between it and the text */
    const char *result_end;
    const char *tool, *tool_mid, *tool_end; /* before the number; before the schema; behind it */
};

static const struct form forms[] = {
    [BENCH_CHAT] =
        {
            .name = "chat",
            .path = "/v1/chat/completions",
            .system = "\"messages\":[{\"role\":\"system\",\"content\":\"",
            .messages = "\"}",
            .max_tokens = "max_tokens",
            .call = "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"",
            .call_end = "\",\"type\":\"function\",\"function\":{\"name\":\"tool_0\",\"arguments\":"
                        "\"{\\\"path\\\":\\\"src/mill.c\\\",\\\"lines\\\":[1,80]}\"}}]}",
            .result = "{\"role\":\"tool\",\"tool_call_id\":\"",
            .result_mid = "\",\"content\":\"",
            .result_end = "\"}",
            .tool = "{\"type\":\"function\",\"function\":{\"name\":\"tool_",
            .tool_mid = "\"parameters\":",
            .tool_end = "}}",
        },
    [BENCH_MESSAGES] =
        {
            .name = "messages",
            .path = "/v1/messages",
            .system = "\"system\":\"",
            .messages = "\",\"messages\":[",
            .max_tokens = "max_tokens",
            .call = "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"",
            .call_end = "\",\"name\":\"tool_0\",\"input\":{\"path\":\"src/mill.c\",\"lines\":[1,80]"
                        "}}]}",
            .result = "{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":"
                      "\"",
            .result_mid = "\",\"content\":\"",
            .result_end = "\"}]}",
            .tool = "{\"name\":\"tool_",
            .tool_mid = "\"input_schema\":",
            .tool_end = "}",
        },
    [BENCH_RESPONSES] =
        {
            .name = "responses",
            .path = "/v1/responses",
            .system = "\"store\":false,\"instructions\":\"",
            .messages = "\",\"input\":[",
            .max_tokens = "max_output_tokens",
            .call = "{\"type\":\"function_call\",\"call_id\":\"",
            .call_end = "\",\"name\":\"tool_0\",\"arguments\":\"{\\\"path\\\":\\\"src/mill.c\\\","
                        "\\\"lines\\\":[1,80]}\"}",
            .result = "{\"type\":\"function_call_output\",\"call_id\":\"",
            .result_mid = "\",\"output\":\"",
            .result_end = "\"}",
            .tool = "{\"type\":\"function\",\"name\":\"tool_",
            .tool_mid = "\"strict\":false,\"parameters\":",
            .tool_end = "}",
        },
};

#define N_FORMS (sizeof forms / sizeof *forms)
/* About what a message has around its text. */
#define AROUND_BYTES 40

static const char prose[] =
    "Please compare the two drafts below, keep what is right in both, and answer in plain words.\\n"
    "The first says that \\\"the bridge was built before the mill\\\"; the second gives no year. ";

static const char schema[] =
    "{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"description\":\"Where "
    "the "
    "file is, from the root of the project\"},\"lines\":{\"type\":\"array\",\"items\":{\"type\":"
    "\"integer\",\"minimum\":1},\"description\":\"First and last line\"},\"mode\":{\"type\":"
    "\"string\",\"enum\":[\"text\",\"bytes\"],\"default\":\"text\"}},\"required\":[\"path\"],"
    "\"additionalProperties\":false}";

bool load_dialect(struct span name, enum bench_dialect *out)
{
    for (size_t i = 0; i < N_FORMS; i++)
        if (span_eq(name, span_of(forms[i].name))) {
            *out = (enum bench_dialect)i;
            return true;
        }
    return false;
}

const char *load_path(enum bench_dialect d)
{
    return forms[d].path;
}

static void add(struct buf *b, const char *text)
{
    bench_must(buf_add(b, span_of(text), NULL), "a body");
}

static void add_prose(struct buf *b, size_t n)
{
    size_t whole = sizeof prose - 1;
    for (; n >= whole; n -= whole)
        add(b, prose);
    for (; n > 0; n--)
        bench_must(buf_add_char(b, '.', NULL), "a body");
}

/* The i-th message behind the system prompt, from 1. */
static void add_message(const struct load_request *r, unsigned i, size_t text, struct buf *b)
{
    const struct form *f = &forms[r->dialect];
    bool user = i % 2 == 1 || i + 1 == r->messages;
    if (r->tools > 0 && i % 4 == 2 && !user)
        bench_must(buf_addf(b, NULL, "%scall_%u%s", f->call, i, f->call_end), "a body");
    else if (r->tools > 0 && i % 4 == 3) {
        bench_must(buf_addf(b, NULL, "%scall_%u%s", f->result, i - 1, f->result_mid), "a body");
        add_prose(b, text);
        add(b, f->result_end);
    } else {
        add(b,
            user ? "{\"role\":\"user\",\"content\":\"" : "{\"role\":\"assistant\",\"content\":\"");
        add_prose(b, text);
        add(b, "\"}");
    }
}

static void add_tools(const struct load_request *r, struct buf *b)
{
    const struct form *f = &forms[r->dialect];
    for (unsigned i = 0; i < r->tools; i++)
        bench_must(
            buf_addf(b, NULL, "%s%s%u\",\"description\":\"Reads a file or a part of it.\",%s%s%s",
                     i > 0 ? "," : ",\"tools\":[", f->tool, i, f->tool_mid, schema, f->tool_end),
            "a body");
    if (r->tools > 0)
        add(b, "]");
}

void load_request_body(const struct load_request *r, struct buf *out)
{
    const struct form *f = &forms[r->dialect];
    size_t each = r->messages > 0 ? r->body_bytes / r->messages : 0;
    size_t text = each > AROUND_BYTES ? each - AROUND_BYTES : 0;
    bench_must(buf_addf(out, NULL, "{\"model\":\"%s\",\"%s\":1024,\"temperature\":0.7,%s", r->model,
                        f->max_tokens, f->system),
               "a body");
    add(out, "You are a careful assistant. Be brief. ");
    add_prose(out, text);
    add(out, f->messages);
    for (unsigned i = 1; i < r->messages; i++) {
        if (i > 1 || r->dialect == BENCH_CHAT)
            add(out, ",");
        add_message(r, i, text, out);
    }
    add(out, "]");
    add_tools(r, out);
    bench_must(buf_addf(out, NULL, ",\"stream\":%s}", r->stream ? "true" : "false"), "a body");
}
