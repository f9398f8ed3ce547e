/* config/config.h - the configuration file as one immutable, reference-counted snapshot.
 *
 * Validated whole: unknown fields, wrong types, dangling names and cycles are errors with file,
 * line and column. Secrets are read while loading. After that nothing changes: any thread may read;
 * a reload makes a new snapshot, and a request keeps the one it began with. */
#ifndef FUSOR_CONFIG_CONFIG_H
#define FUSOR_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/map.h"
#include "base/secret.h"
#include "config/recipe.h"

enum provider_kind {
    PROVIDER_OPENAI,
    PROVIDER_ANTHROPIC,
    PROVIDER_GEMINI,
    PROVIDER_MISTRAL,
    PROVIDER_LOCAL,
    PROVIDER_RECORDED
};

/* Nano-USD per million tokens, -1 unknown: what a whole call costs whose input is above that many
 * tokens. */
struct price_tier {
    int64_t above_tok;
    int64_t input, cached, cache_write, output;
};

#define PRICE_TIERS 3 /* a long input has at most that many prices of its own */

/* Nano-USD per million tokens, -1 unknown. */
struct price {
    int64_t input, cached, cache_write, output;
    bool known; /* input is (free: all 0); what writes nothing, such as embeddings, has no more */
    size_t n_tiers;
    struct price_tier tiers[PRICE_TIERS]; /* above_tok rising */
};

/* What a model can do; all zeros: nothing is known of it. */
enum config_can { CAN_UNKNOWN = 0, CAN_NO, CAN_YES };

enum config_cap {
    CAP_TOOLS,
    CAP_PARALLEL_TOOLS, /* several calls in one answer */
    CAP_IMAGES,         /* in; so the next two */
    CAP_DOCUMENTS,
    CAP_AUDIO,
    CAP_STRUCTURED_OUTPUTS, /* answers held to a JSON schema */
    CAP_REASONING,
    CAP_SAMPLING, /* takes temperature and top_p */
    CONFIG_CAPS
};

struct config_caps {
    enum config_can can[CONFIG_CAPS];
    unsigned efforts; /* of reasoning: bit i for config_effort_name(i); 0 unknown */
};

struct timeouts {
    int64_t connect_us, first_byte_us, idle_us, total_us;
};

struct config_local {           /* kind: local */
    struct span const *command; /* argv with {model} {port} {context} {parallel} {key_file} */
    size_t n_command;           /* 0: the embedded runtime */
    struct span model_file;     /* empty: the embedded model */
    int64_t context, parallel;  /* tokens per slot; slots */
    int64_t threads;            /* 0: all cores */
    int64_t idle_stop_us;       /* no call for that long: stopped; 0 never */
    int64_t start_timeout_us;   /* from start to ready */
};

/* How an upstream is brought to answer in JSON of a schema. */
enum config_structured {
    CONFIG_STRUCTURED_NATIVE,      /* it is sent the schema and enforces it */
    CONFIG_STRUCTURED_JSON_OBJECT, /* it knows response_format json_object; the schema is prompted
                                    */
    CONFIG_STRUCTURED_PROMPT,      /* it knows neither */
};

/* What becomes of a field that an upstream cannot take. */
enum config_unsupported { UNSUPPORTED_REJECT, UNSUPPORTED_WARN, UNSUPPORTED_DROP };

