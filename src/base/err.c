/* base/err.c - see base/err.h. One table says what each class is to a client and in a log. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"

/* `type` follows OpenAI's error object (platform.openai.com, "Error codes"): its SDKs choose the
 * exception by status, people read the type. */
static const struct {
    int status;
    const char *name, *type, *code;
} classes[ERR_CLASSES] = {
    [ERR_NONE] = {200, "none", "server_error", "none"},
    [ERR_INPUT] = {400, "input", "invalid_request_error", "invalid_request"},
    [ERR_AUTH] = {401, "auth", "authentication_error", "invalid_api_key"},
    [ERR_BUDGET] = {402, "budget", "insufficient_quota", "budget_exceeded"},
    [ERR_FORBIDDEN] = {403, "forbidden", "permission_error", "forbidden"},
    [ERR_NOT_FOUND] = {404, "not_found", "invalid_request_error", "not_found"},
    [ERR_METHOD] = {405, "method", "invalid_request_error", "method_not_allowed"},
    [ERR_CONFLICT] = {409, "conflict", "invalid_request_error", "conflict"},
    [ERR_LIMIT] = {413, "limit", "invalid_request_error", "too_large"},
    [ERR_MEDIA] = {415, "media", "invalid_request_error", "unsupported_media_type"},
    [ERR_BUSY] = {429, "busy", "rate_limit_error", "rate_limit_exceeded"},
    [ERR_CANCELLED] = {499, "cancelled", "invalid_request_error", "cancelled"},
    [ERR_STATE] = {500, "state", "server_error", "internal_error"},
    [ERR_SYS] = {500, "sys", "server_error", "system_error"},
    [ERR_UPSTREAM] = {502, "upstream", "server_error", "upstream_error"},
    [ERR_CONNECT] = {502, "connect", "server_error", "upstream_unreachable"},
    [ERR_CUT] = {502, "cut", "server_error", "upstream_cut"},
    [ERR_NOMEM] = {503, "nomem", "server_error", "out_of_memory"},
    [ERR_UNAVAILABLE] = {503, "unavailable", "server_error", "unavailable"},
    [ERR_TIMEOUT] = {504, "timeout", "server_error", "timeout"},
    [ERR_CONFIG] = {500, "config", "server_error", "config_error"},
    [ERR_USAGE] = {400, "usage", "invalid_request_error", "usage"},
};

/* Formats aside first: the arguments may point into e->msg, and a message cut here is still longer
 * than ->msg, so that the cut shows there as "...". */
static void write_msg(struct err *e, const char *fmt, va_list args)
{
    char text[sizeof e->msg + 8];
    int n = vsnprintf(text, sizeof text, fmt, args);
    text_visible_cstr(e->msg, sizeof e->msg, n < 0 ? span_of(fmt) : span_of(text));
}

static void fill(struct err *e, enum err_class cls, const char *fmt, va_list args)
{
    int sys = cls == ERR_SYS ? errno : 0;
    write_msg(e, fmt, args);
    e->cls = cls;
    e->sent = SENT_NO;
    e->sys = sys;
    e->status = err_status(cls);
    e->upstream_status = 0;
    e->retry_after_ms = -1;
    e->code = classes[cls].code;
}

bool err_set(struct err *e, enum err_class cls, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(e, cls, fmt, args);
    va_end(args);
    e->param[0] = '\0';
    return false;
}

bool err_field(struct err *e, const char *param, const char *fmt, ...)
{
    if (!e)
        return false;
    va_list args;
    va_start(args, fmt);
    fill(e, ERR_INPUT, fmt, args);
    va_end(args);
    text_visible_cstr(e->param, sizeof e->param, span_of(param));
    return false;
}

bool err_with_code(struct err *e, const char *code)
{
    if (e)
        e->code = code;
    return false;
}

bool err_prefix(struct err *e, const char *fmt, ...)
{
    if (!e)
        return false;
    char before[sizeof e->msg], whole[sizeof e->msg + 8];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(before, sizeof before, fmt, args);
    va_end(args);
    int m = snprintf(whole, sizeof whole, "%s: ", n < 0 ? "" : before);
    if (m >= 0 && (size_t)m < sizeof whole)
        snprintf(whole + m, sizeof whole - (size_t)m, "%s", e->msg);
    text_visible_cstr(e->msg, sizeof e->msg, span_of(whole));
    return false;
}

const char *err_type(enum err_class cls)
{
    return classes[cls].type;
}

int err_status(enum err_class cls)
{
    return classes[cls].status;
}

const char *err_class_name(enum err_class cls)
{
    return classes[cls].name;
}
