/* dialect/gemini_send.c - chat_request -> a body for Gemini, in one pass.
 *
 * No client speaks this dialect, so every request comes in another one, and the table is about what
 * chat_request holds:
 *
 *   model                path, not body
 *   messages             carried: contents; the leading system and developer messages are
 *                        systemInstruction, later ones user text at their place, since Gemini knows
 *                        no others and moving them would change what they are about
 *   messages.name        hint
 *   parts                carried: text, refusal, image, audio, document, tool call, tool result;
 *                        what of them cannot be: gemini_send_part.c
 *   reasoning            carried when Gemini signed it, else hint
 *   cache marks          hint: Gemini caches by itself
 *   tools                carried: functionDeclarations; other kinds: meaning
 *   tools.strict         carried: mode VALIDATED
 *   tool_choice          carried
 *   parallel_tool_calls  true is what Gemini does; false: hint, as there is no way to say it and
 *                        clients ask for it beside a single tool that they want called
 *   format, sampling,
 *   reasoning effort     carried; what of them cannot be: gemini_send_config.c
 *   n, logprobs, audio   meaning
 *   verbosity            meaning, but for "medium", which is what comes anyway
 *   user, metadata       hint
 *   store, previous_id,
 *   fallbacks, routing,
 *   session, fusion      ours: done before a request gets here
 *   extras               of another dialect always: hint, or a 400 */
#include "dialect/gemini_priv.h"

/* --- tools ------------------------------------------------------------------------------------ */

static bool write_function(struct gem_out *o, const struct chat_tool *t, const struct wire_path *at)
{
    struct json_w *w = o->w;
    struct wire_path below = {at, "parameters", 0};
    struct gem_schema parameters = {.text = t->parameters, .object = true};
    if (t->raw.p || t->whole.p)
        return wire_bad(at, o->e,
                        "is of a kind, or has members, that the upstream of this model does not "
                        "know");
    json_w_obj(w);
    json_w_key(w, "name");
    json_w_str(w, t->name);
    if (t->description.p) {
        json_w_key(w, "description");
        json_w_str(w, t->description);
    }
    if (t->parameters.p) {
        json_w_key(w, "parametersJsonSchema");
        if (!gem_write_schema(o, &parameters, &below))
            return false;
    }
    json_w_obj_end(w);
    return true;
}

/* VALIDATED is AUTO with calls that follow their schema; ANY always follows it. */
static const char *mode_of(const struct chat_request *r)
{
    bool strict = false;
    for (size_t i = 0; i < r->n_tools; i++)
        strict = strict || r->tools[i].strict == 1;
    switch (r->tool_choice) {
    case CHAT_CHOICE_UNSET:
        return strict ? "VALIDATED" : NULL;
    case CHAT_CHOICE_AUTO:
        return strict ? "VALIDATED" : "AUTO";
    case CHAT_CHOICE_NONE:
        return "NONE";
    case CHAT_CHOICE_REQUIRED:
    case CHAT_CHOICE_NAMED:
        return "ANY";
    }
    return NULL;
}

static void write_choice(struct gem_out *o)
{
    struct json_w *w = o->w;
    const char *mode = mode_of(o->r);
    if (!mode)
        return;
    json_w_key(w, "toolConfig");
    json_w_obj(w);
    json_w_key(w, "functionCallingConfig");
    json_w_obj(w);
    json_w_key(w, "mode");
    json_w_cstr(w, mode);
    if (o->r->tool_choice == CHAT_CHOICE_NAMED) {
        json_w_key(w, "allowedFunctionNames");
        json_w_arr(w);
        json_w_str(w, o->r->tool_choice_name);
        json_w_arr_end(w);
    }
    json_w_obj_end(w);
    json_w_obj_end(w);
}

