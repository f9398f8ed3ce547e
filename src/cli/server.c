/* cli/server.c - reaching a running server: its Unix socket, or $FUSOR_URL with $FUSOR_KEY. */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/secret.h"
#include "cli/cli.h"
#include "cli/fetch.h"
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

bool cli_find_local(const struct config *c, struct cli_server *out)
{
    char path[108];
    *out = (struct cli_server){0};
    if (!app_socket_path(c, path, sizeof path) || !answers(path))
        return false;
    (void)snprintf(out->url, sizeof out->url, "unix:%s:/v1", path);
    return true;
}

bool cli_find_server(const struct config *c, struct cli_server *out, struct err *e)
{
    *out = (struct cli_server){0};
    *e = (struct err){0};
    const char *url = getenv("FUSOR_URL");
    if (url && *url)
        return url_server(url, out, e);
    return cli_find_local(c, out);
}

void cli_server_done(struct cli_server *s)
{
    secret_free(s->key);
    s->key = NULL;
}

/* --- one call
 * ---------------------------------------------------------------------------------------------- */

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
    struct fetch f = {.url = span_of(s->url),
                      .path = span_of(path),
                      .whole_path = true, /* /v1/... and /admin/... */
                      .body = body,
                      .key = s->key,
                      .timeouts = {3000000, 60000000, 60000000, 120000000},
                      .out = out};
    fetch_all(&f, 1);
    if (f.status == 0) {
        *e = f.err;
        return false;
    }
    return f.status < 400 || fail_as_said(f.status, buf_span(out), e);
}
