/* tests/unit/chat_log.h - for the tests of dialects: events as one line of text each, and a reader
 * driven from lines of chunks. Adjacent pieces of one kind are joined, so that logs read well. */
#ifndef FUSOR_TESTS_CHAT_LOG_H
#define FUSOR_TESTS_CHAT_LOG_H

#include "base/limits.h"
#include "chat/collect.h"
#include "dialect/dialect.h"

/* Whose reader is driven; a test of another dialect sets it before it includes this. */
#ifndef CHAT_LOG_DIALECT
#define CHAT_LOG_DIALECT dialect_openai_chat
#endif

/* "text:Hello" and so on, ';' between. Only for tests: a full buffer shows as a wrong log. */
static inline void log_event(struct buf *log, const struct chat_event *ev, int *last)
{
    bool joins = ev->kind == CHAT_EV_TEXT || ev->kind == CHAT_EV_REASONING ||
                 ev->kind == CHAT_EV_REFUSAL || ev->kind == CHAT_EV_TOOL;
    bool more = joins && *last == (int)ev->kind;
    bool ok = true;
    if (log->n > 0 && !more)
        ok = buf_add_char(log, ';', NULL);
    *last = (int)ev->kind;
    switch (ev->kind) {
    case CHAT_EV_START:
        ok = ok && buf_addf(log, NULL, "start:%.*s,%.*s", SPAN_ARG(ev->id), SPAN_ARG(ev->model));
        break;
    case CHAT_EV_TEXT:
    case CHAT_EV_REFUSAL:
        ok = ok && (more || buf_addf(log, NULL, ev->kind == CHAT_EV_TEXT ? "text:" : "refusal:")) &&
             buf_add(log, ev->text, NULL) &&
             (!ev->raw.p || buf_addf(log, NULL, "<%.*s>", SPAN_ARG(ev->raw)));
        break;
    case CHAT_EV_REASONING:
        ok = ok && (more || buf_addf(log, NULL, "think:")) && buf_add(log, ev->text, NULL) &&
             (ev->signature.n == 0 || buf_addf(log, NULL, "[%.*s]", SPAN_ARG(ev->signature)));
        break;
    case CHAT_EV_TOOL:
        ok = ok && (more || buf_addf(log, NULL, "tool:")) &&
             buf_addf(log, NULL, "(%zu %.*s %.*s %.*s%s)", ev->index, SPAN_ARG(ev->tool_id),
                      SPAN_ARG(ev->tool_name), SPAN_ARG(ev->arguments), ev->tool_done ? " ." : "");
        break;
    case CHAT_EV_MEMBER:
        ok = ok && buf_addf(log, NULL, "member:%.*s=%s", SPAN_ARG(ev->member->label),
                            chat_member_state_name(ev->member->state));
        break;
    case CHAT_EV_USAGE:
        ok = ok && buf_addf(log, NULL, "usage:%lld/%lld/%lld/%lld$%lld%s",
                            (long long)ev->usage.input, (long long)ev->usage.cached,
                            (long long)ev->usage.output, (long long)ev->usage.reasoning,
                            (long long)ev->usage.cost_nusd, ev->usage.estimated ? "~" : "");
        break;
    case CHAT_EV_FINISH:
        ok = ok &&
             buf_addf(log, NULL, "finish:%s",
                      ev->finish == CHAT_FINISH_REFUSAL ? "refusal" : chat_finish_name(ev->finish));
        break;
    case CHAT_EV_ERROR:
        ok = ok && buf_addf(log, NULL, "error:%s", ev->err->code);
        break;
    }
    if (!ok)
        buf_clear(log);
}

/* Takes all events that are ready into log (may be NULL) and sink (may be NULL). True until
 * DIALECT_FAIL, which is logged as "fail:<class>,<code>,<sent>". */
static inline bool drain_of(const struct dialect *d, struct dialect_reader *rd, struct buf *log,
                            int *last, struct chat_collect *c)
{
    struct chat_event ev;
    struct err e = {0};
    for (;;) {
        enum dialect_status s = d->reader_next(rd, &ev, &e);
        if (s == DIALECT_MORE)
            return true;
        if (s == DIALECT_FAIL) {
            if (log && !buf_addf(log, NULL, "%sfail:%s,%s,%d", log->n > 0 ? ";" : "",
                                 err_class_name(e.cls), e.code, e.sent))
                buf_clear(log);
            return false;
        }
        if (log)
            log_event(log, &ev, last);
        if (c && !chat_collect_event(c, &ev, &e))
            return false;
    }
}

static inline bool drain(struct dialect_reader *rd, struct buf *log, int *last,
                         struct chat_collect *c)
{
    return drain_of(&CHAT_LOG_DIALECT, rd, log, last, c);
}

/* Feeds chunks, one a line ("data: " in front is cut, other lines of an event stream are skipped),
 * then the end of the stream. Each line is copied to memory of its own size first, so that reading
 * beyond it is found. */
static inline void feed_lines_of(const struct dialect *d, struct span text, struct buf *log,
                                 struct chat_collect *c)
{
    struct dialect_reader *rd = d->reader_new();
    struct span line;
    int last = -1;
    bool ok = rd != NULL;
    while (ok && span_cut(&text, '\n', &line)) {
        if (span_starts(line, SPAN("data: ")))
            line = span_from(line, 6);
        if (line.n == 0 || line.p[0] == ':' || span_starts(line, SPAN("event: ")))
            continue;
        struct buf copy;
        buf_init(&copy, line.n);
        ok = buf_add(&copy, line, NULL) &&
             d->reader_feed(rd, (struct span){0}, buf_span(&copy), NULL);
        ok = drain_of(d, rd, log, &last, c) && ok;
        buf_done(&copy);
    }
    if (ok) {
        d->reader_eof(rd);
        drain_of(d, rd, log, &last, c);
    }
    d->reader_free(rd);
}

static inline void feed_lines(struct span text, struct buf *log, struct chat_collect *c)
{
    feed_lines_of(&CHAT_LOG_DIALECT, text, log, c);
}

#endif