/* Without tools neither the choice nor parallel_tool_calls means anything. */
static bool write_tools(struct gem_out *o)
{
    struct json_w *w = o->w;
    const struct chat_request *r = o->r;
    struct wire_path at = {NULL, "tools", 0}, below = {&at, NULL, 0};
    if (r->n_tools == 0)
        return true;
    if (r->parallel_tool_calls == 0 && r->tool_choice != CHAT_CHOICE_NONE)
        wire_note(o->notes, SPAN("parallel_tool_calls"));
    json_w_key(w, "tools");
    json_w_arr(w);
    json_w_obj(w);
    json_w_key(w, "functionDeclarations");
    json_w_arr(w);
    for (; below.index < r->n_tools; below.index++)
        if (!write_function(o, &r->tools[below.index], &below))
            return false;
    json_w_arr_end(w);
    json_w_obj_end(w);
    json_w_arr_end(w);
    write_choice(o);
    return true;
}

/* --- system ----------------------------------------------------------------------------------- */

static bool is_system(const struct chat_message *m)
{
    return m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
}

/* The last message never counts: a request must have contents. */
static size_t count_leading(const struct chat_request *r)
{
    size_t n = 0;
    while (n + 1 < r->n_messages && is_system(&r->messages[n]))
        n++;
    return n;
}

static bool write_system(struct gem_out *o, size_t n)
{
    static const struct wire_path messages = {NULL, "messages", 0};
    struct json_w *w = o->w;
    bool open = false;
    for (size_t i = 0; i < n; i++) {
        const struct chat_message *m = &o->r->messages[i];
        struct wire_path at = {&messages, NULL, i};
        if (m->name.p)
            wire_note(o->notes, SPAN("messages.name"));
        if (!wire_write_extras(w, m->extras, m->n_extras, &at, false, NULL, o->notes, o->e))
            return false;
        for (size_t j = 0; j < m->n_parts; j++) {
            const struct chat_part *p = &m->parts[j];
            struct wire_path list = {&at, "content", 0}, part = {&list, NULL, j};
            if (p->kind != CHAT_PART_TEXT || p->raw.p)
                return wire_bad(&part, o->e, "must be plain text in a %s message",
                                chat_role_name(m->role));
            if (p->cache_mark)
                wire_note(o->notes, SPAN("cache_control"));
            if (p->text.n == 0)
                continue;
            if (!open) {
                json_w_key(w, "systemInstruction");
                json_w_obj(w);
                json_w_key(w, "parts");
                json_w_arr(w);
            }
            open = true;
            json_w_obj(w);
            json_w_key(w, "text");
            json_w_str(w, p->text);
            json_w_obj_end(w);
        }
    }
    if (open) {
        json_w_arr_end(w);
        json_w_obj_end(w);
    }
    return true;
}

/* --- all -------------------------------------------------------------------------------------- */

/* What changes the answer and cannot be said. */
static bool check(const struct chat_request *r, struct err *e)
{
    if (r->n > 1)
        return wire_bad_key(NULL, "n", e, "above 1 is not supported by the upstream of this model");
    if (r->logprobs == 1 || r->top_logprobs > 0)
        return wire_bad_key(NULL, "logprobs", e, "are not supported by the upstream of this model");
    if (r->audio_out)
        return wire_bad_key(NULL, "modalities", e,
                            "with audio is not supported by the upstream of this model");
    if (r->verbosity.p && !span_eq(r->verbosity, SPAN("medium")))
        return wire_bad_key(NULL, "verbosity", e,
                            "is not known to the upstream of this model: leave it out");
    return true;
}

static void note_hints(struct gem_out *o)
{
    if (o->r->user.p)
        wire_note(o->notes, SPAN("user"));
    if (o->r->metadata.p)
        wire_note(o->notes, SPAN("metadata"));
}

bool gem_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e)
{
    size_t from = out->n, leading = count_leading(r);
    struct json_w w;
    struct gem_out o = {.w = &w,
                        .r = r,
                        .model = gem_model_of(t->model.p ? t->model : r->model),
                        .notes = notes,
                        .e = e};
    json_w_init(&w, out, e);
    json_scratch_init(&o.scratch);
    json_w_obj(&w);
    bool ok = check(r, e) && write_system(&o, leading) && gem_write_contents(&o, leading) &&
              write_tools(&o) && gem_write_config(&o) &&
              wire_write_extras(&w, r->extras, r->n_extras, NULL, false, NULL, notes, e);
    note_hints(&o);
    json_w_obj_end(&w);
    json_scratch_done(&o.scratch);
    if (ok && json_w_end(&w))
        return true;
    buf_cut(out, from);
    return false;
}