struct config_provider {
    struct span name;
    enum provider_kind kind;
    const char *dialect;        /* what is spoken to it: a name of dialect/; NULL: recorded */
    struct span base_url;       /* hosted */
    struct secret *key;         /* NULL: none */
    struct span key_ref;        /* "env:OPENAI_API_KEY": for config show */
    struct span ca_file;        /* empty: the system's */
    struct span proxy;          /* "http://host:port"; empty: none */
    struct secret *proxy_auth;  /* "user:password"; NULL: none */
    struct span proxy_auth_ref; /* for config show */
    struct span region;         /* may be empty */
    bool has_price;
    struct price price;                  /* for models that set none */
    bool omit_stream_options;            /* stream_options: omit */
    bool max_completion_tokens;          /* max_tokens_field: max_completion_tokens */
    bool cancel_bills_on;                /* cancel: bills_on */
    bool refuse_image_urls;              /* image_urls: refuse */
    bool keep_tags;                      /* reasoning_tags: none */
    enum config_unsupported unsupported; /* on_unsupported */
    enum config_structured structured;
    int64_t max_concurrency; /* per model; 0: no limit */
    int64_t max_queue;       /* waiting calls per model beyond that */
    struct span file;        /* recorded: the JSONL */
    struct config_local local;
    struct timeouts timeouts;
};

/* Reached over the network at base_url, with any model id. */
static inline bool config_is_hosted(const struct config_provider *p)
{
    return p->kind <= PROVIDER_MISTRAL;
}

/* To which regions data may go. */
struct config_policy {
    struct span name;
    const struct span *regions;
    size_t n_regions;
};

/* What may be asked of a model, or of a recipe as a whole. */
struct config_traits {
    int64_t context, max_output; /* 0 unknown */
    struct config_caps caps;
};

struct config_model {
    struct span name; /* what clients say */
    const struct config_provider *provider;
    struct span id;             /* what the provider is told */
    struct span region;         /* where its data goes; may be empty: unknown */
    int64_t context;            /* window in tokens, 0 unknown */
    int64_t max_output;         /* tokens of one answer at most, thinking included; 0 unknown */
    int64_t default_max_tokens; /* bound where the client sets none, under a cost cap */
    struct price price;
    struct config_caps caps;
    struct span retires; /* "2026-08-31", when the provider turns it off; empty: not announced */
    int64_t max_concurrency, max_queue;
    struct timeouts timeouts;
    bool implied; /* "provider/id" that the file does not list */
};

struct config_target {
    struct span name; /* of a model or recipe */
    double weight;    /* 0: only when others fail */
};

/* Which of an alias's targets goes first, beside their weights. */
enum config_sort {
    CONFIG_SORT_NONE,
    CONFIG_SORT_PRICE,
    CONFIG_SORT_LATENCY,
    CONFIG_SORT_THROUGHPUT
};

struct config_alias {
    struct span name;
    const struct config_target *to,
        *fallback; /* one of `to` by weight, then the others, then these */
    size_t n_to, n_fallback;
    enum config_sort sort;
    const struct config_policy *policy; /* NULL: none */
};

struct config_listen {
    char address[64];
    int port;
};

struct config {
    struct span source; /* file name, or "(defaults)" */
    struct config_listen listen;
    struct span tls_cert, tls_key; /* empty: plain */
    const struct span *hosts;      /* Host names answered beside the loopback ones */
    size_t n_hosts;
    const struct span *cors_origins;
    size_t n_cors_origins;
    bool insecure;           /* beyond loopback without key or TLS, on purpose */
    bool trusted_proxies;    /* TLS ends before us */
    struct secret *api_key;  /* clients' bearer key; NULL: none asked (loopback only) */
    struct span api_key_ref; /* "env:FUSOR_API_KEY": for config show */
    int64_t workers;         /* 0: one per core */
    int64_t drain_us;
    int64_t keepalive_us;       /* SSE keep-alive interval */
    int64_t keepalive_after_us; /* first one before content; 0: never before content */
    bool half_close_keep;
    struct span state_dir; /* resolved */
    struct span log_file;  /* empty: stderr */
    bool keep_responses;   /* what `store: true` of Responses asks for is done */
    int64_t retain_responses_us;
    int64_t retain_reasoning_us; /* signed reasoning, by tool call; 0: not kept */

