/* tests/unit/test_config.c - the file as a snapshot: values, defaults, names, what is refused and
 * where, and that what is shown reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/config.h"

#define MODELS                                                                                     \
    "providers:\n  lab: {kind: openai, base_url: 'http://10.0.0.7:8000/v1/', price: free}\n"       \
    "  local: {kind: local, parallel: 2}\n"                                                        \
    "models:\n  big: {provider: lab, id: qwen3}\n  small: {provider: local}\n"

static struct config *parse(const char *text)
{
    struct err e = {0};
    struct config *c = config_parse(span_of(text), "f.yaml", &e);
    if (!c)
        fail_msg("%s", e.msg);
    return c;
}

static void assert_span(struct span got, const char *want)
{
    if (!span_eq(got, span_of(want)))
        fail_msg("'%.*s' is not '%s'", SPAN_ARG(got), want);
}

static int set_up(void **state)
{
    static const char *const unset[] = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY",  "MISTRAL_API_KEY",
                                        "GEMINI_API_KEY", "OPENROUTER_API_KEY", "FUSOR_CONFIG",
                                        "XDG_STATE_HOME"};
    for (size_t i = 0; i < COUNT_OF(unset); i++)
        unsetenv(unset[i]);
    setenv("HOME", "/home/u", 1);
    setenv("T_KEY", "sk-very-secret", 1);
    setenv("T_PROXY", "user:very-secret", 1);
    return 0;
}

static void has_defaults(void **state)
{
    AUTO(config) c = parse("");
    assert_string_equal(c->listen.address, "127.0.0.1");
    assert_int_equal(c->listen.port, 8420);
    assert_span(c->state_dir, "/home/u/.local/state/fusor");
    assert_int_equal(c->drain_us, 60000000);
    assert_int_equal(c->keepalive_us, 15000000);
    assert_int_equal(c->keepalive_after_us, 15000000);
    assert_null(c->api_key);
    assert_false(c->half_close_keep);
    assert_int_equal(c->n_providers, 1);
    assert_int_equal(c->n_models, 1);
    assert_int_equal(c->n_recipes, 1);
    const struct config_model *m = config_model_find(c, SPAN("local/smollm2"), NULL);
    assert_ptr_equal(m, &c->models[0]);
    assert_ptr_equal(config_model_find(c, SPAN("smollm2"), NULL), m);
    assert_int_equal(m->context, 8192);
    assert_int_equal(m->max_concurrency, 4);
    assert_int_equal(m->max_queue, 128);
    assert_true(m->price.known);
    assert_int_equal(m->price.output, 0);
    const struct recipe *r = config_recipe_find(c, SPAN("fusion"));
    assert_int_equal(recipe_members(r), 3);
    assert_span(r->panel[2].temperature, "0.7");
    assert_int_equal(r->panel[0].seed, 1);
    assert_int_equal(r->panel[2].seed, 3);
    assert_span(r->judges[0], "local/smollm2");
}

static void takes_keyed_providers(void **state)
{
    setenv("OPENAI_API_KEY", "k1", 1);
    setenv("MISTRAL_API_KEY", "k2", 1);
    for (int again = 0; again < 2; again++) { /* a reload finds overwritten variables again */
        AUTO(config) c = parse("");
        assert_int_equal(c->n_providers, 3);
        const struct config_model *m =
            config_model_find(c, SPAN("mistral/mistral-medium-latest"), NULL);
        assert_non_null(m);
        assert_int_equal(m->price.input, 1500000000);
        assert_int_equal(m->price.output, 7500000000);
        assert_int_equal(m->context, 262144);
        assert_string_equal(m->provider->dialect, "mistral");
        m = config_model_find(c, SPAN("gpt-5.5"), NULL);
        assert_int_equal(m->price.output, 30000000000);
        assert_int_equal(m->price.tiers[0].above_tok, 272000);
        assert_true(m->provider->max_completion_tokens);
        const struct recipe *r = config_recipe_find(c, SPAN("fusion"));
        assert_int_equal(recipe_members(r), 2);
        assert_span(r->panel[0].model, "openai/gpt-5.5");
        assert_span(r->panel[1].model, "mistral/mistral-medium-latest");
        assert_span(r->judges[0], "openai/gpt-5.5");
    }
}

static void makes_a_recipe_for_the_file(void **state)
{
    AUTO(config) none = parse("providers:\n  lab: {kind: openai, base_url: http://h/v1}\n");
    assert_null(config_recipe_find(none, SPAN("fusion")));
    AUTO(config) free_only = parse(MODELS);
    assert_span(config_recipe_find(free_only, SPAN("fusion"))->panel[0].model, "local/small");
    AUTO(config)
    one = parse("providers:\n  lab: {kind: openai, base_url: http://h/v1, key: "
                "env:T_KEY}\nmodels:\n  a/b: {provider: lab}\n");
    const struct recipe *r = config_recipe_find(one, SPAN("fusion"));
    assert_int_equal(recipe_members(r), 3);
    assert_span(r->panel[0].model, "a/b");
    AUTO(config) own = parse(MODELS "fusions:\n  fusion: {panel: [big]}\n");
    assert_int_equal(recipe_members(config_recipe_find(own, SPAN("fusion"))), 1);
    assert_int_equal(own->n_recipes, 1);
}

