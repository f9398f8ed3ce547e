/* http/parse.c - see http/parse.h. Callbacks from llhttp come first, then the guards, then the
 * pull. */
#include "http/parse.h"

#include "base/mem.h"

enum { HEAD_FIRST_BYTES = 1024, FRAME_SLACK_BYTES = 32768, FRAME_PER_BODY_BYTE = 16 };

void head_init(struct head *h)
{
    memset(h, 0, sizeof *h);
}

void head_done(struct head *h)
{
    mem_free(h->mem);
    head_init(h);
}

void head_clear(struct head *h, size_t keep)
{
    char *mem = h->mem;
    uint32_t cap = h->cap;
    if (cap > keep) {
        mem_free(mem);
        mem = NULL;
        cap = 0;
    }
    /* the field table is rewritten entry by entry: no need to wipe it */
    h->mem = mem;
    h->cap = cap;
    h->n = 0;
    h->n_fields = h->target_n = h->status = 0;
    h->method = 0;
    h->http10 = h->keep_alive = h->chunked = h->has_length = h->expects = false;
    h->length = 0;
}

struct http_header head_at(const struct head *h, size_t i)
{
    const struct head_field *f = &h->fields[i];
    return (struct http_header){.name = {h->mem + f->name, f->name_n},
                                .value = {h->mem + f->value, f->value_n}};
}

struct span head_get(const struct head *h, struct span lower_name)
{
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct head_field *f = &h->fields[i];
        if (f->name_n == lower_name.n && memcmp(h->mem + f->name, lower_name.p, f->name_n) == 0)
            return (struct span){h->mem + f->value, f->value_n};
    }
    return (struct span){NULL, 0};
}

struct span head_target(const struct head *h)
{
    return (struct span){h->target_n > 0 ? h->mem : "", h->target_n};
}

struct span head_method(const struct head *h)
{
    return span_of(llhttp_method_name((llhttp_method_t)h->method));
}

/* --- callbacks: record, refuse by returning HPE_USER, never decide ---------------------------- */
static struct parse *of(llhttp_t *ll)
{
    return CONTAINER_OF(ll, struct parse, ll);
}

static int refuse(struct parse *p, enum err_class cls, int status, const char *why)
{
    p->cls = cls;
    p->status = status;
    p->why = why;
    return HPE_USER;
}

static int bad(struct parse *p, const char *why)
{
    return refuse(p, p->kind == PARSE_REQUEST ? ERR_INPUT : ERR_UPSTREAM, 400, why);
}

static int store(struct parse *p, const char *at, size_t n)
{
    struct head *h = p->head;
    if (h->n + n > h->cap) {
        uint32_t cap = h->cap > 0 ? h->cap : HEAD_FIRST_BYTES;
        while (cap < h->n + n)
            cap *= 2;
        char *mem = mem_realloc(h->mem, cap);
        if (mem == NULL)
            return refuse(p, ERR_NOMEM, 503, "out of memory");
        h->mem = mem;
        h->cap = cap;
    }
    memcpy(h->mem + h->n, at, n);
    h->n += (uint32_t)n;
    return 0;
}

static int on_url(llhttp_t *ll, const char *at, size_t n)
{
    struct parse *p = of(ll);
    if (p->head->target_n + n > LIMIT_TARGET_BYTES)
        return refuse(p, ERR_LIMIT, 414, "the request target is longer than 8 KiB");
    p->head->target_n = (uint16_t)(p->head->target_n + n);
    return store(p, at, n);
}

static int on_field(llhttp_t *ll, const char *at, size_t n)
{
    struct parse *p = of(ll);
    struct head *h = p->head;
    if (!p->in_head)
        return 0; /* a trailer: bounded by frame_bytes, of no use here */
    if (!p->in_name) {
        if (h->n_fields == LIMIT_HEAD_FIELDS)
            return refuse(p, ERR_LIMIT, 431, "more than 100 header fields");
        h->fields[h->n_fields++] = (struct head_field){.name = (uint16_t)h->n};
        p->in_name = true;
    }
    return store(p, at, n);
}

