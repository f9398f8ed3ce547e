/* test_model_card.c - what an entry of GET /v1/models says: of a model that the catalogue knows, of
 * one that nobody knows, and of recipes, which have what all their members have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "api/model_card.h"

static const char file[] =
    "providers:\n"
    "  eu: {kind: openai, base_url: 'https://api.eu.mistral.ai/v1'}\n"
    "  gpt: {kind: openai, base_url: 'https://api.openai.com/v1'}\n"
    "  lab: {kind: openai, base_url: 'http://h/v1', price: free}\n"
    "models:\n"
    "  medium: {provider: eu, id: mistral-medium-latest}\n"
    "  old: {provider: eu, id: mistral-medium-2505}\n"
    "  big: {provider: gpt, id: gpt-5.5}\n"
    "  lab/bare: {provider: lab}\n"
    "  told: {provider: lab, context: 1000, max_output: 10,\n"
    "    price: {input: 0.000000001, output: 1000000.5, cache_write: 30},\n"
    "    capabilities: {tools: true, images: true, audio: true, documents: true,\n"
    "      sampling: false, reasoning: false}}\n"
    "fusions:\n"
    "  pair: {panel: [medium, big]}\n"
    "  self: {panel: [medium, medium]}\n"
    "  nest: {panel: [pair, told]}\n"
    "  dim: {panel: [medium, lab/bare]}\n"
    "  over: {panel: [big, lab/any]}\n";

#define HEAD(id, owner)                                                                            \
    "{\"id\":\"" id "\",\"object\":\"model\",\"created\":7,\"owned_by\":\"" owner                  \
    "\",\"name\":\"" id "\",\"type\":\"base\","
#define WINDOW(n) "\"context_length\":" n ",\"max_context_length\":" n ","
#define TEXT_ONLY                                                                                  \
    "\"architecture\":{\"input_modalities\":[\"text\"],\"output_modalities\":[\"text\"],"          \
    "\"modality\":\"text->text\"},"
#define CHAT_ONLY                                                                                  \
    "\"capabilities\":{\"completion_chat\":true,\"completion_fim\":false,\"fine_tuning\":false"

static const struct {
    const char *name, *want; /* NULL: nothing but valid JSON is asked for */
} cases[] = {
    {"medium",
     HEAD("medium", "eu") WINDOW(
         "262144") "\"architecture\":{\"input_modalities\":[\"text\",\"image\",\"file\"],\"output_"
                   "modalities\":"
                   "[\"text\"],\"modality\":\"text+image+file->text\"},"
                   "\"pricing\":{\"prompt\":\"0.00000165\",\"completion\":\"0.00000825\","
                   "\"input_cache_read\":\"0.000000165\"},"
                   "\"top_provider\":{\"context_length\":262144,\"max_completion_tokens\":null},"
                   "\"supported_parameters\":[\"max_tokens\",\"stop\",\"temperature\",\"top_p\","
                   "\"tools\","
                   "\"tool_choice\",\"parallel_tool_calls\",\"response_format\",\"structured_"
                   "outputs\","
                   "\"reasoning\",\"include_reasoning\",\"reasoning_effort\"],"
                   "\"reasoning\":{\"supported_efforts\":[\"none\",\"high\"]}," CHAT_ONLY
                   ",\"function_calling\":true,\"vision\":true,\"reasoning\":true},"
                   "\"aliases\":[\"eu/medium\",\"eu/mistral-medium-latest\"]}"},
    {"old", HEAD("old", "eu") WINDOW("128000") TEXT_ONLY
     "\"pricing\":{\"prompt\":\"0.00000044\",\"completion\":\"0.0000022\","
     "\"input_cache_read\":\"0.000000044\"},"
     "\"top_provider\":{\"context_length\":128000,\"max_completion_tokens\":null},"
     "\"supported_parameters\":[\"max_tokens\",\"stop\",\"temperature\",\"top_p\"]," CHAT_ONLY
     "},\"aliases\":[\"eu/old\",\"eu/mistral-medium-2505\"],\"shutdown_date\":\"2026-08-31\","
     "\"expiration_date\":\"2026-08-31\",\"deprecation\":\"2026-08-31T00:00:00Z\"}"},
    /* Unknown is null or absent; free is free. */
    {"lab/bare",
     HEAD("lab/bare",
          "lab") "\"context_length\":null," TEXT_ONLY
                 "\"pricing\":{\"prompt\":\"0\",\"completion\":\"0\",\"input_cache_read\":\"0\","
                 "\"input_cache_write\":\"0\"},"
                 "\"top_provider\":{\"context_length\":null,\"max_completion_tokens\":null},"
                 "\"supported_parameters\":[\"max_tokens\",\"stop\",\"temperature\",\"top_p\"]"
                 "," CHAT_ONLY "},\"aliases\":[]}"},
    {"eu/of-tomorrow",
     HEAD("eu/of-tomorrow",
          "eu") "\"context_length\":null," TEXT_ONLY "\"pricing\":null,"
                "\"top_provider\":{\"context_length\":null,\"max_completion_tokens\":null},"
                "\"supported_parameters\":[\"max_tokens\",\"stop\",\"temperature\",\"top_p\"]"
                "," CHAT_ONLY "},\"aliases\":[]}"},
    {"told",
     HEAD("told", "lab") WINDOW(
         "1000") "\"architecture\":{\"input_modalities\":[\"text\",\"image\",\"file\",\"audio\"],"
                 "\"output_modalities\":[\"text\"],\"modality\":\"text+image+file+audio->text\"},"
                 "\"pricing\":{\"prompt\":\"0.000000000000001\",\"completion\":\"1.0000005\","
                 "\"input_cache_write\":\"0.00003\"},"
                 "\"top_provider\":{\"context_length\":1000,\"max_completion_tokens\":10},"
                 "\"supported_parameters\":[\"max_tokens\",\"stop\",\"tools\",\"tool_choice\"]"
                 "," CHAT_ONLY
                 ",\"function_calling\":true,\"vision\":true,\"audio\":true,\"reasoning\":false},"
                 "\"aliases\":[\"lab/told\"]}"},
    /* What both have: big takes no temperature, and says nothing of several calls at once. */
    {"pair",
     HEAD("pair", "fusor") WINDOW(
         "262144") "\"architecture\":{\"input_modalities\":[\"text\",\"image\",\"file\"],\"output_"
                   "modalities\":"
                   "[\"text\"],\"modality\":\"text+image+file->text\"},\"pricing\":null,"
                   "\"top_provider\":{\"context_length\":262144,\"max_completion_tokens\":null},"
                   "\"supported_parameters\":[\"max_tokens\",\"stop\",\"tools\",\"tool_choice\","
                   "\"response_format\",\"structured_outputs\",\"reasoning\",\"include_reasoning\","
                   "\"reasoning_effort\"],\"reasoning\":{\"supported_efforts\":[\"none\",\"high\"]}"
                   "," CHAT_ONLY ",\"function_calling\":true,\"vision\":true,\"reasoning\":true},"
                   "\"aliases\":[]}"},
    {"nest",
     HEAD("nest", "fusor") WINDOW(
         "1000") "\"architecture\":{\"input_modalities\":[\"text\",\"image\",\"file\"],\"output_"
                 "modalities\":"
                 "[\"text\"],\"modality\":\"text+image+file->text\"},\"pricing\":null,"
                 "\"top_provider\":{\"context_length\":1000,\"max_completion_tokens\":null},"
                 "\"supported_parameters\":[\"max_tokens\",\"stop\",\"tools\",\"tool_choice\"]"
                 "," CHAT_ONLY
                 ",\"function_calling\":true,\"vision\":true,\"reasoning\":false},\"aliases\":[]}"},
    {"dim",
     HEAD("dim",
          "fusor") "\"context_length\":null," TEXT_ONLY "\"pricing\":null,"
                   "\"top_provider\":{\"context_length\":null,\"max_completion_tokens\":null},"
                   "\"supported_parameters\":[\"max_tokens\",\"stop\",\"temperature\",\"top_p\"]"
                   "," CHAT_ONLY "},\"aliases\":[]}"},
    {"big", NULL},
    {"self", NULL},
    {"over", NULL},
};

