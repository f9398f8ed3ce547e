/* base/map.c - see base/map.h.
 *
 * Entries stand in an array in order of insertion; beside it a table of 1-based entry numbers (0:
 * free) is probed linearly. Nothing is ever removed, so there are no tombstones. */
#include "base/map.h"

#include <assert.h>

#include "base/mem.h"

#define FIRST_SLOTS 16 /* a power of two; half of the slots at most are taken */

struct entry {
    struct span key;
    uint64_t hash;
    void *value;
};

struct map {
    struct entry *entries; /* room for slots_n / 2 */
    uint32_t *slots;
    size_t n, slots_n;
};

struct map *map_new(void)
{
    return mem_zalloc(sizeof(struct map));
}

void map_free(struct map *m)
{
    if (!m)
        return;
    mem_free(m->entries);
    mem_free(m->slots);
    mem_free(m);
}

/* The address differs from run to run, so nobody outside can choose keys that collide. */
static uint64_t hash_of(const struct map *m, struct span key)
{
    return span_hash(key, (uint64_t)(uintptr_t)m);
}

/* The slot that holds key, or the free one where it belongs. */
static uint32_t *slot_of(const struct map *m, struct span key, uint64_t hash)
{
    size_t mask = m->slots_n - 1;
    size_t i = hash & mask;
    while (m->slots[i] != 0) {
        const struct entry *entry = &m->entries[m->slots[i] - 1];
        if (entry->hash == hash && span_eq(entry->key, key))
            break;
        i = (i + 1) & mask;
    }
    return &m->slots[i];
}

void *map_get(const struct map *m, struct span key)
{
    if (!m || m->n == 0)
        return NULL;
    uint32_t slot = *slot_of(m, key, hash_of(m, key));
    return slot != 0 ? m->entries[slot - 1].value : NULL;
}

/* Doubles the table. On failure the map is as before. */
static bool grow(struct map *m)
{
    size_t slots_n = m->slots_n > 0 ? m->slots_n * 2 : FIRST_SLOTS;
    if (slots_n > UINT32_MAX)
        return false;
    struct entry *entries = mem_realloc(m->entries, slots_n / 2 * sizeof *entries);
    if (!entries)
        return false;
    m->entries = entries;
    uint32_t *slots = mem_zalloc(slots_n * sizeof *slots);
    if (!slots)
        return false;
    mem_free(m->slots);
    m->slots = slots;
    m->slots_n = slots_n;
    for (size_t i = 0; i < m->n; i++)
        *slot_of(m, entries[i].key, entries[i].hash) = (uint32_t)(i + 1);
    return true;
}

bool map_put(struct map *m, struct span key, void *value)
{
    assert(value);
    uint64_t hash = hash_of(m, key);
    uint32_t *slot = m->slots_n > 0 ? slot_of(m, key, hash) : NULL;
    if (slot && *slot != 0) {
        /* The old key may live in the old value, which the caller is about to free. */
        m->entries[*slot - 1].key = key;
        m->entries[*slot - 1].value = value;
        return true;
    }
    if (m->n == m->slots_n / 2) {
        if (!grow(m))
            return false;
        slot = slot_of(m, key, hash);
    }
    m->entries[m->n++] = (struct entry){key, hash, value};
    *slot = (uint32_t)m->n;
    return true;
}

size_t map_count(const struct map *m)
{
    return m ? m->n : 0;
}

void *map_at(const struct map *m, size_t i, struct span *out_key)
{
    assert(i < map_count(m));
    if (out_key)
        *out_key = m->entries[i].key;
    return m->entries[i].value;
}