    const struct config_provider *providers;
    size_t n_providers;
    const struct config_model *models; /* listed ones */
    size_t n_models;
    const struct config_policy *policies;
    size_t n_policies;
    const struct config_alias *aliases;
    size_t n_aliases;
    bool retry_ambiguous;         /* also what may have been answered is asked elsewhere */
    int64_t retry_budget_percent; /* of the requests with several targets, together */
    int64_t breaker_failures;     /* in a row */
    int64_t breaker_open_us;
    const struct recipe *recipes; /* what they name exists; "fusion" is always among them, unless no
                                   * model is listed and no provider has a key */
    size_t n_recipes;
};

/* owned. path NULL: $FUSOR_CONFIG, ./fusor.yaml, $XDG_CONFIG_HOME/fusor/fusor.yaml,
 * ~/.config/fusor/fusor.yaml, else the defaults (local model, and each provider whose usual
 * variable is set). ERR_CONFIG with "file:line:col: message" and what to do. Not thread safe (reads
 * the environment). */
MUST_USE struct config *config_load(const char *path, struct err *e);
/* owned; from text, for tests and `config check -`. */
MUST_USE struct config *config_parse(struct span text, const char *name, struct err *e);
struct config *config_ref(struct config *c); /* thread safe */
void config_free(struct config *c);          /* drops one reference, thread safe */
AUTO_DEFINE(config)

/* NULL when absent. */
const struct config_provider *config_provider_find(const struct config *c, struct span name);
const struct recipe *config_recipe_find(const struct config *c, struct span name);
const struct config_alias *config_alias_find(const struct config *c, struct span name);
const struct config_policy *config_policy_find(const struct config *c, struct span name);
/* A listed model (by its name, "provider/name" or "provider/id"), or "provider/id" of a known
 * provider: then *implied is filled and returned, and borrows `name` (implied NULL: listed ones
 * only). NULL when neither. "local/x" and "recorded/x" name only what there is. */
const struct config_model *config_model_find(const struct config *c, struct span name,
                                             struct config_model *implied);
/* That every name in the panel and among the judges of a request's own recipe finds a model or a
 * recipe, without cycles, in at most LIMIT_FUSION_DEPTH levels and LIMIT_LEAF_CALLS calls: else
 * ERR_INPUT with ->param "fusion.panel[1]". Recipes of the file have passed it. */
MUST_USE bool config_recipe_check(const struct config *c, const struct recipe *r, struct err *e);
/* Up to `max` names (models, recipes, aliases) nearest to `name`, best first: for "did you mean".
 */
size_t config_near(const struct config *c, struct span name, struct span *out, size_t max);
/* A provider that many people have a key of: it is there without a file when its variable is set,
 * and `fusor init` asks for it. */
struct config_usual {
    const char *name, *variable, *kind;
    const char *dialect; /* what its kind speaks */
    const char *base_url;
    bool max_completion_tokens;
    const char *model, *id; /* its current model: what clients say, what it is told */
};
/* Strongest first: the first one with a key judges. NULL behind the last. */
const struct config_usual *config_usual(size_t i);
/* One of them in a file. */
struct config_use {
    const struct config_usual *usual;
    const char *base_url; /* NULL: the usual one */
    struct span key_ref;  /* "file:/..." */
};
/* `providers` and `models` as YAML: the local model, and the given ones. */
MUST_USE bool config_write_usual(const struct config_use *use, size_t n, struct buf *out,
                                 struct err *e);
/* The snapshot as YAML that config_parse() reads back, secrets as references. */
MUST_USE bool config_show(const struct config *c, struct buf *out, struct err *e);

/* What a recipe or an alias as a whole may be asked for: the least of all its members, or of all
 * that it may stand for. */
struct config_traits config_traits_of(const struct config *c, struct span name);
/* "tools", "images", ...: as the file writes it; static. */
const char *config_cap_name(enum config_cap cap);
/* "none", "minimal", "low", ...; NULL behind the last. */
const char *config_effort_name(unsigned i);

#endif
