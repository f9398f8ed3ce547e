/* api/responses.c - answers that are kept: GET and DELETE /v1/responses/{id}, and GET
 * /v1/responses/{id}/input_items. What is kept is JSON (dialect/responses.h); it is given out as it
 * lies there. Source of the shapes: github.com/openai/openai-openapi. */
#include "api/edge.h"

#include "api/archive.h"
#include "api/keep.h"
#include "json/json.h"

#define PATIENCE_US ((int64_t)5 * 1000 * 1000)
#define ITEMS_SHOWN 20 /* OpenAI's default and maximum */
#define ITEMS_MAX   100

struct fetch {
    struct api_request *rq;
    struct archive_ask *ask;
    struct span id;
    bool (*write)(struct fetch *f, struct buf *out, struct err *e);
};

static void on_left(void *owner)
{
    struct fetch *f = owner;
    archive_ask_free(f->ask);
    api_request_end(f->rq, 499, "left");
}

static void on_drained(void *owner)
{
    (void)owner;
}

static void on_answer(void *owner, struct archive_ask *q, const struct err *err)
{
    struct fetch *f = owner;
    struct api_request *rq = f->rq;
    struct err e = {0};
    struct buf out;
    buf_init(&out, 2 * LIMIT_KEPT_BYTES);
    bool ok = !err;
    if (err)
        e = *err;
    else if (archive_found(q) == 0)
        ok = keep_not_found(f->id, &e);
    else
        ok = f->write(f, &out, &e);
    archive_ask_free(q);
    if (ok)
        api_reply_json(rq, 200, buf_span(&out));
    else
        api_reply_error(rq, &e);
    buf_done(&out);
}

static void fetch_start(struct api_request *rq, enum archive_verb verb, struct span id,
                        bool (*write)(struct fetch *f, struct buf *out, struct err *e))
{
    struct fetch *f = arena_alloc(http_arena(rq->x), sizeof *f);
    struct err e = {0};
    if (!f) {
        (void)err_set(&e, ERR_NOMEM, "out of memory");
        api_reply_error(rq, &e);
        return;
    }
    *f = (struct fetch){.rq = rq, .id = id, .write = write};
    f->ask =
        archive_ask_new(rq->worker, verb, ARCHIVE_RESPONSE, &id, 1, PATIENCE_US, on_answer, f, &e);
    if (f->ask)
        http_watch(rq->x, f, on_left, on_drained);
    else
        api_reply_error(rq, &e);
}

/* --- the answer
 * ------------------------------------------------------------------------------------- */

static bool parse(struct fetch *f, json_val **out, struct err *e)
{
    return json_parse(http_arena(f->rq->x), archive_values(f->ask)[0], out, e) ||
           err_set(e, ERR_STATE, "a kept response cannot be read");
}

static bool write_response(struct fetch *f, struct buf *out, struct err *e)
{
    json_val *turn;
    return parse(f, &turn, e) && json_write_val(out, json_get(turn, "response"), e);
}

static bool write_deleted(struct fetch *f, struct buf *out, struct err *e)
{
    struct json_w w;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    json_w_key(&w, "id");
    json_w_str(&w, f->id);
    json_w_key(&w, "object");
    json_w_cstr(&w, "response");
    json_w_key(&w, "deleted");
    json_w_bool(&w, true);
    json_w_obj_end(&w);
    return json_w_end(&w);
}

/* --- its input items
 * ------------------------------------------------------------------------------------- */

/* One parameter of a query; p NULL: it is not there. */
static struct span query_of(struct span query, const char *name)
{
    struct span pair, key;
    while (query.n > 0) {
        size_t end = span_index(query, SPAN("&"));
        pair = span_upto(query, end);
        query = span_from(query, end + 1);
        size_t eq = span_index(pair, SPAN("="));
        key = span_upto(pair, eq);
        if (span_eq(key, span_of(name)))
            return span_from(pair, eq + 1);
    }
    return (struct span){0};
}

struct page {
    int64_t limit;
    struct span after; /* p NULL: from the beginning */
    bool oldest_first;
};

static bool read_page(struct span query, struct page *out, struct err *e)
{
    struct span limit = query_of(query, "limit"), order = query_of(query, "order");
    *out = (struct page){.limit = ITEMS_SHOWN, .after = query_of(query, "after")};
    if (limit.p && (!span_to_i64(limit, &out->limit) || out->limit < 1 || out->limit > ITEMS_MAX))
        return err_field(e, "limit", "limit: must be from 1 to %d", ITEMS_MAX);
    out->oldest_first = span_eq(order, SPAN("asc"));
    if (order.p && !out->oldest_first && !span_eq(order, SPAN("desc")))
        return err_field(e, "order", "order: must be asc or desc");
    return true;
}

/* Items of a request need no id, those of a list have one. */
static struct span item_id(struct fetch *f, json_val *item, size_t index)
{
    struct span id = json_str(json_get(item, "id"));
    if (id.n > 0)
        return id;
    struct span of = span_starts(f->id, SPAN("resp_")) ? span_from(f->id, 5) : f->id;
    return arena_printf(http_arena(f->rq->x), "item_%.*s_%zu", SPAN_ARG(span_upto(of, 80)), index);
}