static void reads_the_edge(void **state)
{
    AUTO(config)
    c = parse("listen: '[::]:443'\ntls: {cert: c.pem, key: k.pem}\nkey: env:T_KEY\n"
              "hosts: [fusor.example.com, b]\ncors_origins: https://app.example.com\n"
              "workers: 2\ndrain: 5\nkeepalive: 30s\nkeepalive_after: 0\n"
              "half_close: keep\nstate_dir: ~/s\nlog: /var/log/f.log\n"
              "store: sqlite\nlimits_store: none\n");
    assert_string_equal(c->listen.address, "::");
    assert_int_equal(c->listen.port, 443);
    assert_span(c->tls_cert, "c.pem");
    assert_span(c->tls_key, "k.pem");
    assert_span(secret_reveal(c->api_key), "sk-very-secret");
    assert_int_equal(c->n_hosts, 2);
    assert_span(c->cors_origins[0], "https://app.example.com");
    assert_int_equal(c->workers, 2);
    assert_int_equal(c->drain_us, 5000000);
    assert_int_equal(c->keepalive_us, 30000000);
    assert_int_equal(c->keepalive_after_us, 0);
    assert_true(c->half_close_keep);
    assert_span(c->state_dir, "/home/u/s");
    assert_span(c->log_file, "/var/log/f.log");
    AUTO(config) d = parse("listen: localhost:0\nlog: stderr\ninsecure: true\n");
    assert_string_equal(d->listen.address, "127.0.0.1");
    assert_int_equal(d->listen.port, 0);
    assert_int_equal(d->log_file.n, 0);
    AUTO(config) f = parse("listen: 10.0.0.1:80\ntrusted_proxies: true\nkey: env:T_KEY\n");
    assert_true(f->trusted_proxies);
    AUTO(config) g = parse("listen: 0.0.0.0:80\ninsecure: true\n");
    assert_true(g->insecure);
}

static void reads_providers_and_models(void **state)
{
    AUTO(config)
    c = parse(
        "providers:\n"
        "  hosted: {kind: openai, base_url: 'https://h.example/v1/', key: env:T_KEY, region: eu,\n"
        "    price: {input: 0.25, output: 1, cached_input: 0.025}, ca_file: ca.pem,\n"
        "    stream_options: omit, max_tokens_field: max_completion_tokens, cancel: bills_on,\n"
        "    max_concurrency: 9, max_queue: 3, timeouts: {connect: 1s, total: 2m}, api: chat}\n"
        "  sock: {kind: openai, base_url: 'unix:/run/v.sock:/v1', ca_file: none, proxy: none}\n"
        "  far: {kind: gemini, proxy: 'http://[::1]:3128/', proxy_auth: env:T_PROXY}\n"
        "  own: {kind: local, command: [srv, --port, '{port}'], model: m.gguf, context: 4096,\n"
        "    parallel: 3, threads: 2, idle_stop: 0, start_timeout: 5s}\n"
        "  tape: {kind: recorded, file: t.jsonl}\n"
        "models:\n"
        "  m: {provider: hosted, id: x-1, context: 1000, default_max_tokens: 50,\n"
        "    price: free, max_concurrency: 1, max_queue: 0, timeouts: {idle: 7s}}\n"
        "  hosted/y: {provider: hosted, context: 2000}\n"
        "  t: {provider: tape}\n");
    const struct config_provider *p = config_provider_find(c, SPAN("hosted"));
    assert_span(p->base_url, "https://h.example/v1");
    assert_span(p->region, "eu");
    assert_span(p->ca_file, "ca.pem");
    assert_span(p->key_ref, "env:T_KEY");
    assert_int_equal(p->price.cached, 25000000);
    assert_int_equal(p->price.cache_write, -1);
    assert_true(p->omit_stream_options && p->max_completion_tokens && p->cancel_bills_on);
    assert_int_equal(p->timeouts.connect_us, 1000000);
    assert_int_equal(p->timeouts.first_byte_us, 120000000);
    assert_int_equal(p->timeouts.total_us, 120000000);
    assert_int_equal(config_provider_find(c, SPAN("sock"))->ca_file.n, 0);
    assert_int_equal(config_provider_find(c, SPAN("sock"))->proxy.n, 0);
    assert_null(config_provider_find(c, SPAN("sock"))->proxy_auth);
    p = config_provider_find(c, SPAN("far"));
    assert_span(p->proxy, "http://[::1]:3128");
    assert_true(span_eq(secret_reveal(p->proxy_auth), SPAN("user:very-secret")));
    p = config_provider_find(c, SPAN("own"));
    assert_int_equal(p->local.n_command, 3);
    assert_span(p->local.command[2], "{port}");
    assert_int_equal(p->max_concurrency, 3);
    assert_int_equal(p->local.idle_stop_us, 0);
    const struct config_model *m = config_model_find(c, SPAN("hosted/x-1"), NULL);
    assert_span(m->name, "m");
    assert_int_equal(m->price.input, 0);
    assert_int_equal(m->max_concurrency, 1);
    assert_int_equal(m->max_queue, 0);
    assert_int_equal(m->timeouts.idle_us, 7000000);
    assert_int_equal(m->timeouts.connect_us, 1000000);
    m = config_model_find(c, SPAN("hosted/y"), NULL);
    assert_span(m->id, "y");
    assert_int_equal(m->context, 2000);
}

