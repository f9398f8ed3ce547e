/* cli/probe.c - see cli/probe.h. */
#include "cli/probe.h"

#include "base/limits.h"
#include "base/text.h"
#include "dialect/dialect.h"

void probe_models(struct fetch *f, const struct config_provider *p)
{
    /* OpenRouter lists its models to anybody; this path asks about the key itself. */
    static const struct span openrouter = SPAN_INIT("https://openrouter.ai/");
    f->url = p->base_url;
    f->path = p->key && span_starts(p->base_url, openrouter) ? SPAN("/key") : SPAN("/models");
    f->key = p->key;
    f->dialect = dialect_find(span_of(p->dialect));
    f->ca_file = p->ca_file.n ? p->ca_file.p : NULL;
    f->proxy = p->proxy;
    f->proxy_auth = p->proxy_auth;
    f->timeouts = (struct http_timeouts){.total_us = PROBE_TIMEOUT_US};
}

bool probe_chat(const struct config_usual *u, struct buf *path, struct buf *body, struct err *e)
{
    const struct dialect *d = dialect_find(span_of(u->dialect));
    struct chat_part part = {.kind = CHAT_PART_TEXT, .text = SPAN("Hi")};
    struct chat_message message = {.role = CHAT_USER, .parts = &part, .n_parts = 1};
    const struct chat_request r = {.dialect = SPAN("openai_chat"),
                                   .model = span_of(u->id),
                                   .messages = &message,
                                   .n_messages = 1,
                                   .max_tokens = 1,
                                   .parallel_tool_calls = -1,
                                   .format_strict = -1,
                                   .logprobs = -1,
                                   .top_logprobs = -1,
                                   .n = 1};
    const struct dialect_target t = {.model = r.model,
                                     .dialect = span_of(u->dialect),
                                     .max_completion_tokens = u->max_completion_tokens,
                                     .unary = true};
    struct dialect_notes notes = {0};
    bool ok = d->path ? buf_add(path, span_of(d->path), e) : d->write_path(&t, path, e);
    return ok && d->write_request(&r, &t, body, &notes, e);
}

/* --- the answer in words
 * ---------------------------------------------------------------------------- */

static bool mentions(struct span text, const char *word)
{
    size_t n = strlen(word);
    text = span_upto(text, KIB(4));
    for (size_t i = 0; i + n <= text.n; i++)
        if (span_eq_nocase(span_upto(span_from(text, i), n), span_of(word)))
            return true;
    return false;
}

static bool mentions_any(struct span text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mentions(text, words[i]))
            return true;
    return false;
}

/* Some say 400 to a wrong key (Gemini). */
static bool is_bad_key(int status, struct span body)
{
    static const char *const words[] = {"api key not valid", "API_KEY_INVALID", "invalid api key",
                                        "invalid x-api-key"};
    return status == 401 || status == 403 ||
           (status == 400 && mentions_any(body, words, COUNT_OF(words)));
}

/* A reasoning model that had only one token to think with (OpenAI): it has answered all the same.
 */
static bool is_short_of_tokens(int status, struct span body)
{
    return status == 400 && mentions(body, "output limit was reached");
}

/* Providers strike out the middle of a key, or cut it off: so much of it in a row counts as it. */
#define KEY_PART_BYTES 8

static bool quotes_key(struct span text, const struct secret *key)
{
    struct span k = secret_reveal(key);
    size_t n = k.n < KEY_PART_BYTES ? k.n : KEY_PART_BYTES;
    for (size_t i = 0; n > 0 && i + n <= k.n; i++)
        if (span_index(text, span_upto(span_from(k, i), n)) < text.n)
            return true;
    return false;
}

/* What a provider quotes may be our key: then nothing of it is shown. */
static void say_error(struct probe *out, const struct err *e, const struct secret *key)
{
    struct span msg = span_of(e->msg);
    text_visible_cstr(out->text, sizeof out->text,
                      quotes_key(msg, key) ? SPAN("its answer quotes the key and is not shown")
                                           : msg);
}

/* The message without the name of the module that made it. */
static void read_failure(const struct fetch *f, struct probe *out)
{
    static const struct span module = SPAN_INIT("http: ");
    struct span msg = span_of(f->err.msg);
    size_t at = span_index(msg, module);
    out->word = PROBE_UNREACHED;
    if (f->err.cls == ERR_TIMEOUT && f->proxy.n == 0) { /* else the message says which hop it was */
        (void)snprintf(out->text, sizeof out->text, "no answer within %lld s",
                       (long long)((f->took_us + 500000) / 1000000));
        return;
    }
    text_visible_cstr(out->text, sizeof out->text, span_upto(msg, at));
    size_t n = strlen(out->text);
    text_visible_cstr(out->text + n, sizeof out->text - n, span_from(msg, at + module.n));
}

static void read_refusal(const struct fetch *f, struct probe *out)
{
    struct err e = {0};
    struct span body = buf_span(f->out);
    if (is_bad_key(f->status, body)) {
        out->word = PROBE_BAD_KEY;
        (void)snprintf(out->text, sizeof out->text, "the key is %s (status %d)",
                       f->key ? "refused" : "missing", f->status);
        return;
    }
    (f->dialect ? f->dialect : &dialect_openai_chat)->read_error(f->status, body, -1, &e);
    out->word = f->status < 500 && f->status != 408 ? PROBE_ODD : PROBE_UNREACHED;
    say_error(out, &e, f->key);
}

/* A web page answers 200 to anything. */
static bool is_json(struct span body)
{
    body = span_trim(body);
    return span_starts(body, SPAN("{")) || span_starts(body, SPAN("["));
}

void probe_read(const struct fetch *f, struct probe *out)
{
    *out = (struct probe){.word = PROBE_OK};
    if (f->status == 0)
        read_failure(f, out);
    else if (f->status >= 400 && !is_short_of_tokens(f->status, buf_span(f->out)))
        read_refusal(f, out);
    else if (f->status >= 300 && f->status < 400)
        *out = (struct probe){PROBE_UNREACHED, "it redirects elsewhere: check base_url"};
    else if (!is_json(buf_span(f->out)))
        *out = (struct probe){PROBE_UNREACHED,
                              "what answers is no API of OpenAI's form: check base_url"};
    else
        (void)snprintf(out->text, sizeof out->text, "answers (%lld ms)",
                       (long long)((f->took_us + 500) / 1000));
}
