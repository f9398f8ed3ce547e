/* dialect/openai_responses_store.c - see dialect/responses.h. */
#include "dialect/responses.h"

#include "dialect/responses_priv.h"

static bool write_input(struct json_w *w, const struct chat_request *r, size_t first, struct err *e)
{
    struct resp_send s = {
        .w = w, .same = span_eq(r->dialect, RESP_NAME), .keep_reasoning = true, .e = e};
    bool ok = true;
    json_w_key(w, "input");
    json_w_arr(w);
    for (size_t i = first; ok && i < r->n_messages; i++)
        ok = resp_write_message(&s, &r->messages[i], i);
    json_w_arr_end(w);
    return ok;
}

bool responses_write_turn(const struct dialect_reply *r, size_t first, const struct chat_collect *c,
                          struct buf *out, struct err *e)
{
    size_t from = out->n;
    struct json_w w;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    if (write_input(&w, r->request, first, e)) {
        json_w_key(&w, "response");
        if (json_w_end(&w) && resp_write_unary(r, c, out, e) && buf_add_char(out, '}', e))
            return true;
    }
    buf_cut(out, from);
    return false;
}

static bool read_lists(struct arena *a, json_val *input, json_val *output,
                       struct responses_turn *out, struct err *e)
{
    struct chat_message *asked = NULL, *all = NULL;
    size_t n_asked = 0, n = 0;
    if (!resp_read_items(a, input, NULL, 0, &asked, &n_asked, e) ||
        !resp_read_items(a, output, NULL, n_asked, &all, &n, e))
        return false;
    if (n_asked > 0)
        memcpy(all, asked, n_asked * sizeof *all);
    out->messages = all;
    out->n = n;
    return true;
}

bool responses_read_turn(struct arena *a, struct span stored, struct responses_turn *out,
                         struct err *e)
{
    struct responses_turn turn = {0};
    struct err why = {0};
    json_val *root = NULL;
    bool ok = json_parse(a, stored, &root, &why);
    json_val *input = json_get(root, "input"), *response = json_get(root, "response");
    json_val *output = json_get(response, "output");
    ok = ok && json_is_arr(input) && json_is_arr(output) &&
         read_lists(a, input, output, &turn, &why);
    if (!ok)
        return why.cls == ERR_NOMEM
                   ? wire_no_memory(e)
                   : err_set(e, ERR_STATE, "a stored answer cannot be read: %s", why.msg);
    turn.previous = json_str(json_get(response, "previous_response_id"));
    *out = turn;
    return true;
}

bool responses_join(struct arena *a, const struct responses_turn *turns, size_t n,
                    struct chat_request *r, size_t *out_first, struct err *e)
{
    size_t at = r->n_instructions, own = r->n_messages - r->n_instructions, total = r->n_messages;
    for (size_t i = 0; i < n; i++)
        total += turns[i].n;
    struct chat_message *list = arena_array(a, total, sizeof *list);
    if (!list)
        return wire_no_memory(e);
    if (at > 0)
        memcpy(list, r->messages, at * sizeof *list);
    for (size_t i = n; i-- > 0; at += turns[i].n)
        if (turns[i].n > 0)
            memcpy(list + at, turns[i].messages, turns[i].n * sizeof *list);
    if (own > 0)
        memcpy(list + at, r->messages + r->n_instructions, own * sizeof *list);
    r->messages = list;
    r->n_messages = total;
    *out_first = at;
    return true;
}
