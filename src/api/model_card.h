/* api/model_card.h - one entry of the list of models. Private to api/. */
#ifndef FUSOR_API_MODEL_CARD_H
#define FUSOR_API_MODEL_CARD_H

#include "config/config.h"
#include "json/json.h"

/* created: Unix time in seconds. A failure stands in the writer. */
void api_write_model(struct json_w *w, const struct config *c, const struct config_model *m,
                     int64_t created);
/* A recipe or an alias. */
void api_write_named(struct json_w *w, const struct config *c, struct span name, int64_t created);

#endif
