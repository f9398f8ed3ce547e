/* upstream/recording.c - see upstream/recording.h. One arena holds the file and its parsed lines.
 */
#include "upstream/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "json/json.h"

#define MAX_FILE_BYTES MIB(512)

struct record {
    struct record *next; /* in the order of the file */
    struct span question;
    json_val *outputs;
};

struct recording {
    struct arena *arena;
    struct map *by_id;       /* id text -> record */
    struct map *by_question; /* trimmed question -> record */
    struct map *models;      /* name -> record that has it first */
    struct record *first, **last;
    struct span path;
};

void recording_free(struct recording *r)
{
    if (r == NULL)
        return;
    map_free(r->by_id);
    map_free(r->by_question);
    map_free(r->models);
    arena_free(r->arena);
    mem_free(r);
}

/* --- loading
 * -------------------------------------------------------------------------------------- */

static bool no_memory(const struct recording *r, struct err *e)
{
    return err_set(e, ERR_NOMEM, "no memory for the recording %.*s", SPAN_ARG(r->path));
}

static bool read_all(int fd, char *p, size_t n, size_t *out_n)
{
    size_t at = 0;
    while (at < n) {
        ssize_t got = read(fd, p + at, n - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return false;
        if (got == 0)
            break;
        at += (size_t)got;
    }
    *out_n = at;
    return true;
}

static bool read_fd(struct recording *r, int fd, struct span *out, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_CONFIG, "%.*s is not a file", SPAN_ARG(r->path));
    if (st.st_size > (off_t)MAX_FILE_BYTES)
        return err_set(e, ERR_CONFIG, "%.*s is larger than %zu MiB", SPAN_ARG(r->path),
                       MAX_FILE_BYTES >> 20);
    size_t n = (size_t)st.st_size;
    char *p = arena_alloc(r->arena, n + 1);
    if (p == NULL)
        return no_memory(r, e);
    if (!read_all(fd, p, n, &n))
        return err_set(e, ERR_CONFIG, "%.*s cannot be read: %s", SPAN_ARG(r->path),
                       strerror(errno));
    *out = span_make(p, n);
    return true;
}

static bool read_file(struct recording *r, struct span *out, struct err *e)
{
    int fd = open(r->path.p, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_CONFIG, "%.*s cannot be opened: %s", SPAN_ARG(r->path),
                       strerror(errno));
    bool ok = read_fd(r, fd, out, e);
    close(fd);
    return ok;
}

static bool add_models(struct recording *r, struct record *rec)
{
    struct json_iter it = json_iter_of(rec->outputs);
    struct span name;
    json_val *val;
    while (json_next(&it, &name, &val))
        if (map_get(r->models, name) == NULL && !map_put(r->models, name, rec))
            return false;
    return true;
}

/* Ids are strings or numbers; both are found by their text. */
static struct span id_text(json_val *v)
{
    struct span s = json_str(v);
    return s.p != NULL ? s : json_num_text(v);
}

static bool add_record(struct recording *r, struct span line, struct err *e)
{
    json_val *root = NULL;
    if (!json_parse(r->arena, line, &root, e))
        return false;
    struct span id = id_text(json_get(root, "id"));
    struct span question = json_str(json_get(root, "question"));
    json_val *outputs = json_get(root, "outputs");
    if (!json_is_obj(outputs) || (id.p == NULL && question.p == NULL))
        return err_set(e, ERR_INPUT, "a record needs `id` or `question`, and `outputs` by model");
    struct record *rec = arena_alloc(r->arena, sizeof *rec);
    if (rec == NULL)
        return no_memory(r, e);
    rec->question = span_trim(question);
    rec->outputs = outputs;
    *r->last = rec;
    r->last = &rec->next;
    if ((id.p != NULL && !map_put(r->by_id, id, rec)) || !add_models(r, rec))
        return no_memory(r, e);
    if (rec->question.n > 0 && !map_put(r->by_question, rec->question, rec))
        return no_memory(r, e);
    return true;
}

