/* dialect/anthropic_messages_send.c - chat_request -> a body for an upstream, in one pass.
 *
 * Built from scratch: nothing of the client's body passes but what chat_request holds. Extras go to
 * an upstream of their own dialect only; hints that stay behind are listed, anything else that
 * cannot be carried is a 400 that names it. Written in the order in which the prompt is made of
 * it, tools, system, messages, since that is the order of the cache marks. */
#include <stdlib.h>

#include "base/map.h"
#include "dialect/anthropic_priv.h"

/* What is sent where neither the client nor the configuration sets a limit: no model has less. */
#define DEFAULT_MAX_TOKENS 8192
#define MAX_MARKS          4

/* Objects that are written here with what a client put into them beside what we know. */
static const char *const inner[] = {"output_config", "metadata", "tool_choice", NULL};

static bool is_system(const struct chat_message *m)
{
    return m->role == CHAT_SYSTEM || m->role == CHAT_DEVELOPER;
}

/* --- cache marks ------------------------------------------------------------------------------ */

static size_t count_marks(const struct ant_out *o)
{
    const struct chat_request *r = o->r;
    size_t n = 0;
    for (size_t i = 0; i < r->n_tools; i++)
        n += r->tools[i].cache_mark;
    for (size_t i = 0; i < r->n_messages; i++) {
        const struct chat_message *m = &r->messages[i];
        size_t here = 0;
        for (size_t k = 0; k < m->n_parts; k++) {
            const struct chat_part *p = &m->parts[k];
            bool counts = m->role == CHAT_TOOL ||
                          (ant_is_written(o, p) && p->kind != CHAT_PART_REASONING && !p->raw.p);
            here += p->cache_mark && counts;
        }
        n += m->role == CHAT_TOOL ? here > 0 : here;
    }
    for (size_t i = 0; i < r->n_extras && o->same; i++)
        n += span_eq(r->extras[i].name, SPAN("cache_control"));
    return n;
}

/* --- tools ------------------------------------------------------------------------------------ */

/* A schema without a type is one of any value; tools take objects. */
static bool write_schema(struct ant_out *o, struct span schema)
{
    json_val *v = NULL;
    struct span text = span_trim(schema);
    json_w_key(o->w, "input_schema");
    if (!schema.p) {
        json_w_raw(o->w, SPAN("{\"type\":\"object\"}"));
        return true;
    }
    if (!json_parse_scratch(&o->scratch, schema, &v, o->e))
        return false;
    if (wire_get(v, "type") || text.n < 2) {
        json_w_raw(o->w, schema);
        return true;
    }
    buf_clear(&o->text);
    if (!buf_add(&o->text, SPAN("{\"type\":\"object\""), o->e) ||
        (json_count(v) > 0 && !buf_add_char(&o->text, ',', o->e)) ||
        !buf_add(&o->text, span_from(text, 1), o->e))
        return false;
    json_w_raw(o->w, buf_span(&o->text));
    return true;
}

static bool write_tool(struct ant_out *o, size_t index)
{
    static const struct wire_path tools = {NULL, "tools", 0};
    const struct chat_tool *t = &o->r->tools[index];
    struct span whole = t->raw.p ? t->raw : t->whole;
    struct wire_path at = {&tools, NULL, index};
    if (whole.p && !o->same)
        return wire_bad(&at, o->e,
                        "is of a kind, or has members, that the upstream of this model does not "
                        "know");
    if (whole.p) {
        json_w_raw(o->w, whole);
        return true;
    }
    if (!ant_is_tool_name(t->name))
        return wire_bad_key(&at, "name", o->e, "must match ^[a-zA-Z0-9_-]{1,128}$");
    json_w_obj(o->w);
    wire_str(o->w, "name", t->name);
    wire_str(o->w, "description", t->description);
    if (!write_schema(o, t->parameters))
        return false;
    if (t->strict == 1) {
        json_w_key(o->w, "strict");
        json_w_bool(o->w, true);
    }
    if (t->cache_mark)
        ant_write_mark(o, t->cache);
    json_w_obj_end(o->w);
    return true;
}

