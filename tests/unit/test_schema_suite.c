/* tests/unit/test_schema_suite.c - the JSON Schema test suite (draft 2020-12), which lies beside
 * the checkout and not in it (FUSOR_SHARED, or ../shared): every case holds but those listed here,
 * and what is listed is refused when it is compiled. Without the suite this test says so and
 * passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#include "base/limits.h"
#include "json/schema.h"

#ifndef FUSOR_SOURCE_ROOT
#define FUSOR_SOURCE_ROOT "."
#endif

/* Groups that are refused; with group NULL a whole file. */
static const struct {
    const char *file, *group, *why;
} unsupported[] = {
    {"refRemote.json", NULL, "other documents"},
    {"dynamicRef.json", "strict-tree schema, guards against misspelled properties",
     "other documents"},
    {"dynamicRef.json", "tests for implementation dynamic anchor and reference link",
     "other documents"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $defs first",
     "other documents"},
    {"dynamicRef.json", "$ref and $dynamicAnchor are independent of order - $ref first",
     "other documents"},
    {"dynamicRef.json", "$ref to $dynamicRef finds detached $dynamicAnchor", "other documents"},
    {"ref.json", "remote ref, containing refs itself", "the meta-schema is another document"},
    {"defs.json", "validate definition against metaschema", "the meta-schema is another document"},
    {"vocabulary.json", "schema that uses custom metaschema with with no validation vocabulary",
     "$schema of one's own"},
    {"vocabulary.json", "ignore unrecognized optional vocabulary", "$schema of one's own"},
    {"optional/format-assertion.json", NULL, "$schema of one's own"},
    {"optional/cross-draft.json", NULL, "other drafts"},
    {"optional/dependencies-compatibility.json", NULL, "keyword of older drafts"},
    {"optional/refOfUnknownKeyword.json", NULL, "unknown keywords"},
    {"optional/unknownKeyword.json", NULL, "unknown keywords"},
};

/* Files of optional/format whose format is an annotation here, as the drafts have it by default. */
static const char *const annotations[] = {
    "ecmascript-regex.json",
    "idn-email.json",
    "idn-hostname.json",
    "iri.json",
    "iri-reference.json",
    "json-pointer.json",
    "regex.json",
    "uri.json",
    "uri-reference.json",
    "uri-template.json",
    "relative-json-pointer.json",
};

/* Documents that stand beside the tests under http://localhost:1234/draft2020-12/: put under $defs
 * of one document, they show that references work once all is in one place. */
static const char *const remotes[] = {
    "baseUriChange/folderInteger.json",
    "baseUriChangeFolder/folderInteger.json",
    "baseUriChangeFolderInSubschema/folderInteger.json",
    "detached-dynamicref.json",
    "detached-ref.json",
    "different-id-ref-string.json",
    "extendible-dynamic-ref.json",
    "integer.json",
    "locationIndependentIdentifier.json",
    "name-defs.json",
    "nested/foo-ref-string.json",
    "nested/string.json",
    "nested-absolute-ref-to-string.json",
    "prefixItems.json",
    "ref-and-defs.json",
    "subSchemas.json",
    "tree.json",
    "urn-ref-string.json",
};

static struct buf text;
static size_t n_groups, n_refused, n_cases, n_refused_cases, n_bundled, n_wrong;

static bool read_file(const char *path)
{
    FILE *f = fopen(path, "re");
    char *p;
    buf_clear(&text);
    if (!f)
        return false;
    for (size_t n = 1; n > 0 && buf_room(&text, KIB(64), &p, NULL);) {
        n = fread(p, 1, KIB(64), f);
        buf_grew(&text, n);
    }
    fclose(f);
    return true;
}

static bool same(const char *listed, struct span s)
{
    return span_eq(span_of(listed), s);
}

/* Why the group is refused; NULL when it should not be. */
static const char *why_unsupported(const char *file, struct span group)
{
    for (size_t i = 0; i < COUNT_OF(unsupported); i++)
        if (strcmp(unsupported[i].file, file) == 0 &&
            (!unsupported[i].group || same(unsupported[i].group, group)))
            return unsupported[i].why;
    return NULL;
}

static void wrong(const char *file, struct span group, struct span test, const char *what)
{
    n_wrong++;
    print_message("%s: %.*s: %.*s: %s\n", file, SPAN_ARG(group), SPAN_ARG(test), what);
}

static void run_case(const char *file, struct span group, const struct schema *s, json_val *test)
{
    struct err e = {0};
    struct span name = json_str(json_get(test, "description"));
    bool want = json_true(json_get(test, "valid"));
    bool valid = schema_check(s, json_get(test, "data"), &e);
    n_cases++;
    if (!valid && (e.cls != ERR_INPUT || !strstr(e.msg, "at ")))
        wrong(file, group, name, e.msg);
    if (valid != want)
        wrong(file, group, name, valid ? "was taken" : e.msg);
}

static void run_cases(const char *file, const struct schema *s, json_val *group)
{
    struct json_iter it = json_iter_of(json_get(group, "tests"));
    json_val *test;
    while (json_next(&it, NULL, &test))
        run_case(file, json_str(json_get(group, "description")), s, test);
}