static void reads_tiers_and_capabilities(void **state)
{
    AUTO(config)
    c = parse("providers:\n  l: {kind: openai, base_url: 'http://h/v1',\n"
              "    price: {input: 1, output: 2, tiers: [{above: 100, input: 3, output: 4,\n"
              "      cached_input: 0.5}, {above: 200, input: 5, output: 6}]}}\n"
              "models:\n  m: {provider: l, capabilities: {tools: true, audio: false,\n"
              "    efforts: [low, high]}}\n");
    const struct config_model *m = &c->models[0];
    assert_int_equal(m->price.n_tiers, 2);
    assert_int_equal(m->price.tiers[0].above_tok, 100);
    assert_int_equal(m->price.tiers[0].cached, 500000000);
    assert_int_equal(m->price.tiers[1].cached, -1);
    assert_int_equal(m->price.tiers[1].output, 6000000000);
    assert_int_equal(m->caps.can[CAP_TOOLS], CAN_YES);
    assert_int_equal(m->caps.can[CAP_AUDIO], CAN_NO);
    assert_int_equal(m->caps.can[CAP_IMAGES], CAN_UNKNOWN);
    assert_string_equal(config_effort_name(2), "low");
    assert_null(config_effort_name(7));
    assert_int_equal(m->caps.efforts, 1U << 2 | 1U << 4);
}

static void finds_names(void **state)
{
    AUTO(config) c = parse(MODELS);
    struct config_model implied;
    const struct config_model *m = config_model_find(c, SPAN("lab/org/other"), &implied);
    assert_ptr_equal(m, &implied);
    assert_span(m->id, "org/other");
    assert_span(m->name, "lab/org/other");
    assert_true(m->implied && m->price.known);
    assert_span(config_model_find(c, SPAN("lab/qwen3"), &implied)->name, "big");
    assert_null(config_model_find(c, SPAN("local/other"), &implied));
    assert_null(config_model_find(c, SPAN("nobody/x"), &implied));
    assert_null(config_model_find(c, SPAN("lab/org/other"), NULL));
    assert_null(config_model_find(c, SPAN("lab/"), &implied));
    assert_null(config_model_find(c, SPAN("lab/a b"), &implied));
    assert_null(config_model_find(c, SPAN(""), &implied));
    struct span near[4];
    assert_int_equal(config_near(c, SPAN("smal"), near, 4), 1);
    assert_span(near[0], "small");
    assert_int_equal(config_near(c, SPAN("unheard-of-name"), near, 4), 0);
    assert_int_equal(config_near(c, SPAN("smal"), near, 0), 0);
    AUTO(config) aliased = parse(MODELS "aliases: {smart: big}\n");
    assert_int_equal(config_near(aliased, SPAN("smrt"), near, 4), 1);
    assert_span(near[0], "smart");
}

static void checks_recipes_of_requests(void **state)
{
    static const struct {
        const char *text, *msg;
    } cases[] = {
        {"{\"panel\":[\"big\",\"lab/any\",\"three\"]}", ""},
        {"{\"panel\":[\"big\",{\"model\":\"smal\"}]}",
         "fusion.panel[1]: no model or recipe is named 'smal'; did you mean 'small'?"},
        {"{\"panel\":[\"big\"],\"judge\":\"nope-at-all\"}",
         "fusion.judge: no model or recipe is named 'nope-at-all'"},
        {"{\"panel\":[\"big\"],\"judge\":[\"big\",\"nope-at-all\"]}",
         "fusion.judge[1]: no model or recipe is named 'nope-at-all'"},
        {"{\"panel\":[{\"model\":\"three\",\"samples\":6}]}",
         "fusion.panel[0]: makes 18 calls with all recipes unfolded; at most 16"},
        {"{\"panel\":[\"two\"]}",
         "fusion.panel[0]: recipe 'three' makes more than 2 levels of recipes"},
    };
    AUTO(config)
    c = parse(MODELS "fusions:\n  three: {panel: [big, small, big]}\n"
                     "  two: {panel: [three]}\n");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        AUTO(arena) a = arena_new(0);
        struct recipe r;
        struct node n;
        struct err e = {0};
        recipe_init(&r);
        assert_true(node_from_json(a, span_of(cases[i].text), "fusion", &n, &e));
        assert_true(recipe_read(n, true, &r, &e));
        assert_int_equal(config_recipe_check(c, &r, &e), cases[i].msg[0] == '\0');
        assert_string_equal(e.msg, cases[i].msg);
        assert_int_equal(e.cls, cases[i].msg[0] ? ERR_INPUT : ERR_NONE);
    }
}