static void write_choice(struct ant_out *o)
{
    static const char *const names[] = {
        [CHAT_CHOICE_UNSET] = "auto",   [CHAT_CHOICE_AUTO] = "auto",  [CHAT_CHOICE_NONE] = "none",
        [CHAT_CHOICE_REQUIRED] = "any", [CHAT_CHOICE_NAMED] = "tool",
    };
    const struct chat_request *r = o->r;
    bool single = r->parallel_tool_calls == 0 && r->tool_choice != CHAT_CHOICE_NONE;
    if (r->tool_choice == CHAT_CHOICE_UNSET && !single)
        return;
    json_w_key(o->w, "tool_choice");
    json_w_obj(o->w);
    json_w_key(o->w, "type");
    json_w_cstr(o->w, names[r->tool_choice]);
    if (r->tool_choice == CHAT_CHOICE_NAMED)
        wire_str(o->w, "name", r->tool_choice_name);
    if (single) {
        json_w_key(o->w, "disable_parallel_tool_use");
        json_w_bool(o->w, true);
    }
    if (o->same)
        wire_write_inner(o->w, r->extras, r->n_extras, SPAN("tool_choice"));
    json_w_obj_end(o->w);
}

/* Calls in the conversation are refused where no tools are named, as in a request whose tools a
 * fusion has taken away: those that were called are named, and may not be called again. */
static bool write_past_tools(struct ant_out *o, struct map *seen)
{
    const struct chat_request *r = o->r;
    size_t n = 0;
    for (size_t i = 0; i < r->n_messages; i++)
        for (size_t k = 0; k < r->messages[i].n_parts; k++) {
            const struct chat_part *p = &r->messages[i].parts[k];
            if (p->kind != CHAT_PART_TOOL_CALL || map_get(seen, p->name))
                continue;
            if (!map_put(seen, p->name, o))
                return wire_no_memory(o->e);
            if (n++ == 0) {
                json_w_key(o->w, "tools");
                json_w_arr(o->w);
            }
            json_w_obj(o->w);
            wire_str(o->w, "name", p->name);
            wire_raw(o->w, "input_schema", SPAN("{\"type\":\"object\"}"));
            json_w_obj_end(o->w);
        }
    if (n > 0) {
        json_w_arr_end(o->w);
        wire_raw(o->w, "tool_choice", SPAN("{\"type\":\"none\"}"));
    }
    return true;
}

static bool write_tools(struct ant_out *o)
{
    if (o->r->n_tools == 0) {
        AUTO(map) seen = map_new();
        return seen ? write_past_tools(o, seen) : wire_no_memory(o->e);
    }
    json_w_key(o->w, "tools");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->r->n_tools; i++)
        if (!write_tool(o, i))
            return false;
    json_w_arr_end(o->w);
    write_choice(o);
    return true;
}

/* --- system ----------------------------------------------------------------------------------- */

#define ANSWER_IN_JSON                                                                             \
    SPAN("Answer with one JSON object and nothing else: no words before or behind it, no code "    \
         "fence.")

/* There is no mode for JSON without a schema: the model is asked for it. */
static void write_json_wish(struct ant_out *o)
{
    json_w_obj(o->w);
    wire_str(o->w, "type", SPAN("text"));
    wire_str(o->w, "text", ANSWER_IN_JSON);
    json_w_obj_end(o->w);
    wire_note(o->notes, SPAN("response_format"));
}

static bool wants_plain_json(const struct chat_request *r)
{
    return r->format == CHAT_FORMAT_JSON ||
           (r->format == CHAT_FORMAT_SCHEMA && !r->format_schema.p);
}

static bool write_system(struct ant_out *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_leading; i++)
        for (size_t k = 0; k < o->r->messages[i].n_parts; k++)
            n += ant_is_written(o, &o->r->messages[i].parts[k]);
    if (n == 0 && !wants_plain_json(o->r))
        return true;
    json_w_key(o->w, "system");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->n_leading; i++)
        for (size_t k = 0; k < o->r->messages[i].n_parts; k++)
            if (!ant_write_part(o, i, &o->r->messages[i].parts[k]))
                return false;
    if (wants_plain_json(o->r))
        write_json_wish(o);
    json_w_arr_end(o->w);
    return true;
}

/* --- the rest --------------------------------------------------------------------------------- */

