/* observe/log.c - see observe/log.h. A line is a fixed array on the stack: no allocation, and a
 * line that would grow past it loses the ends of long values, never its closing brace. */
#include "observe/log.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    LINE_BYTES = 8192,
    VALUE_BYTES = 2048, /* of one string, before escapes */
    TAIL_BYTES = 16,    /* kept free to close a string and the object */
};

struct log {
    int fd;
    enum log_level level;
    bool terminal;
};

struct line {
    size_t n;
    char text[LINE_BYTES];
};

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error"};

static enum log_level level_of(const char *name)
{
    for (size_t i = 0; name != NULL && i < COUNT_OF(level_names); i++)
        if (strcmp(name, level_names[i]) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

struct log *log_new(int fd, const char *level)
{
    struct log *l = mem_zalloc(sizeof *l);
    if (l != NULL)
        *l = (struct log){.fd = fd, .level = level_of(level), .terminal = isatty(fd) == 1};
    return l;
}

void log_free(struct log *l)
{
    mem_free(l);
}

bool log_on(const struct log *l, enum log_level level)
{
    return l != NULL && level >= l->level;
}

static bool fits(const struct line *line, size_t n)
{
    return line->n + n <= sizeof line->text - TAIL_BYTES;
}

/* All or nothing, so that an escape is never cut in two. */
static bool add(struct line *line, const char *p, size_t n)
{
    if (!fits(line, n))
        return false;
    memcpy(line->text + line->n, p, n);
    line->n += n;
    return true;
}

static bool add_cstr(struct line *line, const char *s)
{
    return add(line, s, strlen(s));
}

/* One byte inside a JSON string. */
static bool add_byte(struct line *line, unsigned char c, bool utf8)
{
    char esc[8];
    if (c == '"' || c == '\\')
        return add(line, (char[]){'\\', (char)c}, 2);
    if (c == '\n')
        return add(line, "\\n", 2);
    if (c >= 0x20 && c != 0x7f && (c < 0x80 || utf8))
        return add(line, (char *)&c, 1);
    snprintf(esc, sizeof esc, "\\u%04x", c);
    return add(line, esc, 6);
}

/* C1 controls are two bytes of UTF-8 (C2 80 to C2 9F), and a terminal obeys them. */
static bool is_c1(struct span s, size_t i)
{
    return i + 1 < s.n && (unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0;
}

/* Bytes of the UTF-8 sequence that starts with c; the text is known to be well formed. */
static size_t seq_len(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

static bool add_escaped(struct line *line, struct span s)
{
    bool utf8 = text_is_utf8(s);
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        if (utf8 && is_c1(s, i)) {
            if (!add_byte(line, (unsigned char)s.p[i + 1], false))
                return false;
            i += 2;
        } else if (utf8 && c >= 0x80) {
            if (!add(line, s.p + i, seq_len(c)))
                return false;
            i += seq_len(c);
        } else {
            if (!add_byte(line, c, utf8))
                return false;
            i++;
        }
    }
    return true;
}

/* The closing quote goes into the tail that add() keeps free. */
static void close_string(struct line *line, bool whole)
{
    const char *end = whole ? "\"" : "...\"";
    memcpy(line->text + line->n, end, strlen(end));
    line->n += strlen(end);
}

static void add_str(struct line *line, struct span s)
{
    struct span cut = text_upto(s, VALUE_BYTES);
    line->text[line->n++] = '"';
    bool whole = add_escaped(line, cut);
    close_string(line, whole && cut.n == s.n);
}

static void add_field(struct line *line, const struct log_field *f)
{
    char num[40];
    size_t key = strlen(f->key);
    if (!fits(line, key + sizeof num + 8)) /* room for ,"key": and any number */
        return;
    add_cstr(line, ",\"");
    add(line, f->key, key);
    add_cstr(line, "\":");
    switch (f->kind) {
    case LOG_STR:
        add_str(line, f->str);
        return;
    case LOG_I64:
        snprintf(num, sizeof num, "%lld", (long long)f->i64);
        break;
    case LOG_F64:
        if (isfinite(f->f64))
            snprintf(num, sizeof num, "%.9g", f->f64);
        else
            snprintf(num, sizeof num, "null");
        break;
    case LOG_BOOL:
        snprintf(num, sizeof num, "%s", f->i64 ? "true" : "false");
        break;
    }
    add_cstr(line, num);
}

static void add_time(struct line *line)
{
    int64_t ms = clock_wall_ms();
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    char day[32], out[48];
    gmtime_r(&s, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, sizeof out, "{\"ts\":\"%s.%03dZ\"", day, (int)(ms % 1000));
    add_cstr(line, out);
}

/* One write for one line keeps lines of several threads and processes whole. A log that cannot be
 * written has nowhere to say so. */
static void put(const struct log *l, struct line *line)
{
    line->text[line->n++] = '\n';
    ssize_t n;
    do
        n = write(l->fd, line->text, line->n);
    while (n < 0 && errno == EINTR);
}

static void put_plain(const struct log *l, enum log_level level, const char *event,
                      const struct log_field *f, size_t n)
{
    struct line line = {0};
    char text[512];
    add_cstr(&line, level == LOG_ERROR ? "error: " : "warning: ");
    add_cstr(&line, event);
    for (size_t i = 0; i < n && fits(&line, sizeof text + strlen(f[i].key) + 2); i++) {
        text_visible_cstr(text, sizeof text, f[i].str);
        if (f[i].kind == LOG_I64 || f[i].kind == LOG_BOOL)
            snprintf(text, sizeof text, "%lld", (long long)f[i].i64);
        if (f[i].kind == LOG_F64)
            snprintf(text, sizeof text, "%.9g", f[i].f64);
        add_cstr(&line, " ");
        add_cstr(&line, f[i].key);
        add_cstr(&line, "=");
        add_cstr(&line, text);
    }
    put(l, &line);
}

void log_event(struct log *l, enum log_level level, const char *event, const struct log_field *f,
               size_t n)
{
    if (!log_on(l, level))
        return;
    if (l->terminal && level >= LOG_WARN) {
        put_plain(l, level, event, f, n);
        return;
    }
    struct line line;
    line.n = 0;
    add_time(&line);
    const struct log_field head[] = {LOG_S("level", span_of(level_names[level])),
                                     LOG_S("event", span_of(event))};
    for (size_t i = 0; i < COUNT_OF(head); i++)
        add_field(&line, &head[i]);
    for (size_t i = 0; i < n; i++)
        add_field(&line, &f[i]);
    line.text[line.n++] = '}';
    put(l, &line);
}

void log_err(struct log *l, enum log_level level, const char *event, struct span request_id,
             const struct err *e)
{
    struct log_field f[5];
    size_t n = 0;
    if (request_id.n > 0)
        f[n++] = LOG_S("request_id", request_id);
    f[n++] = LOG_S("class", span_of(err_class_name(e->cls)));
    f[n++] = LOG_S("code", span_of(e->code));
    f[n++] = LOG_S("message", span_of(e->msg));
    if (e->upstream_status > 0)
        f[n++] = LOG_I("upstream_status", e->upstream_status);
    log_event(l, level, event, f, n);
}

bool log_quota_take(struct log_quota *q, int64_t now_us, uint64_t *out_hidden)
{
    int64_t seconds = (now_us - q->since_us) / 1000000;
    if (seconds > 0) {
        q->since_us += seconds * 1000000;
        q->used -= seconds < (int64_t)q->used ? (unsigned)seconds : q->used;
    }
    if (q->used >= LOG_QUOTA_BURST) {
        q->hidden++;
        return false;
    }
    q->used++;
    *out_hidden = q->hidden;
    q->hidden = 0;
    return true;
}
