/* base/list.h - an intrusive doubly linked list; a node is in one list at a time. */
#ifndef FUSOR_BASE_LIST_H
#define FUSOR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/auto.h"

struct list {
    struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
/* Adds n at the end of head. */
static inline void list_push(struct list *head, struct list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}
/* Takes n out of its list; a node that is in none (list_init) is fine. */
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
/* First node taken out, or NULL. */
static inline struct list *list_pop(struct list *head)
{
    if (list_empty(head))
        return NULL;
    struct list *n = head->next;
    list_remove(n);
    return n;
}
#define LIST_ENTRY(node, type, member) CONTAINER_OF(node, type, member)

#endif