/* A list of one part, as OpenAI gives out what came as a string. */
static void write_text(struct json_w *w, json_val *item, struct span text)
{
    bool answer = span_eq(json_str(json_get(item, "role")), SPAN("assistant"));
    json_w_arr(w);
    json_w_obj(w);
    json_w_key(w, "type");
    json_w_cstr(w, answer ? "output_text" : "input_text");
    json_w_key(w, "text");
    json_w_str(w, text);
    if (answer) {
        json_w_key(w, "annotations");
        json_w_raw(w, SPAN("[]"));
    }
    json_w_obj_end(w);
    json_w_arr_end(w);
}

static void write_member(struct json_w *w, struct span key, json_val *v)
{
    struct buf *b = w->b;
    w->failed = w->failed || (w->comma && !buf_add_char(b, ',', w->e)) ||
                !json_write_str(b, key, w->e) || !buf_add_char(b, ':', w->e) ||
                !json_write_val(b, v, w->e);
    w->comma = true;
}

static void write_item(struct json_w *w, json_val *item, struct span id)
{
    struct json_iter it = json_iter_of(item);
    struct span key;
    json_val *v;
    bool message = json_get(item, "role") != NULL;
    json_w_obj(w);
    json_w_key(w, "id");
    json_w_str(w, id);
    if (message && !json_get(item, "type")) {
        json_w_key(w, "type");
        json_w_cstr(w, "message");
    }
    while (json_next(&it, &key, &v)) {
        bool content = message && span_eq(key, SPAN("content")) && json_is_str(v);
        if (content) {
            json_w_key(w, "content");
            write_text(w, item, json_str(v));
        } else if (!span_eq(key, SPAN("id"))) {
            write_member(w, key, v);
        }
    }
    json_w_obj_end(w);
}

/* Which items of the list a page has. */
struct shown {
    json_val **items; /* in the order asked for */
    struct span *ids;
    size_t from, n, all;
};

static bool pick(struct fetch *f, json_val *input, const struct page *page, struct shown *out,
                 struct err *e)
{
    struct arena *a = http_arena(f->rq->x);
    struct json_iter it = json_iter_of(input);
    struct shown s = {.all = json_count(input)};
    s.items = arena_array(a, s.all, sizeof *s.items);
    s.ids = arena_array(a, s.all, sizeof *s.ids);
    if (!s.items || !s.ids)
        return err_set(e, ERR_NOMEM, "out of memory");
    json_val *item;
    for (size_t i = 0; json_next(&it, NULL, &item); i++) {
        size_t at = page->oldest_first ? i : s.all - 1 - i;
        s.items[at] = item;
        s.ids[at] = item_id(f, item, i);
    }
    while (page->after.p && s.from < s.all && !span_eq(s.ids[s.from], page->after))
        s.from++;
    if (page->after.p && s.from++ == s.all)
        return err_field(e, "after", "after: no item has this id");
    s.n = s.all - s.from < (size_t)page->limit ? s.all - s.from : (size_t)page->limit;
    *out = s;
    return true;
}

static void key_id(struct json_w *w, const char *key, struct span id)
{
    json_w_key(w, key);
    if (id.p)
        json_w_str(w, id);
    else
        json_w_null(w);
}

static bool write_items(struct fetch *f, struct buf *out, struct err *e)
{
    struct page page;
    struct shown s = {0};
    struct json_w w;
    json_val *turn;
    if (!parse(f, &turn, e) || !read_page(http_query(f->rq->x), &page, e) ||
        !pick(f, json_get(turn, "input"), &page, &s, e))
        return false;
    json_w_init(&w, out, e);
    json_w_obj(&w);
    json_w_key(&w, "object");
    json_w_cstr(&w, "list");
    json_w_key(&w, "data");
    json_w_arr(&w);
    for (size_t i = s.from; i < s.from + s.n; i++)
        write_item(&w, s.items[i], s.ids[i]);
    json_w_arr_end(&w);
    key_id(&w, "first_id", s.n > 0 ? s.ids[s.from] : (struct span){0});
    key_id(&w, "last_id", s.n > 0 ? s.ids[s.from + s.n - 1] : (struct span){0});
    json_w_key(&w, "has_more");
    json_w_bool(&w, s.from + s.n < s.all);
    json_w_obj_end(&w);
    return json_w_end(&w);
}

/* --- handlers
 * --------------------------------------------------------------------------------------- */

void api_response(struct api_request *rq)
{
    struct span id = rq->rest;
    struct err e = {0};
    bool items = span_ends(id, SPAN("/input_items"));
    if (items)
        id = span_upto(id, id.n - strlen("/input_items"));
    if (span_eq(query_of(http_query(rq->x), "stream"), SPAN("true"))) {
        (void)err_field(&e, "stream", "stream: a kept response comes whole");
        api_reply_error(rq, &e);
        return;
    }
    fetch_start(rq, ARCHIVE_GET, id, items ? write_items : write_response);
}

void api_response_delete(struct api_request *rq)
{
    fetch_start(rq, ARCHIVE_REMOVE, rq->rest, write_deleted);
}
