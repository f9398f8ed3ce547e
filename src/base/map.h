/* base/map.h - a hash map from span to pointer, open addressing, insertion order kept for walks.
 *
 * Keys are borrowed: they must outlive the map (they usually live in the value or its arena). */
#ifndef FUSOR_BASE_MAP_H
#define FUSOR_BASE_MAP_H

#include "base/auto.h"
#include "base/span.h"

struct map;

MUST_USE struct map *map_new(void);
void map_free(struct map *m);
AUTO_DEFINE(map)
/* NULL when absent; m may be NULL. */
void *map_get(const struct map *m, struct span key);
/* Replaces value and key (the old key may lie in the old value), in the same place of the order.
 * False when memory runs out; the map is then unchanged. value may not be NULL. */
MUST_USE bool map_put(struct map *m, struct span key, void *value);
size_t map_count(const struct map *m);
/* The i-th entry in order of insertion, 0 <= i < map_count(). */
void *map_at(const struct map *m, size_t i, struct span *out_key);

#endif
