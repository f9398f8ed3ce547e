/* cli/server.c - reaching a running server: its Unix socket, or $FUSOR_URL with $FUSOR_KEY. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "base/arena.h"
#include "http/tls.h"
#include "json/json.h"

static bool answers(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path)
        return false;
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    (void)close(fd);
    return ok;
}

static bool url_server(const char *url, struct cli_server *out, struct err *e)
{
    struct span u = span_of(url);
    struct http_origin origin;
    while (span_ends(u, SPAN("/")))
        u = span_upto(u, u.n - 1);
    bool has_v1 = span_ends(u, SPAN("/v1"));
    int n = snprintf(out->url, sizeof out->url, "%.*s%s", SPAN_ARG(u), has_v1 ? "" : "/v1");
    if (n >= (int)sizeof out->url)
        return err_set(e, ERR_CONFIG, "FUSOR_URL is too long");
    if (!http_origin_parse(span_of(out->url), &origin, e))
        return err_prefix(e, "FUSOR_URL");
    const char *key = getenv("FUSOR_KEY");
    if (key && *key) {
        out->key = secret_load(SPAN("env:FUSOR_KEY"), e);
        if (!out->key)
            return false;
    }
    out->remote = true;
    return true;
}

bool cli_find_server(const struct config *c, struct cli_server *out, struct err *e)
{
    char path[108];
    *out = (struct cli_server){0};
    *e = (struct err){0};
    const char *url = getenv("FUSOR_URL");
    if (url && *url)
        return url_server(url, out, e);
    if (!app_socket_path(c, path, sizeof path) || !answers(path))
        return false;
    (void)snprintf(out->url, sizeof out->url, "unix:%s:/v1", path);
    return true;
}

void cli_server_done(struct cli_server *s)
{
    secret_free(s->key);
    s->key = NULL;
}

/* --- one blocking call ------------------------------------------------------------------------------------- */

struct call {
    struct loop *loop;
    struct buf *out;
    struct err err;
    int status;
    bool failed;
};

static void on_head(void *owner, int status, const struct http_header *h, size_t n)
{
    struct call *c = owner;
    (void)h;
    (void)n;
    c->status = status;
}

static void on_body(void *owner, struct span bytes)
{
    struct call *c = owner;
    if (!c->failed && !buf_add(c->out, bytes, &c->err))
        c->failed = true;
}

static void on_end(void *owner)
{
    struct call *c = owner;
    loop_stop(c->loop);
}

static void on_error(void *owner, const struct err *e)
{
    struct call *c = owner;
    c->err = *e;
    c->failed = true;
    loop_stop(c->loop);
}

static const struct http_call_ops call_ops = {on_head, on_body, on_end, on_error};

static bool run_call(const struct cli_server *s, const struct http_origin *o, const char *path,
                     struct span body, struct call *c, struct err *e)
{
    AUTO(loop) l = loop_new(e);
    AUTO(tls) tls = o->tls ? tls_client_new(NULL, e) : NULL;
    if (!l || (o->tls && !tls))
        return false;
    struct http_client *client = http_client_new(l, 1, 1000000, e);
    if (!client)
        return false;
    char auth[LIMIT_SECRET_BYTES + 16] = "";
    if (s->key) {
        struct span k = secret_reveal(s->key);
        (void)snprintf(auth, sizeof auth, "Bearer %.*s", SPAN_ARG(k));
    }
    struct http_header h[] = {{SPAN("content-type"), SPAN("application/json")},
                              {SPAN("authorization"), span_of(auth)}};
    struct http_call_spec spec = {.origin = o,
                                  .tls = tls,
                                  .method = body.n ? "POST" : "GET",
                                  .target = span_of(path),
                                  .headers = h,
                                  .n_headers = s->key ? 2 : 1,
                                  .body = body,
                                  .timeouts = {3000000, 60000000, 60000000, 120000000}};
    c->loop = l;
    bool ok = http_call_start(client, &spec, &call_ops, c, e) != NULL;
    if (ok)
        loop_run(l);
    http_client_free(client);
    return ok;
}

/* Our own server's words, as it said them: nothing of an upstream is between. */
static bool fail_as_said(int status, struct span body, struct err *e)
{
    static const struct {
        int status;
        enum err_class cls;
    } classes[] = {{400, ERR_INPUT},     {401, ERR_AUTH},      {402, ERR_BUDGET},
                   {403, ERR_FORBIDDEN}, {404, ERR_NOT_FOUND}, {409, ERR_CONFLICT},
                   {413, ERR_LIMIT},     {429, ERR_BUSY},      {503, ERR_UNAVAILABLE}};
    enum err_class cls = ERR_UPSTREAM;
    json_val *root = NULL;
    AUTO(arena) a = arena_new(0);
    for (size_t i = 0; i < COUNT_OF(classes); i++)
        if (classes[i].status == status)
            cls = classes[i].cls;
    if (!a || !json_parse(a, body, &root, NULL))
        root = NULL;
    struct span said = json_str(json_get(json_get(root, "error"), "message"));
    if (said.n > 0)
        return err_set(e, cls, "%.*s", SPAN_ARG(said));
    return err_set(e, cls, "the server answered with status %d", status);
}

bool cli_call(const struct cli_server *s, const char *path, struct span body, struct buf *out,
              struct err *e)
{
    struct http_origin o;
    struct call c = {.out = out};
    if (!http_origin_parse(span_of(s->url), &o, e))
        return false;
    o.base[0] = '\0'; /* paths here are whole: /v1/... and /admin/... */
    if (!run_call(s, &o, path, body, &c, e))
        return false;
    if (c.failed) {
        *e = c.err;
        return false;
    }
    if (c.status < 400)
        return true;
    return fail_as_said(c.status, buf_span(out), e);
}