/* One line of the table: what is written, and the whole message. */
static const struct {
    const char *text, *msg;
} bad[] = {
    {"lisen: x\n", "f.yaml:1:1: unknown field 'lisen'; did you mean 'listen'?"},
    {"- a\n", "f.yaml:1:1: must be a map of fields, not a list"},
    {"trace: full\n", "f.yaml:1:8: trace: this field comes with a later version"},
    {"retain: {traces: 7d}\n", "f.yaml:1:18: traces: this field comes with a later version"},
    {"retain: {reasoning: 10ms}\n",
     "f.yaml:1:21: reasoning: must be 1s or more, or 0 to keep none"},
    {"retain: {responses: 0}\n", "f.yaml:1:21: responses: must be 1s or more; `responses: "
                                 "{store: deny}` keeps none"},
    {"responses: {store: maybe}\n", "f.yaml:1:20: store: must be deny or allow, not 'maybe'"},
    {"store: postgresql://x\n",
     "f.yaml:1:8: store: 'sqlite' is the only value so far; others come with a later version"},
    {"limits_store: valkey://x\n", "f.yaml:1:15: limits_store: 'none' is the only value so far; "
                                   "others come with a later version"},
    {"\nlisten: 8420\n", "f.yaml:2:9: listen: must be an address and a port such as 127.0.0.1:8420 "
                         "or [::1]:8420"},
    {"listen: '::1:80'\n", "f.yaml:1:9: listen: must be an address and a port such as "
                           "127.0.0.1:8420 or [::1]:8420"},
    {"listen: 127.0.0.1:70000\n", "f.yaml:1:9: listen: must be an address and a port such as "
                                  "127.0.0.1:8420 or [::1]:8420"},
    {"listen: 0.0.0.0:80\n",
     "f.yaml:1:9: listen: 0.0.0.0 is reachable from other machines and no key is asked for; add "
     "'key: env:FUSOR_API_KEY', or listen on 127.0.0.1, or say 'insecure: true'"},
    {"key: env:T_KEY\nlisten: '[::]:80'\n",
     "f.yaml:2:9: listen: :: is reachable from other machines and keys would travel in the clear; "
     "add 'tls: {cert: ..., key: ...}', or 'trusted_proxies: true' when TLS ends before fusor, or "
     "say 'insecure: true'"},
    {"listen: 0.0.0.0:80\ntls: {cert: a, key: b}\n",
     "f.yaml:1:9: listen: 0.0.0.0 is reachable from other machines and no key is asked for; add "
     "'key: env:FUSOR_API_KEY', or listen on 127.0.0.1, or say 'insecure: true'"},
    {"tls: {cert: a}\n", "f.yaml:1:1: tls: needs both 'cert' and 'key', the paths of PEM files"},
    {"key: sk-abcdef\n", "f.yaml:1:6: key: a secret is given as env:NAME, file:PATH or cred:NAME, "
                         "never as itself"},
    {"key: env:T_MISSING\n", "f.yaml:1:6: key: the environment variable T_MISSING is not set"},
    {"trusted_proxies: [10.0.0.0/8]\n",
     "f.yaml:1:1: trusted_proxies: takes true or false; lists of "
     "addresses come with a later version"},
    {"hosts: [a, 'https://b']\n", "f.yaml:1:12: must be a host name without scheme and port, such "
                                  "as fusor.example.com"},
    {"cors_origins: ['*']\n", "f.yaml:1:16: must be an origin such as https://app.example.com, "
                              "without a path and without '*'"},
    {"keepalive: 10ms\n", "f.yaml:1:12: keepalive: must be from 1s to 1h"},
    {"half_close: maybe\n", "f.yaml:1:13: half_close: must be leave or keep, not 'maybe'"},
    {"state_dir: ''\n", "f.yaml:1:12: state_dir: must be a path"},
    {"workers: 257\n", "f.yaml:1:10: workers: must be a whole number from 0 to 256, not '257'"},
    {"workers: -1\n", "f.yaml:1:10: workers: must be a whole number from 0 to 256, not '-1'"},
    {"providers:\n  a/b: {kind: local}\n",
     "f.yaml:2:3: a/b: is no usable name: use 1 to 64 of A-Z a-z 0-9 . _ : -"},
    {"providers:\n  '': {kind: local}\n",
     "f.yaml:2:3: is no usable name: use 1 to 64 of A-Z a-z 0-9 . _ : -"},
    {"providers:\n  a: local\n", "f.yaml:2:6: a: must be a map of fields, not 'local'"},
    {"providers:\n  a: {base_url: http://x}\n",
     "f.yaml:2:3: a: needs 'kind': openai, anthropic, gemini, mistral, local or recorded"},
    {"providers:\n  a: {kind: opeani}\n",
     "f.yaml:2:13: kind: must be openai, anthropic, gemini, mistral, local or recorded, not "
     "'opeani'"},
    {"providers:\n  a: {kind: anthropic, stream_options: omit}\n",
     "f.yaml:2:40: stream_options: belongs to 'kind: openai', this one is 'kind: anthropic'"},
    {"providers:\n  a: {kind: gemini, proxy: 'socks://x'}\n",
     "f.yaml:2:28: proxy: must be none, or a proxy such as http://proxy.example.com:3128"},
    {"providers:\n  a: {kind: gemini, proxy: 'http://u:pw@p:3128'}\n",
     "f.yaml:2:28: proxy: must not hold a user or password; use 'proxy_auth'"},
    {"providers:\n  a: {kind: gemini, proxy: 'http://p:3128/x'}\n",
     "f.yaml:2:28: proxy: must be a host and a port, without a path"},
    {"providers:\n  a: {kind: gemini, proxy: 'http://:3128'}\n",
     "f.yaml:2:28: proxy: needs a host"},
    {"providers:\n  a: {kind: openai, base_url: 'unix:/s:/v1', proxy: 'http://p:3128'}\n",
     "f.yaml:2:53: proxy: leads to no Unix socket, which 'base_url' is"},
    {"providers:\n  a: {kind: gemini, proxy_auth: env:T_PROXY}\n",
     "f.yaml:2:33: proxy_auth: is for a 'proxy', and there is none"},
    {"providers:\n  a: {kind: gemini, proxy: 'http://p:3128', proxy_auth: env:T_KEY}\n",
     "f.yaml:2:57: proxy_auth: must be of the form user:password"},
    {"providers:\n  a: {kind: gemini, proxy: 'http://p:3128', proxy_auth: 'u:pw'}\n",
     "f.yaml:2:57: proxy_auth: a secret is given as env:NAME, file:PATH or cred:NAME, never as "
     "itself"},
    {"policies:\n  p: {}\n", "f.yaml:2:3: p: needs 'regions', a list such as [eu, on-prem, local]"},
    {"policies:\n  p: {regions: [eu]}\nmodels:\n  m: {provider: local, policy: p}\n",
     "f.yaml:4:32: policy: 'p' does not allow the region '' of this model"},
    {"models:\n  m: {provider: local, policy: p}\n", "f.yaml:2:32: policy: no policy is named 'p'"},
    {"fusions:\n  f: {panel: [smollm2], policy: p}\n",
     "f.yaml:2:33: policy: no policy is named 'p'"},
    {"aliases:\n  a: smolm2\n",
     "f.yaml:2:6: a: no model or recipe is named 'smolm2'; did you mean 'smollm2'?"},
    {"aliases:\n  pretty: smollm2\n  b: pretti\n",
     "f.yaml:3:6: b: no model or recipe is named 'pretti'"},
    {"aliases:\n  a: {}\n", "f.yaml:2:3: a: needs 'to', a model or recipe, or a list of them"},
    {"aliases:\n  a: {to: [{model: smollm2, weight: 0}]}\n",
     "f.yaml:2:7: to: needs a target with a weight above 0"},
    {"aliases:\n  smollm2: fusion\n",
     "f.yaml:2:12: smollm2: is also the name of a model or recipe; choose another"},
    {"aliases:\n  a: smollm2\n  b: a\n",
     "f.yaml:3:6: b: 'a' is an alias; an alias names models and recipes"},
    {"fusions:\n  f: {panel: [a]}\naliases:\n  a: f\n", "f.yaml:2:15: the recipe 'f' names itself"},
    {"breaker: {open: 0}\n", "f.yaml:1:17: open: must be longer than 0"},
    {"providers:\n  a: {kind: openai}\n",
     "f.yaml:2:3: a: needs 'base_url', such as https://api.example.com/v1"},
    {"providers:\n  a: {kind: openai, base_url: 'ftp://x'}\n",
     "f.yaml:2:31: base_url: must begin with https://, http:// or unix:"},
    {"providers:\n  a: {kind: openai, base_url: 'https:///v1'}\n",
     "f.yaml:2:31: base_url: needs a host"},
    {"providers:\n  a: {kind: openai, base_url: 'https://u:p@h/v1'}\n",
     "f.yaml:2:31: base_url: must not hold a user or password; use 'key'"},
    {"providers:\n  a: {kind: openai, base_url: 'https://h/v1?k=1'}\n",
     "f.yaml:2:31: base_url: must not have a query or a fragment"},
    {"providers:\n  a: {kind: openai, base_url: 'unix:v.sock'}\n",
     "f.yaml:2:31: base_url: must be unix: and an absolute path of at most 107 bytes, such as "
     "unix:/run/vllm.sock:/v1"},
    {"providers:\n  a: {kind: openai, base_url: 'http://h h'}\n",
     "f.yaml:2:31: base_url: must be plain ASCII without spaces"},
    {"providers:\n  a: {kind: openai, base_url: 'http://h', command: [x]}\n",
     "f.yaml:2:43: command: belongs to 'kind: local', this one is 'kind: openai'"},
    {"providers:\n  a: {kind: openai, base_url: 'http://h', api: completions}\n",
     "f.yaml:2:48: api: must be chat or responses, not 'completions'"},
    {"providers:\n  a: {kind: local, command: [x, y]}\n",
     "f.yaml:2:20: command: needs {port} in an argument, so that fusor knows where it listens"},
    {"providers:\n  a: {kind: local, command: x}\n",
     "f.yaml:2:29: command: must be a list: the program, then each argument"},
    {"providers:\n  a: {kind: recorded}\n",
     "f.yaml:2:3: a: needs 'file', the path of the recorded answers"},
    {"providers:\n  a: {kind: local, price: cheap}\n",
     "f.yaml:2:27: price: must be 'free' or {input: ..., output: ...} in USD per million tokens, "
     "not 'cheap'"},
    {"providers:\n  a: {kind: local, price: {output: 1}}\n",
     "f.yaml:2:20: price: needs 'input' (and 'output' for what writes), in USD per million tokens"},
    {"providers:\n  a: {kind: local, price: {input: 1, output: 2, tiers: 3}}\n",
     "f.yaml:2:56: tiers: must be a list of at most 3 prices: [{above: 200000, ...}]"},
    {"providers:\n  a: {kind: local, price: {input: 1, output: 2, tiers: [{above: 9, output: "
     "1}]}}\n",
     "f.yaml:2:57: needs 'input' (and 'output' for what writes), in USD per million tokens"},
    {"providers:\n  a: {kind: local, price: {input: 1, output: 2, tiers: [{above: 9, input: 1,\n"
     "    output: 2}, {above: 9, input: 1, output: 2}]}}\n",
     "f.yaml:3:17: needs 'above', a number of tokens larger than the one before"},
    {"models:\n  a: {provider: local, capabilities: {tool: true}}\n",
     "f.yaml:2:39: unknown field 'tool'; did you mean 'tools'?"},
    {"models:\n  a: {provider: local, capabilities: {tools: maybe}}\n",
     "f.yaml:2:46: tools: must be true or false, not 'maybe'"},
    {"models:\n  a: {provider: local, capabilities: {efforts: [low, hihg]}}\n",
     "f.yaml:2:54: must be none, minimal, low, medium, high, xhigh or max, not 'hihg'"},
    {"models:\n  a: {provider: local, capabilities: {efforts: low}}\n",
     "f.yaml:2:48: efforts: must be a list such as [low, medium, high]"},
    {"models:\n  a: {provider: local, max_output: 0}\n",
     "f.yaml:2:36: max_output: must be a whole number from 1 to 2147483648, not '0'"},
    {"providers:\n  a: {kind: local, timeouts: {idle: 0}}\n",
     "f.yaml:2:37: idle: must be longer than 0"},
    {"providers:\n  a: {kind: local, region: 'e u'}\n",
     "f.yaml:2:28: region: is no usable name: use 1 to 64 of A-Z a-z 0-9 . _ : -"},
    {"models:\n  a: {provider: nobody}\n", "f.yaml:2:17: provider: no provider named 'nobody'"},
    {"models:\n  a: {id: x}\n", "f.yaml:2:3: a: needs 'provider'"},
    {"models:\n  auto: {provider: local}\n",
     "f.yaml:2:3: auto: this name is kept for a mode of a later version"},
    {"models:\n  'a b': {provider: local}\n", "f.yaml:2:3: a b: is no usable name: use 1 to 64 of "
                                              "A-Z a-z 0-9 . _ : -; '/' only between such "
                                              "names"},
    {"models:\n  a: {provider: local, id: \"x\\ny\"}\n",
     "f.yaml:2:28: id: must not hold control characters"},
    {"models:\n  a: {provider: local, contxt: 5}\n",
     "f.yaml:2:24: unknown field 'contxt'; did you mean 'context'?"},
    {MODELS "  lab/x: {provider: local}\n",
     "f.yaml:7:3: lab/x: begins with the name of provider 'lab' but belongs to 'local'"},
    {"fusions:\n  smollm2: {panel: [smollm2]}\n",
     "f.yaml:2:3: smollm2: is also the name of a model; choose another"},
    {"fusions:\n  a/b: {panel: [smollm2]}\n",
     "f.yaml:2:3: a/b: is no usable name: use 1 to 64 of A-Z a-z 0-9 . _ : -"},
    {"fusions:\n  a: {mode: merge}\n", "f.yaml:2:3: a: needs 'panel', a list of 1 to 16 members"},
    {"fusions:\n  a:\n    panel:\n      - smollm2\n      - smolm2\n",
     "f.yaml:5:9: no model or recipe is named 'smolm2'; did you mean 'smollm2'?"},
    {"fusions:\n  a:\n    panel:\n      - {model: xyzzy}\n",
     "f.yaml:4:17: model: no model or recipe is named 'xyzzy'"},
    {"fusions:\n  a: {panel: [smollm2], judge: b}\n",
     "f.yaml:2:32: judge: no model or recipe is named 'b'"},
    {"fusions:\n  a: {panel: [smollm2, a]}\n", "f.yaml:2:24: the recipe 'a' names itself"},
    {"fusions:\n  a: {panel: [b]}\n  b: {panel: [a]}\n",
     "f.yaml:2:15: the recipes go in a circle: a -> b -> a"},
    {"fusions:\n  a: {panel: [b]}\n  b: {panel: [c]}\n  c: {panel: [smollm2]}\n",
     "f.yaml:2:15: recipe 'c' makes more than 2 levels of recipes"},
    {"fusions:\n  a: {panel: [b, b, b]}\n  b: {panel: [{model: smollm2, samples: 6}]}\n",
     "f.yaml:2:21: makes 18 calls with all recipes unfolded; at most 16"},
    {"fusions:\n  a: {panel: [smollm2], quorum: 2}\n",
     "f.yaml:2:33: quorum: 2 is more than the 1 members of the panel"},
};

