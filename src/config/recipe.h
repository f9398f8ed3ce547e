/* config/recipe.h - the settings of a fusion: a recipe of the file, or one request's `fusion`
 * object merged over it field by field (docs/fusion.md has the table of fields). Plain values. */
#ifndef FUSOR_CONFIG_RECIPE_H
#define FUSOR_CONFIG_RECIPE_H

#include "base/limits.h"
#include "config/node.h"

enum fusion_mode { FUSION_MERGE, FUSION_BEST_OF, FUSION_VOTE };

/* How answers are brought to a comparable form for `vote`. */
enum fusion_answer {
    FUSION_ANSWER_AUTO,
    FUSION_ANSWER_CHOICE,
    FUSION_ANSWER_NUMBER,
    FUSION_ANSWER_BOOLEAN,
    FUSION_ANSWER_JSON,
    FUSION_ANSWER_TEXT,
    FUSION_ANSWER_REGEX
};

struct config_policy; /* config/config.h */

struct recipe_member {
    struct span model;       /* as written: a model's name or provider/id */
    struct span temperature; /* number as text; p NULL: the request's */
    struct span system;      /* added behind the system prompt of this member; may be empty */
    struct span aspect;      /* what the judge is told this answer is strong at; may be empty */
    int64_t max_tokens;      /* -1: the request's, else the default */
    int64_t samples;         /* 1..16: that many members of their own */
    double weight;           /* > 0 */
    int64_t seed;            /* -1 none; sent upstream with the sample index added */
};

struct recipe {
    struct span name; /* empty for an ad-hoc one */
    enum fusion_mode mode;
    struct recipe_member panel[LIMIT_PANEL];
    size_t n_panel;
    struct span judges[4];
    size_t n_judges;         /* 0: panel[0] judges; with vote, a tie goes to panel order */
    bool judge_from_request; /* named by the request itself (fusion.md section 4, one survivor) */
    struct span criteria;
    int64_t quorum;        /* 0: default (all for 1-2 members, n-1 from 3) */
    int64_t grace_us;      /* -1: auto */
    int64_t timeout_us;    /* 0: none beyond the four timers */
    int64_t max_cost_nusd; /* -1: none */
    int64_t seed;          /* -1: drawn per request */
    enum fusion_answer answer;
    struct span answer_regex; /* POSIX extended; group 1, else the whole match; only
                               * from the file */
    bool stream_members;
    const struct config_policy *policy; /* where the calls' data may go; NULL: anywhere */
};

/* A recipe with every default and an empty panel. */
void recipe_init(struct recipe *r);
/* Reads a map over *r: what it names is set, the rest stays. Spans live in the node's arena.
 * Unknown fields, wrong types and ranges are errors at their place. Fields that come with later
 * versions (mode debate and auto, hedge, ...) are refused with a message that says so.
 * from_request: sets judge_from_request when it names a judge. */
MUST_USE bool recipe_read(struct node n, bool from_request, struct recipe *r, struct err *e);
/* The panel with `samples` unfolded: how many members it makes (1..LIMIT_PANEL checked by read). */
size_t recipe_members(const struct recipe *r);
/* How many usable answers of n members are enough. */
int64_t recipe_quorum(const struct recipe *r, size_t n);
const char *fusion_mode_name(enum fusion_mode m);

#endif
