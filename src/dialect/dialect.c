/* dialect/dialect.c - the registry: a new dialect is a new file and a line here. */
#include "dialect/dialect.h"

static const struct dialect *const dialects[] = {
    &dialect_openai_chat,      &dialect_mistral,
    &dialect_gemini,           &dialect_anthropic_messages,
    &dialect_openai_responses, &dialect_embeddings,
    &dialect_completions,      &dialect_fim,
};

const struct dialect *dialect_find(struct span name)
{
    for (size_t i = 0; i < COUNT_OF(dialects); i++)
        if (span_eq(span_of(dialects[i]->name), name))
            return dialects[i];
    return NULL;
}