static void refuses_with_the_place(void **state)
{
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct err e = {0};
        AUTO(config) c = config_parse(span_of(bad[i].text), "f.yaml", &e);
        assert_null(c);
        assert_string_equal(e.msg, bad[i].msg);
        assert_int_equal(e.cls, ERR_CONFIG);
    }
}

static const char *const shown[] = {
    "",
    MODELS,
    "providers: {}\n",
    "listen: '[::1]:1'\ntls: {cert: 'c \"1\".pem', key: k.pem}\nhosts: [a, b]\nkey: env:T_KEY\n"
    "drain: 1500ms\nkeepalive_after: 0.0005s\nlog: /l\n"
    "policies: {eu-only: {regions: [eu, local]}}\n"
    "aliases: {prod: {to: [{model: m, weight: 0.25}, c], fallback: h/x, sort: price, policy: "
    "eu-only}}\n"
    "retries: {ambiguous: true, budget_percent: 5}\nbreaker: {failures: 2, open: 500ms}\n"
    "providers:\n"
    "  an: {kind: anthropic, proxy: 'http://p:3128/', proxy_auth: env:T_PROXY, image_urls: "
    "refuse}\n"
    "  re: {kind: openai, base_url: 'https://h/v1', api: responses}\n"
    "  h: {kind: openai, base_url: 'https://h/v1', key: env:T_KEY, region: eu, price: {input: "
    "0.000000001, output: 12.5, cache_write: 3}, cancel: bills_on}\n"
    "  l: {kind: local, image_urls: pass, command: ['./x y', '{port}', "
    "\"t\\u0085\\u2028\\ufeff\\x7f\\n\\\"\\\\\"]}\n"
    "  r: {kind: recorded, file: 'null'}\n"
    "models:\n  m: {provider: h, id: \"\\u00e4 'x'\"}\n  'true': {provider: l}\n"
    "fusions:\n"
    "  c: {mode: vote, panel: [{model: m, samples: 2, temperature: 1e0, weight: 0.1, system: "
    "\"a: b\\n# c\", aspect: '- x', max_tokens: 5, seed: 0}, h/any], judge: [m, 'true'], quorum: "
    "2, policy: eu-only, grace_ms: 1.5s, timeout_ms: 250, max_cost_usd: 0.05, seed: 3, answer: "
    "{regex: "
    "'\\d+|(\"x\")'}, criteria: \"  two\\nlines \", stream_members: true}\n",
    "providers:\n  m: {kind: openai, base_url: 'https://api.eu.mistral.ai/v1'}\n"
    "  or: {kind: openai, base_url: 'https://openrouter.ai/api/v1'}\n"
    "models:\n  a: {provider: m, id: mistral-medium-3}\n"
    "  b: {provider: or, id: x, max_output: 5, capabilities: {efforts: [none, max]},\n"
    "    price: {input: 1, output: 2, cache_write: 3, tiers: [{above: 10, input: 4,\n"
    "      cached_input: 0.000000001, output: 5}, {above: 11, input: 6, output: 7}]}}\n"
    "  c: {provider: or, id: y, capabilities: {tools: false}}\n"
    "  e: {provider: or, id: embed, price: {input: 0.02}}\n"
    "  z: {provider: or, id: embeds-for-nothing, price: {input: 0}}\n",
};

