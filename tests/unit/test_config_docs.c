/* tests/unit/test_config_docs.c - what the documentation says can be written: every YAML block of
 * docs/ and of README.md, and fusor.example.yaml as it stands and with its comments taken away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>

#include "config/config.h"

#define FENCE "```"

/* The text of a file in the arena; p NULL when there is none. */
static struct span read_file(struct arena *a, const char *path)
{
    FILE *f = fopen(path, "rb");
    char *text = f ? arena_alloc(a, MIB(1)) : NULL;
    size_t n = text ? fread(text, 1, MIB(1), f) : 0;
    if (f)
        fclose(f);
    return (struct span){text, n};
}

/* Every "env:NAME" in the text gets a value. */
static void set_variables(struct span text)
{
    for (;;) {
        size_t at = span_index(text, SPAN("env:")), n = 0;
        char name[64];
        if (at == text.n)
            return;
        text = span_from(text, at + 4);
        while (n < text.n && n + 1 < sizeof name &&
               ((text.p[n] >= 'A' && text.p[n] <= 'Z') || text.p[n] == '_'))
            n++;
        snprintf(name, sizeof name, "%.*s", (int)n, text.p);
        if (n > 0)
            setenv(name, "user:secret", 0); /* as a proxy wants it */
    }
}

static struct config *check_yaml(struct span yaml, const char *where)
{
    struct err e = {0};
    set_variables(yaml);
    struct config *c = config_parse(yaml, where, &e);
    if (!c)
        fail_msg("%s\n%.*s", e.msg, SPAN_ARG(yaml));
    return c;
}

/* Returns how many blocks there were. */
static size_t check_blocks(struct span text, const char *path)
{
    size_t count = 0;
    for (;;) {
        size_t at = span_index(text, SPAN("\n" FENCE "yaml\n"));
        if (at == text.n)
            return count;
        text = span_from(text, at + sizeof("\n" FENCE "yaml\n") - 1);
        size_t end = span_index(text, SPAN("\n" FENCE));
        AUTO(config) c = check_yaml(span_upto(text, end + 1), path);
        assert_non_null(c);
        text = span_from(text, end);
        count++;
    }
}

static void blocks_are_valid(void **state)
{
    const char *folder = FUSOR_SOURCE_ROOT "/docs";
    DIR *d = opendir(folder);
    size_t count = 0;
    assert_non_null(d);
    for (struct dirent *f = readdir(d); f; f = readdir(d)) {
        char path[4096];
        AUTO(arena) a = arena_new(0);
        if (!span_ends(span_of(f->d_name), SPAN(".md")))
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
        count += check_blocks(read_file(a, path), path);
    }
    closedir(d);
    AUTO(arena) a = arena_new(0);
    count += check_blocks(read_file(a, FUSOR_SOURCE_ROOT "/README.md"), "README.md");
    assert_true(count >= 6);
}

static void example_is_valid(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct span text = read_file(a, FUSOR_SOURCE_ROOT "/fusor.example.yaml");
    assert_non_null(text.p);
    AUTO(config) c = check_yaml(text, "fusor.example.yaml");
    assert_int_equal(c->n_recipes, 3);
    assert_int_equal(c->n_models, 1);
}

/* A line "# field: ..." or "#   field" is an example that a user takes the "# " away from; a
 * sentence is not. */
static bool is_commented_out(struct span line)
{
    size_t indent = 0;
    while (indent < line.n && line.p[indent] == ' ')
        indent++;
    struct span rest = span_from(line, indent);
    if (!span_starts(rest, SPAN("# ")))
        return false;
    rest = span_trim(span_from(rest, 2));
    size_t word = span_find(rest, ": ");
    return word > 0 && word < rest.n && rest.p[word] == ':' && rest.p[0] >= 'a' && rest.p[0] <= 'z';
}

static void example_is_valid_in_full(void **state)
{
    AUTO(arena) a = arena_new(0);
    struct span text = read_file(a, FUSOR_SOURCE_ROOT "/fusor.example.yaml"), line;
    struct buf full;
    struct err e = {0};
    buf_init(&full, MIB(1));
    while (span_cut(&text, '\n', &line)) {
        size_t hash = span_index(line, SPAN("# "));
        if (is_commented_out(line)) {
            assert_true(buf_add(&full, span_upto(line, hash), &e));
            line = span_from(line, hash + 2);
        }
        assert_true(buf_add(&full, line, &e) && buf_add_char(&full, '\n', &e));
    }
    AUTO(config) c = check_yaml(buf_span(&full), "fusor.example.yaml");
    assert_int_equal(c->n_providers, 5);
    assert_int_equal(c->n_models, 5);
    assert_int_equal(c->n_recipes, 4);
    buf_done(&full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_valid),
        cmocka_unit_test(example_is_valid),
        cmocka_unit_test(example_is_valid_in_full),
    };
    setenv("HOME", "/home/u", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