static bool add_lines(struct recording *r, struct span text, struct err *e)
{
    struct span line;
    for (int64_t no = 1; span_cut(&text, '\n', &line); no++) {
        line = span_trim(line);
        struct err why = {0};
        if (line.n == 0 || add_record(r, line, &why))
            continue;
        if (why.cls == ERR_NOMEM)
            return no_memory(r, e);
        return err_set(e, ERR_CONFIG, "%.*s:%lld: %s", SPAN_ARG(r->path), (long long)no, why.msg);
    }
    if (r->first == NULL)
        return err_set(e, ERR_CONFIG, "%.*s holds no record", SPAN_ARG(r->path));
    return true;
}

struct recording *recording_load(struct span path, struct err *e)
{
    AUTO(recording) r = mem_zalloc(sizeof *r);
    if (r == NULL) {
        err_set(e, ERR_NOMEM, "no memory for a recording");
        return NULL;
    }
    r->path = path;
    r->last = &r->first;
    r->arena = arena_new(MAX_FILE_BYTES * 4);
    r->by_id = map_new();
    r->by_question = map_new();
    r->models = map_new();
    if (r->arena == NULL || r->by_id == NULL || r->by_question == NULL || r->models == NULL) {
        no_memory(r, e);
        return NULL;
    }
    r->path = arena_dup(r->arena, path); /* with the NUL that open() wants */
    struct span text;
    if (r->path.p == NULL) {
        r->path = path;
        no_memory(r, e);
        return NULL;
    }
    return read_file(r, &text, e) && add_lines(r, text, e) ? TAKE(r) : NULL;
}

/* --- finding
 * -------------------------------------------------------------------------------------- */

/* The question that ends last in the message; of two that end there, the longer; of two that are
 * the same, the later record, as in the maps. */
static const struct record *contained(const struct recording *r, struct span message)
{
    const struct record *best = NULL;
    size_t best_end = 0;
    for (const struct record *rec = r->first; rec != NULL; rec = rec->next) {
        if (rec->question.n == 0 || rec->question.n > message.n)
            continue;
        size_t at = span_rindex(message, rec->question);
        size_t end = at + rec->question.n;
        if (at == message.n || end < best_end)
            continue;
        if (best != NULL && end == best_end && rec->question.n < best->question.n)
            continue;
        best = rec;
        best_end = end;
    }
    return best;
}

/* "a, b, c" of the models, cut where the room ends. */
static void model_names(const struct recording *r, char *out, size_t cap)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < map_count(r->models) && at + 1 < cap; i++) {
        struct span name;
        map_at(r->models, i, &name);
        int n = snprintf(out + at, cap - at, "%s%.*s", i > 0 ? ", " : "", SPAN_ARG(name));
        at += n > 0 ? (size_t)n : 0;
    }
}

static bool no_model(const struct recording *r, struct span model, struct err *e)
{
    char names[240];
    model_names(r, names, sizeof names);
    err_set(e, ERR_NOT_FOUND, "the recording has no model \"%.*s\"; it has %s", SPAN_ARG(model),
            names);
    return err_with_code(e, "model_not_found");
}

static bool no_record(struct span id, struct err *e)
{
    if (id.p != NULL)
        err_set(e, ERR_NOT_FOUND, "the recording has no record with id \"%.*s\"", SPAN_ARG(id));
    else
        err_set(e, ERR_NOT_FOUND,
                "the recording has no question that stands in the last user message; set "
                "metadata.id or send a recorded question");
    return err_with_code(e, "recording_not_found");
}

bool recording_find(const struct recording *r, struct span model, struct span id,
                    struct span message, struct span *out, struct err *e)
{
    if (map_get(r->models, model) == NULL)
        return no_model(r, model, e);
    const struct record *rec = NULL;
    if (id.p != NULL) {
        rec = map_get(r->by_id, id);
    } else {
        message = span_trim(message);
        rec = map_get(r->by_question, message);
        if (rec == NULL)
            rec = contained(r, message);
    }
    if (rec == NULL)
        return no_record(id, e);
    struct span text = json_str(json_get_span(rec->outputs, model));
    if (text.p == NULL) {
        err_set(e, ERR_NOT_FOUND, "\"%.*s\" has no recorded answer to this question",
                SPAN_ARG(model));
        return err_with_code(e, "recording_not_found");
    }
    *out = text;
    return true;
}