static int on_field_complete(llhttp_t *ll)
{
    struct parse *p = of(ll);
    struct head *h = p->head;
    if (!p->in_head)
        return 0;
    struct head_field *f = &h->fields[h->n_fields - 1];
    f->name_n = (uint16_t)(h->n - f->name);
    f->value = (uint16_t)h->n;
    for (char *c = h->mem + f->name, *end = h->mem + h->n; c < end; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    return 0;
}

static int on_value(llhttp_t *ll, const char *at, size_t n)
{
    struct parse *p = of(ll);
    return p->in_head ? store(p, at, n) : 0;
}

static int on_value_complete(llhttp_t *ll)
{
    struct parse *p = of(ll);
    struct head *h = p->head;
    if (!p->in_head)
        return 0;
    struct head_field *f = &h->fields[h->n_fields - 1];
    while (h->n > f->value && (h->mem[h->n - 1] == ' ' || h->mem[h->n - 1] == '\t'))
        h->n--;
    f->value_n = (uint16_t)(h->n - f->value);
    p->in_name = false;
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t n)
{
    struct parse *p = of(ll);
    p->body = (struct span){at, n};
    p->body_bytes += n;
    return 0;
}

/* One piece of body is recorded at a time: stop behind each chunk. */
static int on_chunk_complete(llhttp_t *ll)
{
    return of(ll)->body.n > 0 ? HPE_PAUSED : 0;
}

static int on_message_complete(llhttp_t *ll)
{
    of(ll)->done = true;
    return HPE_PAUSED; /* a pipelined next message waits unparsed */
}

/* --- the guards ------------------------------------------------------------------------------- */
static bool is_authority_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~%!$&'()*+,;=:[]", c) != NULL);
}

static int guard_host(struct parse *p, struct span host)
{
    if (host.n == 0)
        return bad(p, "the Host field is empty");
    for (size_t i = 0; i < host.n; i++)
        if (!is_authority_char(host.p[i]))
            return bad(p, "the Host field is not a host");
    return 0;
}

/* Origin form, "*" for OPTIONS, authority for CONNECT, or absolute form naming the same host. */
static int guard_target(struct parse *p, struct span host)
{
    struct span t = head_target(p->head);
    if (t.n == 0 || memchr(t.p, '#', t.n) != NULL)
        return bad(p, "the request target is not valid");
    if (p->ll.method == HTTP_CONNECT || t.p[0] == '/')
        return 0;
    if (span_eq(t, SPAN("*")))
        return p->ll.method == HTTP_OPTIONS ? 0 : bad(p, "target * is for OPTIONS only");
    size_t scheme = span_eq_nocase(span_upto(t, 7), SPAN("http://"))    ? 7
                    : span_eq_nocase(span_upto(t, 8), SPAN("https://")) ? 8
                                                                        : 0;
    if (scheme == 0)
        return bad(p, "the request target is not valid");
    struct span authority = span_from(t, scheme);
    authority = span_upto(authority, span_find(authority, "/?"));
    if (host.p != NULL && !span_eq_nocase(authority, host))
        return bad(p, "the request target and the Host field name different hosts");
    return 0;
}

static int guard_request(struct parse *p, struct span host, size_t hosts)
{
    if (hosts > 1)
        return bad(p, "more than one Host field");
    if (hosts == 0 && !p->head->http10)
        return bad(p, "the Host field is missing");
    int rc = hosts > 0 ? guard_host(p, host) : 0;
    return rc != 0 ? rc : guard_target(p, host);
}

static int guard_framing(struct parse *p, struct span coding, size_t codings)
{
    if (codings == 0)
        return 0;
    if (codings > 1)
        return bad(p, "more than one Transfer-Encoding field");
    if (p->head->http10)
        return bad(p, "Transfer-Encoding in HTTP/1.0");
    if (!span_eq_nocase(coding, SPAN("chunked")))
        return bad(p, "a Transfer-Encoding other than chunked");
    if (p->head->has_length)
        return bad(p, "Content-Length and Transfer-Encoding together");
    return 0;
}

static int guard(struct parse *p)
{
    struct head *h = p->head;
    struct span host = {0}, coding = {0};
    size_t hosts = 0, codings = 0;
    if (p->ll.http_major != 1 || p->ll.http_minor > 1)
        return bad(p, "the HTTP version is neither 1.0 nor 1.1");
    h->http10 = p->ll.http_minor == 0;
    for (size_t i = 0; i < h->n_fields; i++) {
        struct http_header f = head_at(h, i);
        if (f.name.n == 4 && memcmp(f.name.p, "host", 4) == 0) {
            host = f.value;
            hosts++;
        } else if (f.name.n == 6 && memcmp(f.name.p, "expect", 6) == 0) {
            h->expects = true;
        } else if (span_eq(f.name, SPAN("transfer-encoding"))) {
            coding = f.value;
            codings++;
        }
    }
    h->has_length = (p->ll.flags & F_CONTENT_LENGTH) != 0;
    h->length = h->has_length ? p->ll.content_length : 0;
    h->chunked = (p->ll.flags & F_CHUNKED) != 0;
    int rc = guard_framing(p, coding, codings);
    return rc == 0 && p->kind == PARSE_REQUEST ? guard_request(p, host, hosts) : rc;
}