/* Schema and remote documents as one document; false when it cannot be made. */
static bool bundle(struct arena *a, const char *root, json_val *schema, json_val **out)
{
    struct buf all;
    struct span own;
    char path[1024];
    bool ok = json_raw(a, schema, &own, NULL) && json_is_obj(schema);
    buf_init(&all, MIB(1));
    ok = ok && buf_addf(&all, NULL, "{\"$ref\":\"#/$defs/main\",\"$defs\":{\"main\":{%s%.*s",
                        json_get(schema, "$id") ? "" : "\"$id\":\"http://localhost:1234/main\",",
                        SPAN_ARG(span_from(own, 1)));
    for (size_t i = 0; ok && i < COUNT_OF(remotes); i++) {
        snprintf(path, sizeof path, "%s/../../remotes/draft2020-12/%s", root, remotes[i]);
        if (!read_file(path))
            continue;
        struct span doc = span_trim(buf_span(&text));
        json_val *parsed;
        ok = json_parse(a, doc, &parsed, NULL);
        bool has_id = ok && json_get(parsed, "$id");
        ok = ok &&
             buf_addf(&all, NULL, ",\"remote%zu\":{%s%s%s%.*s", i,
                      has_id ? "" : "\"$id\":\"http://localhost:1234/draft2020-12/",
                      has_id ? "" : remotes[i], has_id ? "" : "\",", SPAN_ARG(span_from(doc, 1)));
    }
    ok = ok && buf_add(&all, SPAN("}}"), NULL) && json_parse(a, buf_span(&all), out, NULL);
    buf_done(&all);
    return ok;
}

static void refused(struct arena *a, const char *root, const char *file, json_val *group,
                    const struct err *e)
{
    struct schema_opts o = {0};
    struct err why = {0};
    struct span name = json_str(json_get(group, "description"));
    const char *reason = why_unsupported(file, name);
    json_val *all;
    n_refused++;
    n_refused_cases += json_count(json_get(group, "tests"));
    assert_int_equal(e->cls, ERR_INPUT);
    assert_true(span_starts(span_of(e->param), SPAN("schema")));
    if (!reason)
        wrong(file, name, SPAN("(all)"), e->msg);
    const struct schema *s =
        bundle(a, root, json_get(group, "schema"), &all) ? schema_new(a, all, &o, &why) : NULL;
    print_message("  %-45s %.*s: %s%s\n", file, SPAN_ARG(name), reason ? reason : "not listed",
                  s ? " (holds as one document)" : "");
    if (s) {
        n_bundled++;
        run_cases(file, s, group);
    }
}

static void run_group(struct arena *a, const char *root, const char *file, json_val *group,
                      bool formats)
{
    struct err e = {0};
    struct schema_opts o = {.prefix = "schema", .formats = formats};
    struct span name = json_str(json_get(group, "description"));
    const struct schema *s = schema_new(a, json_get(group, "schema"), &o, &e);
    n_groups++;
    if (!s) {
        refused(a, root, file, group, &e);
        return;
    }
    const char *reason = why_unsupported(file, name);
    if (reason && strstr(reason, "unknown") == NULL)
        wrong(file, name, SPAN("(all)"), "is listed as unsupported, but was taken");
    run_cases(file, s, group);
}

static void run_file(const char *root, const char *folder, const char *file, bool formats)
{
    char path[1024];
    json_val *groups, *group;
    struct err e = {0};
    AUTO(arena) a = arena_new(0);
    snprintf(path, sizeof path, "%s/%s%s", root, folder, file);
    assert_true(read_file(path));
    if (!json_parse(a, buf_span(&text), &groups, &e))
        fail_msg("%s: %s", path, e.msg);
    snprintf(path, sizeof path, "%s%s", folder, file);
    struct json_iter it = json_iter_of(groups);
    while (json_next(&it, NULL, &group))
        run_group(a, root, path, group, formats);
}

static bool is_annotation(const char *file)
{
    for (size_t i = 0; i < COUNT_OF(annotations); i++)
        if (strcmp(annotations[i], file) == 0)
            return true;
    return false;
}

static size_t run_folder(const char *root, const char *folder, bool formats)
{
    char path[1024];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s", root, folder);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL;)
        if (span_ends(span_of(d->d_name), SPAN(".json")) &&
            !(formats && is_annotation(d->d_name))) {
            run_file(root, folder, d->d_name, formats);
            n++;
        }
    if (dir)
        closedir(dir);
    return n;
}

static const char *suite(void)
{
    static char path[1024];
    const char *shared = getenv("FUSOR_SHARED");
    snprintf(path, sizeof path, "%s/data/json-schema-test-suite/tests/draft2020-12",
             shared ? shared : FUSOR_SOURCE_ROOT "/../shared");
    return path;
}

static void test_suite(void **state)
{
    const char *root = suite();
    buf_init(&text, MIB(16));
    print_message("what is not supported:\n");
    if (run_folder(root, "", false) == 0) {
        print_message("skipped: no JSON Schema test suite at %s\n", root);
        buf_done(&text);
        skip();
    }
    if (run_folder(root, "optional/", false) == 0)
        print_message("skipped: the suite has no optional/ here\n");
    else
        run_folder(root, "optional/format/", true);
    buf_done(&text);
    print_message(
        "%zu groups; %zu refused, of which %zu hold as one document (%zu cases); %zu cases "
        "checked, %zu wrong\n",
        n_groups, n_refused, n_bundled, n_refused_cases, n_cases, n_wrong);
    assert_int_equal(n_wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
