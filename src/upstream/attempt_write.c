/* upstream/attempt_write.c - what an attempt will send: the request in the upstream's dialect, once
 * nothing speaks against asking this upstream. */
#include <stdio.h>

#include "upstream/attempt.h"

static bool refuse_url(const struct attempt *a, const char *param, struct err *e)
{
    return err_field(e, param,
                     "%s names a URL, which %.*s would fetch from inside its network: send "
                     "the data itself, or set 'image_urls: pass' for that provider",
                     param, SPAN_ARG(a->provider->config->name));
}

/* What an engine in our network would have to fetch for the client from there. */
static bool check_urls(const struct attempt *a, const struct chat_request *r, struct err *e)
{
    char param[96];
    if (!a->provider->config->refuse_image_urls)
        return true;
    if (r->pass != NULL && r->pass->names_url)
        return refuse_url(a, "input", e);
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            const struct chat_part *p = &r->messages[i].parts[k];
            bool fetched = p->kind == CHAT_PART_IMAGE || p->kind == CHAT_PART_DOCUMENT;
            if (!fetched || p->url.n == 0 || span_starts(p->url, SPAN("data:")))
                continue;
            (void)snprintf(param, sizeof param, "messages[%zu].content[%zu]", i, k);
            return refuse_url(a, param, e);
        }
    return true;
}

/* The first n of the notes change the answer: the operator has chosen to go without them. */
static void warn_left(const struct attempt *a, size_t n)
{
    const struct upstream_env *env = &a->upstream->env;
    for (size_t i = 0; i < n; i++)
        LOG_EVENT(env->log, LOG_WARN, "field_left_out", LOG_S("request", a->intent.request_id),
                  LOG_S("model", a->model->name), LOG_S("field", a->notes.ignored[i]));
}

/* Room for about all of a long body at once: it would be moved each time it doubles. */
static bool reserve_body(struct attempt *a, const struct chat_request *r, struct err *e)
{
    size_t text = (size_t)a->in_bytes, around = 64 * (r->n_messages + r->n_tools) + KIB(1);
    size_t about = text + text / 8 + around; /* an eighth: escapes */
    char *unused;
    /* What passes is written in one go; what is too long is refused there. */
    if (r->pass != NULL || about < KIB(16) || about > a->body.max)
        return true;
    return buf_room(&a->body, about, &unused, e);
}

static bool write_call(struct attempt *a, const struct chat_request *r, enum chat_fields fields,
                       struct err *e)
{
    const struct config_provider *p = a->provider->config;
    bool lenient = fields == CHAT_FIELDS_LENIENT ||
                   (fields == CHAT_FIELDS_CONFIGURED && p->unsupported != UNSUPPORTED_REJECT);
    struct dialect_target target = {.model = a->model->id,
                                    .dialect = span_of(a->dialect->name),
                                    .omit_stream_options = p->omit_stream_options,
                                    .max_completion_tokens = p->max_completion_tokens,
                                    .lenient = lenient,
                                    .default_max_tokens = a->model->default_max_tokens};
    size_t n_left = 0;
    bool ok = a->dialect->path ? buf_add(&a->path, span_of(a->dialect->path), e)
                               : a->dialect->write_path(&target, &a->path, e);
    if (!ok || !dialect_write_call(a->dialect, r, &target, &a->body, &a->notes, &n_left, e))
        return false;
    if (p->unsupported == UNSUPPORTED_WARN)
        warn_left(a, n_left);
    a->betas = dialect_betas(a->dialect, r);
    return true;
}

bool attempt_write(struct attempt *a, const struct chat_request *r, const struct chat_start_opts *o,
                   struct err *e)
{
    a->think.state = r->pass || a->provider->config->keep_tags ? THINK_OVER : THINK_BEFORE;
    return check_urls(a, r, e) && reserve_body(a, r, e) && write_call(a, r, o->fields, e);
}
