/* http/resolve.c - host names to addresses, off the loop's thread, kept for 30 s. Calls for the
 * same name wait for one look-up. */
#include <arpa/inet.h>
#include <netdb.h>
#include <sys/un.h>

#include "base/mem.h"
#include "http/client_priv.h"

struct name {
    struct list node;           /* in client->names */
    struct list waiters;        /* of calls, while looking */
    struct http_client *client; /* NULL: the client is gone, only the answer is awaited */
    struct addresses *addresses;
    uv_getaddrinfo_t req;
    int64_t until_us;
    bool looking;
    char host[256];
};

/* --- addresses -------------------------------------------------------------------------------- */
struct addresses *addresses_ref(struct addresses *a)
{
    a->refs++;
    return a;
}

void addresses_free(struct addresses *a)
{
    if (a != NULL && --a->refs == 0)
        mem_free(a);
}

static struct addresses *addresses_new(struct err *e)
{
    struct addresses *a = mem_zalloc(sizeof *a);
    if (a == NULL)
        err_set(e, ERR_NOMEM, "http: no memory to resolve a name");
    else
        a->refs = 1;
    return a;
}

/* Unix sockets and numeric hosts need no look-up. */
static bool is_direct(const struct http_origin *o, struct sockaddr_storage *out, socklen_t *out_n)
{
    struct sockaddr_un *un = (struct sockaddr_un *)out;
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (o->host[0] == '\0') {
        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, o->unix_path, sizeof un->sun_path);
        *out_n = sizeof *un;
        return true;
    }
    if (inet_pton(AF_INET, o->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        *out_n = sizeof *v4;
        return true;
    }
    v6->sin6_family = AF_INET6;
    *out_n = sizeof *v6;
    return inet_pton(AF_INET6, o->host, &v6->sin6_addr) == 1;
}

/* --- names ------------------------------------------------------------------------------------ */
static void name_free(struct name *n)
{
    list_remove(&n->node);
    addresses_free(n->addresses);
    mem_free(n);
}

static void keep_answer(struct name *n, const struct addrinfo *ai, struct err *e)
{
    struct addresses *a = addresses_new(e);
    for (; a != NULL && ai != NULL && a->n < ADDRESSES; ai = ai->ai_next) {
        if (ai->ai_addrlen > sizeof a->a[0])
            continue;
        memcpy(&a->a[a->n], ai->ai_addr, ai->ai_addrlen);
        a->len[a->n++] = ai->ai_addrlen;
    }
    if (a != NULL && a->n == 0) {
        err_set(e, ERR_CONNECT, "http: %s has no address", n->host);
        addresses_free(TAKE(a));
    }
    addresses_free(n->addresses);
    n->addresses = a;
}

static void on_answer(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct name *n = req->data;
    struct err e;
    n->looking = false;
    if (n->client == NULL) {
        uv_freeaddrinfo(res);
        name_free(n);
        return;
    }
    err_set(&e, ERR_CONNECT, "http: cannot find the address of %s: %s", n->host,
            status != 0 ? uv_strerror(status) : "");
    if (status == 0) {
        keep_answer(n, res, &e);
        n->until_us = loop_now_us(n->client->loop) + DNS_KEEP_US;
    }
    uv_freeaddrinfo(res);
    /* The waiters' callbacks may start calls for the same name, so they wait in a list of ours. */
    struct addresses *a = n->addresses != NULL && status == 0 ? addresses_ref(n->addresses) : NULL;
    struct list waiting;
    list_init(&waiting);
    for (struct list *w; (w = list_pop(&n->waiters)) != NULL;)
        list_push(&waiting, w);
    if (a == NULL)
        name_free(n);
    for (struct list *w; (w = list_pop(&waiting)) != NULL;)
        call_resolved(LIST_ENTRY(w, struct http_call, waiter), a, &e);
    addresses_free(a);
}

static struct name *name_get(struct http_client *c, const char *host, struct err *e)
{
    for (struct list *i = c->names.next; i != &c->names; i = i->next) {
        struct name *n = LIST_ENTRY(i, struct name, node);
        if (strcmp(n->host, host) == 0)
            return n;
    }
    struct name *n = mem_zalloc(sizeof *n);
    if (n == NULL) {
        err_set(e, ERR_NOMEM, "http: no memory to resolve a name");
        return NULL;
    }
    n->client = c;
    snprintf(n->host, sizeof n->host, "%s", host);
    list_init(&n->waiters);
    list_push(&c->names, &n->node);
    return n;
}

static bool look_up(struct name *n, struct err *e)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    n->req.data = n;
    int rc = uv_getaddrinfo(loop_uv(n->client->loop), &n->req, on_answer, n->host, NULL, &hints);
    if (rc != 0)
        return err_set(e, ERR_CONNECT, "http: cannot look up %s: %s", n->host, uv_strerror(rc));
    n->looking = true;
    return true;
}

enum resolve resolve(struct http_call *call, struct err *e)
{
    struct sockaddr_storage direct;
    socklen_t len;
    const struct http_origin *hop = call_hop(call);
    if (is_direct(hop, &direct, &len)) {
        call->addresses = addresses_new(e);
        if (call->addresses == NULL)
            return RESOLVE_FAILED;
        call->addresses->n = 1;
        call->addresses->a[0] = direct;
        call->addresses->len[0] = len;
        return RESOLVED;
    }
    struct name *n = name_get(call->client, hop->host, e);
    if (n == NULL)
        return RESOLVE_FAILED;
    if (!n->looking && n->addresses != NULL && loop_now_us(call->client->loop) < n->until_us) {
        call->addresses = addresses_ref(n->addresses);
        return RESOLVED;
    }
    if (!n->looking && !look_up(n, e)) {
        name_free(n);
        return RESOLVE_FAILED;
    }
    list_push(&n->waiters, &call->waiter);
    return RESOLVING;
}

void resolve_drop(struct http_client *c)
{
    while (!list_empty(&c->names)) {
        struct name *n = LIST_ENTRY(c->names.next, struct name, node);
        list_remove(&n->node);
        n->client = NULL;
        if (!n->looking)
            name_free(n);
        else
            uv_cancel((uv_req_t *)&n->req); /* on_answer() frees it */
    }
}