static void write_entry(struct json_w *w, const struct config *c, struct span name)
{
    struct config_model implied;
    const struct recipe *r = config_recipe_find(c, name);
    const struct config_model *m = r ? NULL : config_model_find(c, name, &implied);
    assert_true(r || m);
    if (r)
        api_write_named(w, c, r->name, 7);
    else
        api_write_model(w, c, m, 7);
}

static void test_entries(void **state)
{
    struct err e = {0};
    setenv("HOME", "/home/u", 1);
    AUTO(config) c = config_parse(SPAN(file), "f.yaml", &e);
    assert_string_equal(e.msg, "");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct buf b;
        struct json_w w;
        json_val *v;
        buf_init(&b, MIB(1));
        json_w_init(&w, &b, &e);
        write_entry(&w, c, span_of(cases[i].name));
        assert_true(json_w_end(&w));
        assert_true(json_parse(a, buf_span(&b), &v, &e));
        if (cases[i].want && !span_eq(buf_span(&b), span_of(cases[i].want)))
            fail_msg("%s\n got %.*s\nwant %s", cases[i].name, SPAN_ARG(buf_span(&b)),
                     cases[i].want);
        buf_done(&b);
    }
}

/* Long inputs cost more: from the first token above the tier's edge. */
static void test_tiers(void **state)
{
    struct err e = {0};
    setenv("HOME", "/home/u", 1);
    AUTO(config) c = config_parse(SPAN(file), "f.yaml", &e);
    struct buf b;
    struct json_w w;
    buf_init(&b, MIB(1));
    json_w_init(&w, &b, &e);
    write_entry(&w, c, SPAN("big"));
    assert_true(json_w_end(&w));
    static const char want[] =
        "\"pricing\":{\"prompt\":\"0.000005\",\"completion\":\"0.00003\",\"input_cache_read\":"
        "\"0.0000005\",\"overrides\":[{\"min_prompt_tokens\":272001,\"prompt\":\"0.00001\","
        "\"completion\":\"0.000045\",\"input_cache_read\":\"0.000001\"}]},\"top_provider\":"
        "{\"context_length\":1050000,\"max_completion_tokens\":128000}";
    if (span_index(buf_span(&b), SPAN(want)) == b.n)
        fail_msg("%.*s", SPAN_ARG(buf_span(&b)));
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),
        cmocka_unit_test(test_tiers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