static void shows_what_reads_back(void **state)
{
    for (size_t i = 0; i < COUNT_OF(shown); i++) {
        struct err e = {0};
        struct buf first, second;
        buf_init(&first, MIB(1));
        buf_init(&second, MIB(1));
        AUTO(config) c = parse(shown[i]);
        assert_true(config_show(c, &first, &e));
        AUTO(config) again = config_parse(buf_span(&first), "shown", &e);
        assert_string_equal(e.msg, "");
        assert_true(config_show(again, &second, &e));
        assert_true(span_eq(buf_span(&first), buf_span(&second)));
        assert_int_equal(span_index(buf_span(&first), SPAN("very-secret")), buf_span(&first).n);
        for (size_t k = 0; k < c->n_providers; k++)
            assert_int_equal(again->providers[k].refuse_image_urls,
                             c->providers[k].refuse_image_urls);
        if (c->n_recipes > 0) {
            assert_true(span_eq(c->recipes[0].criteria, again->recipes[0].criteria));
            assert_true(span_eq(c->recipes[0].panel[0].system, again->recipes[0].panel[0].system));
        }
        buf_done(&first);
        buf_done(&second);
    }
}

static void loads_files(void **state)
{
    char folder[] = "/tmp/fusor-config-XXXXXX", path[64];
    struct err e = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.yaml", folder);
    assert_null(config_load(path, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_non_null(strstr(e.msg, "/x.yaml: cannot be opened: No such file or directory"));
    FILE *f = fopen(path, "w");
    fputs("workers: 7\n", f);
    fclose(f);
    AUTO(config) c = config_load(path, &e);
    assert_int_equal(c->workers, 7);
    assert_span(c->source, path);
    setenv("FUSOR_CONFIG", path, 1);
    AUTO(config) d = config_load(NULL, &e);
    assert_int_equal(d->workers, 7);
    unsetenv("FUSOR_CONFIG");
    assert_null(config_load(folder, &e));
    assert_non_null(strstr(e.msg, ": cannot be read: "));
    unlink(path);
    rmdir(folder);
    unsetenv("HOME");
    assert_null(config_parse(SPAN(""), "f.yaml", &e));
    assert_string_equal(e.msg, "f.yaml: neither HOME nor XDG_STATE_HOME is set; write 'state_dir: "
                               "/var/lib/fusor'");
    setenv("XDG_STATE_HOME", "/var/s", 1);
    AUTO(config) x = parse("");
    assert_span(x->state_dir, "/var/s/fusor");
}

static void counts_references(void **state)
{
    struct config *c = parse(MODELS), *same = config_ref(c);
    assert_ptr_equal(c, same);
    config_free(c);
    assert_span(same->models[0].name, "big");
    config_free(same);
    config_free(NULL);
    assert_null(config_ref(NULL));
}

static void survives_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        struct err e = {0};
        mem_fail_at(at);
        AUTO(config) c = config_parse(span_of(shown[3]), "f.yaml", &e);
        done = !mem_failed();
        mem_fail_at(0);
        assert_int_equal(c != NULL, done);
        if (!c)
            assert_int_equal(e.cls, ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(has_defaults, set_up),
        cmocka_unit_test_setup(takes_keyed_providers, set_up),
        cmocka_unit_test_setup(makes_a_recipe_for_the_file, set_up),
        cmocka_unit_test_setup(reads_the_edge, set_up),
        cmocka_unit_test_setup(reads_providers_and_models, set_up),
        cmocka_unit_test_setup(reads_tiers_and_capabilities, set_up),
        cmocka_unit_test_setup(finds_names, set_up),
        cmocka_unit_test_setup(checks_recipes_of_requests, set_up),
        cmocka_unit_test_setup(refuses_with_the_place, set_up),
        cmocka_unit_test_setup(shows_what_reads_back, set_up),
        cmocka_unit_test_setup(loads_files, set_up),
        cmocka_unit_test_setup(counts_references, set_up),
        cmocka_unit_test_setup(survives_no_memory, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