static int on_headers_complete(llhttp_t *ll)
{
    struct parse *p = of(ll);
    struct head *h = p->head;
    int rc = guard(p);
    if (rc != 0)
        return rc;
    h->method = ll->method;
    h->status = ll->status_code;
    h->keep_alive = llhttp_should_keep_alive(ll) != 0;
    ll->upgrade = 0; /* an offer to upgrade is declined by going on in HTTP/1.1 */
    p->in_head = false;
    if (p->kind == PARSE_RESPONSE && h->status / 100 == 1) {
        if (h->status == 101)
            return bad(p, "101 without having asked for another protocol");
        p->skip_interim = true;
        return 1;
    }
    p->head_due = true;
    if (p->no_body)
        return 1;
    p->until_close = llhttp_message_needs_eof(ll) != 0;
    p->head_told = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_field_complete = on_field_complete,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_complete = on_chunk_complete,
    .on_message_complete = on_message_complete,
};

/* --- the pull --------------------------------------------------------------------------------- */
void parse_init(struct parse *p, enum parse_kind kind, bool no_body, struct head *h)
{
    memset(p, 0, sizeof *p);
    llhttp_init(&p->ll, kind == PARSE_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    p->kind = kind;
    p->no_body = no_body;
    p->head = h;
    p->in_head = true;
}

static enum parse_status fail(struct parse *p, struct err *e)
{
    p->failed = true;
    if (p->cls == ERR_NONE)
        bad(p, llhttp_get_error_reason(&p->ll));
    err_set(e, p->cls, "http: %s", p->why != NULL ? p->why : "not an HTTP message");
    if (e != NULL && p->kind == PARSE_REQUEST)
        e->status = p->status;
    return PARSE_FAIL;
}

/* Framing that costs far more than what it frames is an attack: chunk extensions without end,
 * trailers without end, a flood of one-byte chunks beyond any reason. */
static bool frame_absurd(const struct parse *p)
{
    return p->frame_bytes > p->body_bytes + p->body_bytes * FRAME_PER_BODY_BYTE + FRAME_SLACK_BYTES;
}

static bool feed(struct parse *p, struct span *in)
{
    size_t n = in->n;
    bool in_head = p->in_head;
    if (in_head && n > LIMIT_HEAD_BYTES - p->head_bytes)
        n = LIMIT_HEAD_BYTES - p->head_bytes;
    if (in_head && n == 0) {
        refuse(p, ERR_LIMIT, 431, "the head is larger than 32 KiB");
        return false;
    }
    const char *from = n > 0 ? in->p : "";
    p->head_told = false;
    llhttp_errno_t rc = llhttp_execute(&p->ll, from, n);
    if (rc == HPE_PAUSED) {
        n = (size_t)(llhttp_get_error_pos(&p->ll) - from);
        llhttp_resume(&p->ll);
    } else if (rc != HPE_OK) {
        return false;
    }
    if (in_head)
        p->head_bytes += n;
    else
        p->frame_bytes += n;
    *in = span_from(*in, n);
    if (frame_absurd(p)) {
        p->done = false; /* even if its end has come in the same packet */
        bad(p, "the chunk framing is out of all proportion");
        return false;
    }
    return true;
}

static void start_over(struct parse *p)
{
    size_t eaten = p->head_bytes;
    head_clear(p->head, LIMIT_HEAD_BYTES);
    parse_init(p, p->kind, p->no_body, p->head);
    p->head_bytes = eaten; /* any number of 1xx heads fits in one head's allowance */
}

enum parse_status parse_next(struct parse *p, struct span *in, struct span *out_body, struct err *e)
{
    if (p->failed) {
        err_set(e, ERR_STATE, "http: this message has already failed");
        return PARSE_FAIL;
    }
    for (;;) {
        if (p->done && p->skip_interim)
            start_over(p);
        if (p->head_due) {
            p->head_due = false;
            return PARSE_HEAD;
        }
        if (p->body.n > 0) {
            *out_body = p->body;
            p->body = (struct span){NULL, 0};
            return PARSE_BODY;
        }
        if (p->done)
            return PARSE_END;
        if (p->broken)
            return fail(p, e);
        /* A message without body ends only when llhttp is asked once more, be it with no bytes. */
        if (in->n == 0 && !p->head_told)
            return PARSE_MORE;
        /* What came before the fault is told before it, so that the split does not show. */
        p->broken = !feed(p, in);
    }
}

enum parse_status parse_eof(struct parse *p, struct err *e)
{
    if (!p->failed && (p->done || (p->until_close && !p->in_head))) {
        p->done = true;
        return PARSE_END;
    }
    p->failed = true;
    err_set(e, ERR_CUT, "http: the connection ended in the middle of a message");
    return PARSE_FAIL;
}

bool parse_untouched(const struct parse *p)
{
    return p->head_bytes == 0;
}
