/* route/structured_prompt.c - a format in words, for upstreams that cannot enforce it; and the turn
 * that asks for a better answer. The words are short, because small models read them too; JSON must
 * be named in them, because OpenAI and Mistral refuse json_object in a request that does not. */
#include "route/structured_priv.h"

#define NO_MORE "and nothing else: no prose, no explanation, no code fence."

static bool no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory for a structured answer");
}

/* n texts in a row. Not by printf: a text may hold a NUL. */
static struct span concat(struct arena *a, const struct span *s, size_t n)
{
    size_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += s[i].n;
    char *p = arena_alloc(a, sum + 1);
    struct span all = {p, 0};
    for (size_t i = 0; p && i < n; i++) {
        if (s[i].n > 0)
            memcpy(p + all.n, s[i].p, s[i].n);
        all.n += s[i].n;
    }
    return all;
}

static struct span instruction(struct arena *a, const struct chat_request *r)
{
    bool schema = r->format_schema.p != NULL, about = schema && r->format_description.n > 0;
    const struct span none = SPAN("");
    struct span parts[] = {
        SPAN("Answer with one JSON "),
        r->format == CHAT_FORMAT_JSON ? SPAN("object ") : SPAN("value "),
        SPAN(NO_MORE),
        schema ? SPAN(" It must be valid against this JSON Schema") : none,
        about ? SPAN(" (") : none,
        about ? r->format_description : none,
        about ? SPAN(")") : none,
        schema ? SPAN(":\n") : none,
        schema ? r->format_schema : none,
    };
    return concat(a, parts, COUNT_OF(parts));
}

static bool is_system(const struct chat_message *m)
{
    return m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
}

static bool is_plain_text(const struct chat_part *p)
{
    return p->kind == CHAT_PART_TEXT && !p->cache_mark && !p->raw.p;
}

/* Behind what the message says: many chat templates take one system message, with one text. A text
 * with a mark for the prompt cache stays a part of its own, so that its prefix is the same. */
static bool append_to(struct arena *a, struct chat_message *m, struct span words, struct err *e)
{
    size_t n = m->n_parts;
    bool join = n > 0 && is_plain_text(&m->parts[n - 1]);
    struct chat_part *parts = arena_array(a, n + 1, sizeof *parts);
    if (!parts)
        return no_memory(e);
    if (n > 0)
        memcpy(parts, m->parts, n * sizeof *parts);
    if (join) {
        struct span both[] = {parts[--n].text, SPAN("\n\n"), words};
        words = concat(a, both, COUNT_OF(both));
    }
    if (!words.p)
        return no_memory(e);
    parts[n] = (struct chat_part){.kind = CHAT_PART_TEXT, .text = words};
    m->parts = parts;
    m->n_parts = n + 1;
    return true;
}

bool structured_prompt(struct arena *a, const struct chat_request *r, bool json_object,
                       struct chat_request *out, struct err *e)
{
    struct span words = instruction(a, r);
    struct chat_message *all = arena_array(a, r->n_messages + 1, sizeof *all);
    size_t system = 0;
    if (!words.p || !all)
        return no_memory(e);
    while (system < r->n_messages && is_system(&r->messages[system]))
        system++;
    bool add = system == 0;
    if (r->n_messages > 0)
        memcpy(all + add, r->messages, r->n_messages * sizeof *all);
    if (add)
        all[0] = (struct chat_message){.role = CHAT_SYSTEM};
    if (!append_to(a, &all[add ? 0 : system - 1], words, e))
        return false;
    struct chat_request req = *r;
    req.messages = all;
    req.n_messages = r->n_messages + add;
    req.n_instructions = r->n_instructions + add;
    req.format = json_object ? CHAT_FORMAT_JSON : CHAT_FORMAT_UNSET;
    req.format_schema = req.format_name = req.format_description = (struct span){NULL, 0};
    req.format_strict = -1;
    *out = req;
    return true;
}

static struct chat_message one_text(struct chat_part *part, enum chat_role role, struct span text)
{
    *part = (struct chat_part){.kind = CHAT_PART_TEXT, .text = text};
    return (struct chat_message){.role = role, .parts = part, .n_parts = 1};
}

/* No tools: the model has decided to answer. */
bool structured_repair(struct arena *a, const struct chat_request *sent, struct span answer,
                       const char *why, struct chat_request *out, struct err *e)
{
    struct chat_message *all = arena_array(a, sent->n_messages + 2, sizeof *all);
    struct chat_part *parts = arena_array(a, 2, sizeof *parts);
    struct span words =
        arena_printf(a,
                     "That answer cannot be used: %s\nAnswer again with the whole corrected JSON "
                     "value " NO_MORE,
                     why);
    size_t n = sent->n_messages;
    if (!all || !parts || !words.p)
        return no_memory(e);
    if (n > 0)
        memcpy(all, sent->messages, n * sizeof *all);
    if (span_trim(answer).n > 0) /* upstreams refuse an empty turn */
        all[n++] = one_text(&parts[0], CHAT_ASSISTANT, answer);
    all[n++] = one_text(&parts[1], CHAT_USER, words);
    struct chat_request req = *sent;
    req.messages = all;
    req.n_messages = n;
    if (req.n_tools > 0)
        req.tool_choice = CHAT_CHOICE_NONE;
    *out = req;
    return true;
}

/* --- fences ----------------------------------------------------------------------------------- */

#define FENCE SPAN("```")

/* What stands in the fence that begins at the front of s, and *rest behind it. A line of JSON does
 * not begin with a fence, also not in a string. */
static bool fenced(struct span s, struct span *inside, struct span *rest)
{
    s = span_from(s, FENCE.n);
    size_t line = span_find(s, "\n");
    struct span body = span_trim(span_from(s, line + 1));
    size_t end = span_index(body, SPAN("\n```"));
    if (line == s.n)
        return false;
    if (end == body.n) { /* it ends behind the last word */
        *inside = span_trim(span_upto(body, body.n - FENCE.n));
        *rest = SPAN("");
        return body.n > FENCE.n && span_ends(body, FENCE);
    }
    *inside = span_trim(span_upto(body, end));
    *rest = span_from(body, end + 1 + FENCE.n);
    return true;
}

/* JSON has no fence outside of its strings, and those do not begin the text. */
struct span structured_strip(struct span answer)
{
    struct span s = span_trim(answer), inside, rest;
    if (s.n > 0 && (s.p[0] == '{' || s.p[0] == '[' || s.p[0] == '"'))
        return s;
    size_t at = span_index(s, FENCE);
    if (at == s.n || !fenced(span_from(s, at), &inside, &rest) || span_index(rest, FENCE) < rest.n)
        return s;
    return inside;
}