static void write_thinking(struct ant_out *o, const struct ant_plan *p)
{
    static const char *const types[] = {[ANT_BUDGET] = "enabled",
                                        [ANT_ADAPTIVE] = "adaptive",
                                        [ANT_DISABLED] = "disabled",
                                        [ANT_BETWEEN] = "between_tools"};
    bool shows = p->thinking == ANT_BUDGET || p->thinking == ANT_ADAPTIVE;
    if (p->thinking == ANT_UNSAID)
        return;
    json_w_key(o->w, "thinking");
    if (p->thinking == ANT_AS_SENT) {
        json_w_raw(o->w, o->r->thinking);
        return;
    }
    json_w_obj(o->w);
    json_w_key(o->w, "type");
    json_w_cstr(o->w, types[p->thinking]);
    if (p->thinking == ANT_BUDGET) {
        json_w_key(o->w, "budget_tokens");
        json_w_i64(o->w, p->budget);
    }
    if (shows)
        wire_str(o->w, "display", p->display);
    json_w_obj_end(o->w);
}

static void write_format(struct ant_out *o)
{
    const struct chat_request *r = o->r;
    json_w_key(o->w, "format");
    json_w_obj(o->w);
    wire_str(o->w, "type", SPAN("json_schema"));
    wire_raw(o->w, "schema", r->format_schema);
    json_w_obj_end(o->w);
    if (r->format_description.p)
        wire_note(o->notes, SPAN("response_format.json_schema.description"));
}

static void write_output_config(struct ant_out *o, const struct ant_plan *p)
{
    const struct chat_request *r = o->r;
    bool schema = r->format == CHAT_FORMAT_SCHEMA && r->format_schema.p;
    bool more = false;
    for (size_t i = 0; i < r->n_extras && o->same; i++)
        more = more || (span_starts(r->extras[i].name, SPAN("output_config.")) &&
                        !span_eq(r->extras[i].name, SPAN("output_config.effort")));
    if (!schema && !more && !p->effort.p)
        return;
    json_w_key(o->w, "output_config");
    json_w_obj(o->w);
    wire_str(o->w, "effort", p->effort);
    if (schema)
        write_format(o);
    for (size_t i = 0; i < r->n_extras && more; i++)
        if (!span_eq(r->extras[i].name, SPAN("output_config.effort")))
            wire_write_inner(o->w, &r->extras[i], 1, SPAN("output_config"));
    json_w_obj_end(o->w);
}

static double number_of(struct span text)
{
    char copy[32];
    text = span_upto(text, sizeof copy - 1);
    if (text.n > 0)
        memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return strtod(copy, NULL);
}

/* 1 is what they stand at without being said. */
static void leave_out(struct ant_out *o, const char *name, struct span value)
{
    if (value.p && number_of(value) != 1)
        wire_note(o->notes, span_of(name));
}

/* While it thinks a model takes none of them, and newer models never do: they are left out and
 * listed. A client of another dialect that sets top_p to 1 beside a temperature says nothing by it,
 * and models from 4.1 on refuse the two together. */
static bool write_sampling(struct ant_out *o, const struct ant_plan *p, struct ant_model model)
{
    const struct chat_request *r = o->r;
    if (r->temperature.p && number_of(r->temperature) > 1)
        return wire_bad_key(NULL, "temperature", o->e,
                            "must be a number from 0 to 1 for the upstream of this model");
    if (p->on || model.no_sampling) {
        leave_out(o, "temperature", r->temperature);
        leave_out(o, "top_p", r->top_p);
        leave_out(o, "top_k", r->top_k);
        return true;
    }
    wire_raw(o->w, "temperature", r->temperature);
    if (o->same || !r->temperature.p || number_of(r->top_p) != 1)
        wire_raw(o->w, "top_p", r->top_p);
    wire_raw(o->w, "top_k", r->top_k);
    return true;
}

/* What changes the answer and has no place here. 0 and "medium" are what they stand at. */
static bool check_unsaid(struct ant_out *o)
{
    const struct chat_request *r = o->r;
    bool verbose = r->verbosity.p && !span_eq(r->verbosity, SPAN("medium"));
    const struct {
        const char *name;
        bool set;
    } fields[] = {
        {"presence_penalty", r->presence_penalty.p && number_of(r->presence_penalty) != 0},
        {"frequency_penalty", r->frequency_penalty.p && number_of(r->frequency_penalty) != 0},
        {"n", r->n > 1},
        {"logprobs", r->logprobs == 1 || r->top_logprobs > 0},
        {"verbosity", verbose},
        {"audio", r->audio_out},
    };
    for (size_t i = 0; i < COUNT_OF(fields); i++)
        if (fields[i].set)
            return wire_bad_key(NULL, fields[i].name, o->e,
                                "is a field that the upstream of this model does not know: leave "
                                "it out");
    if (r->seed.p)
        wire_note(o->notes, SPAN("seed"));
    if (r->metadata.p)
        wire_note(o->notes, SPAN("metadata"));
    return true;
}

