/* dialect/openai_responses_progress.c - progress of a fusion for a client that asked for it:
 * OpenRouter's response.fusion_call.* events, below an item of their own that stays open to the
 * end. Each call is told of when it begins and when it has ended; what the book has as `content` is
 * not known here, what the call has used is (`member`). */
#include "dialect/responses_write.h"

static void key_str(struct json_w *j, const char *key, struct span s)
{
    json_w_key(j, key);
    json_w_str(j, s);
}

static struct resp_seen *find_seen(struct dialect_writer *w, const struct chat_member *m,
                                   bool *fresh)
{
    struct span label = span_upto(m->label, sizeof w->seen[0].label - 1);
    *fresh = false;
    for (size_t i = 0; i < w->n_seen; i++)
        if (span_eq(span_of(w->seen[i].label), label))
            return &w->seen[i];
    if (w->n_seen == RESP_MAX_SEEN)
        return NULL;
    struct resp_seen *s = &w->seen[w->n_seen++];
    *s = (struct resp_seen){.judge = m->judge};
    if (label.n > 0)
        memcpy(s->label, label.p, label.n);
    *fresh = true;
    return s;
}

static bool send_member(struct resp_event *v, const char *type, const struct chat_member *m)
{
    if (!resp_open_at(v, type, v->w->fusion, NULL, 0))
        return false;
    key_str(&v->j, "model", m->model);
    if (m->judge) {
        key_str(&v->j, "analyst_model", m->model);
        key_str(&v->j, "judge_model", m->model); /* its old name */
    }
    if (m->state == CHAT_MEMBER_FAILED || m->state == CHAT_MEMBER_ABANDONED)
        key_str(&v->j, "error", m->detail.n > 0 ? m->detail : span_of(m->reason));
    json_w_key(&v->j, "member");
    wire_write_member(&v->j, m);
    return resp_close_event(v);
}

static bool open_fusion(struct resp_event *v)
{
    struct dialect_writer *w = v->w;
    if (w->fusion != RESP_NONE)
        return true;
    return resp_add_item(v, RESP_FUSION, 0, &w->fusion) &&
           resp_send_item(v, "response.output_item.added", w->fusion) &&
           resp_open_at(v, "response.fusion_call.in_progress", w->fusion, NULL, 0) &&
           resp_close_event(v);
}

bool resp_on_member(struct resp_event *v, const struct chat_member *m)
{
    bool fresh, ended = m && m->state >= CHAT_MEMBER_OK;
    if (!m)
        return true;
    struct resp_seen *s = find_seen(v->w, m, &fresh);
    if (!s || !open_fusion(v))
        return !s;
    if (fresh && !send_member(v,
                              m->judge ? "response.fusion_call.analysis.in_progress"
                                       : "response.fusion_call.panel.added",
                              m))
        return false;
    if (!ended || s->ended)
        return true;
    s->ended = true;
    if (m->judge)
        return send_member(v, "response.fusion_call.analysis.completed", m);
    bool failed = m->state == CHAT_MEMBER_FAILED || m->state == CHAT_MEMBER_ABANDONED;
    return send_member(
        v, failed ? "response.fusion_call.panel.failed" : "response.fusion_call.panel.completed",
        m);
}

bool resp_close_fusion(struct resp_event *v)
{
    struct dialect_writer *w = v->w;
    if (w->fusion == RESP_NONE)
        return true;
    w->items[w->fusion].status = "completed";
    w->items[w->fusion].done = true;
    return resp_open_at(v, "response.fusion_call.completed", w->fusion, NULL, 0) &&
           resp_close_event(v) && resp_send_item(v, "response.output_item.done", w->fusion);
}
