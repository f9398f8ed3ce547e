/* chat/chat.c - see chat/chat.h. Names of the enums, and the two sums over a request's text. */
#include "chat/chat.h"

#include <string.h>

static int64_t part_bytes(const struct chat_part *p)
{
    switch (p->kind) {
    case CHAT_PART_TEXT:
    case CHAT_PART_REFUSAL:
    case CHAT_PART_REASONING:
        return (int64_t)p->text.n;
    case CHAT_PART_TOOL_CALL:
        return (int64_t)(p->id.n + p->name.n + p->arguments.n);
    case CHAT_PART_RAW:
        return (int64_t)p->raw.n;
    case CHAT_PART_DOCUMENT:
        return (int64_t)p->file_name.n;
    case CHAT_PART_IMAGE:
    case CHAT_PART_AUDIO:
        break;
    }
    return 0; /* no text: the catalogue knows what an image costs */
}

int64_t chat_input_bytes(const struct chat_request *r)
{
    size_t n = r->format_name.n + r->format_description.n + r->format_schema.n;
    int64_t sum = 0;
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        n += m->name.n + m->tool_call_id.n;
        for (size_t j = 0; j < m->n_parts; j++)
            sum += part_bytes(&m->parts[j]);
    }
    for (size_t i = 0; i < r->n_tools; i++) {
        const struct chat_tool *t = &r->tools[i];
        struct span whole = t->raw.p ? t->raw : t->whole;
        n += whole.p ? whole.n : t->name.n + t->description.n + t->parameters.n;
    }
    return sum + (int64_t)n;
}

static bool is_text(const struct chat_part *p)
{
    return p->kind == CHAT_PART_TEXT || p->kind == CHAT_PART_REFUSAL;
}

struct span chat_message_text(struct arena *a, const struct chat_message *m)
{
    const struct chat_part *only = NULL;
    size_t n = 0, count = 0;
    for (size_t i = 0; i < m->n_parts; i++)
        if (is_text(&m->parts[i])) {
            only = &m->parts[i];
            n += only->text.n;
            count++;
        }
    if (count == 0)
        return SPAN("");
    if (count == 1)
        return only->text.p ? only->text : SPAN("");
    char *p = arena_alloc(a, n + count - 1);
    if (!p)
        return (struct span){NULL, 0};
    size_t at = 0, left = count;
    for (size_t i = 0; i < m->n_parts; i++) {
        struct span s = m->parts[i].text;
        if (!is_text(&m->parts[i]))
            continue;
        if (s.n > 0)
            memcpy(p + at, s.p, s.n);
        at += s.n;
        if (--left > 0)
            p[at++] = '\n';
    }
    return (struct span){p, at};
}

const char *chat_finish_name(enum chat_finish f)
{
    switch (f) {
    case CHAT_FINISH_STOP:
        return "stop";
    case CHAT_FINISH_LENGTH:
        return "length";
    case CHAT_FINISH_TOOL_CALLS:
        return "tool_calls";
    case CHAT_FINISH_CONTENT_FILTER:
    case CHAT_FINISH_REFUSAL:
        return "content_filter"; /* OpenAI has no word of its own for it */
    }
    return "stop";
}

const char *chat_member_state_name(enum chat_member_state s)
{
    switch (s) {
    case CHAT_MEMBER_WAITING:
        return "waiting";
    case CHAT_MEMBER_STARTED:
        return "started";
    case CHAT_MEMBER_STREAMING:
        return "streaming";
    case CHAT_MEMBER_OK:
        return "ok";
    case CHAT_MEMBER_UNUSED:
        return "unused";
    case CHAT_MEMBER_FAILED:
        return "failed";
    case CHAT_MEMBER_ABANDONED:
        return "abandoned";
    }
    return "waiting";
}

const char *chat_role_name(enum chat_role r)
{
    switch (r) {
    case CHAT_SYSTEM:
        return "system";
    case CHAT_DEVELOPER:
        return "developer";
    case CHAT_USER:
        return "user";
    case CHAT_ASSISTANT:
        return "assistant";
    case CHAT_TOOL:
        return "tool";
    }
    return "user";
}

const struct chat_rule *chat_rule_against(const struct chat_rule *rules, struct span region)
{
    for (; rules; rules = rules->up) {
        bool allowed = false;
        for (size_t i = 0; region.n > 0 && i < rules->n_regions; i++)
            allowed = allowed || span_eq(rules->regions[i], region);
        if (!allowed)
            return rules;
    }
    return NULL;
}