static void write_hints(struct ant_out *o)
{
    const struct chat_request *r = o->r;
    bool more = o->same && wire_has_inner(r->extras, r->n_extras, SPAN("metadata"));
    if (!r->user.p && !more)
        return;
    json_w_key(o->w, "metadata");
    json_w_obj(o->w);
    wire_str(o->w, "user_id", r->user);
    if (more)
        wire_write_inner(o->w, r->extras, r->n_extras, SPAN("metadata"));
    json_w_obj_end(o->w);
}

static void write_stop(struct ant_out *o)
{
    if (o->r->n_stop == 0)
        return;
    json_w_key(o->w, "stop_sequences");
    json_w_arr(o->w);
    for (size_t i = 0; i < o->r->n_stop; i++)
        json_w_str(o->w, o->r->stop[i]);
    json_w_arr_end(o->w);
}

/* context_management is taken beside its beta header alone. */
static bool write_extras(struct ant_out *o)
{
    const struct chat_request *r = o->r;
    for (size_t i = 0; i < r->n_extras; i++) {
        const struct chat_extra *x = &r->extras[i];
        bool beta = span_eq(x->name, SPAN("context_management")) && r->betas.n == 0;
        if (!wire_write_extras(o->w, x, 1, NULL, o->same && !beta, inner, o->notes, o->e))
            return false;
    }
    return true;
}

static int64_t limit_of(struct ant_out *o, const struct dialect_target *t)
{
    if (o->r->max_tokens >= 0)
        return o->r->max_tokens;
    wire_note(o->notes, SPAN("max_tokens"));
    return t->default_max_tokens > 0 ? t->default_max_tokens : DEFAULT_MAX_TOKENS;
}

static bool write_body(struct ant_out *o, const struct dialect_target *t)
{
    struct span model = t->model.p ? t->model : o->r->model;
    int64_t max_tokens = limit_of(o, t);
    struct ant_plan plan;
    json_w_obj(o->w);
    wire_str(o->w, "model", model);
    json_w_key(o->w, "max_tokens");
    json_w_i64(o->w, max_tokens);
    if (!check_unsaid(o) ||
        !ant_plan_thinking(o->r, model, o->same, max_tokens, &plan, &o->scratch, o->notes, o->e) ||
        !write_tools(o) || !write_system(o) || !ant_write_turns(o) ||
        !write_sampling(o, &plan, ant_model_of(model)))
        return false;
    write_thinking(o, &plan);
    write_output_config(o, &plan);
    write_stop(o);
    write_hints(o);
    if (!t->unary) {
        json_w_key(o->w, "stream");
        json_w_bool(o->w, true);
    }
    if (!write_extras(o))
        return false;
    json_w_obj_end(o->w);
    return true;
}

/* The messages at the front that make up the system prompt. When there are no others they are what
 * the model has to answer. */
static size_t count_leading(const struct chat_request *r)
{
    size_t n = 0;
    while (n < r->n_messages && is_system(&r->messages[n]))
        n++;
    return n < r->n_messages ? n : 0;
}

bool ant_write_request(const struct chat_request *r, const struct dialect_target *t,
                       struct buf *out, struct dialect_notes *notes, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    struct ant_out o = {.w = &w, .r = r, .notes = notes, .e = e};
    o.same = span_eq(r->dialect, t->dialect);
    o.n_leading = count_leading(r);
    json_scratch_init(&o.scratch);
    buf_init(&o.text, SIZE_MAX / 8);
    json_w_init(&w, out, e);
    size_t marks = count_marks(&o);
    o.skip_marks = marks > MAX_MARKS ? marks - MAX_MARKS : 0;
    bool ok = write_body(&o, t);
    ok = ok && json_w_end(&w);
    json_scratch_done(&o.scratch);
    buf_done(&o.text);
    if (!ok)
        buf_cut(out, from);
    return ok;
}
