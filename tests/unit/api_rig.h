/* api_rig.h - the whole program in a test: a state directory of its own, a configuration,
 * app_serve() on a thread, and a client that speaks raw HTTP over TCP or the Unix socket. */
#ifndef FUSOR_TESTS_API_RIG_H
#define FUSOR_TESTS_API_RIG_H

#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "http_util.h"

#include "api/app.h"

#define CLIENT_KEY "key-of-clients-0123456789"

struct place {
    char dir[64], file[96], tape[96];
    int lfd, upstream_port; /* the other end of provider `lab` */
    int port;
    struct app *app;
    pthread_t thread;
    bool serving, served;
    struct buf reply;
};

static inline void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    fclose(f);
}

/* more: further top-level fields. models: further models. */
static inline void write_config(struct place *p, const char *more, const char *models)
{
    char text[2000];
    snprintf(text, sizeof text,
             "listen: 127.0.0.1:%d\n"
             "state_dir: %s/state\n"
             "log: %s/log\n"
             "workers: 2\n"
             "%s"
             "providers:\n"
             "  tape: {kind: recorded, file: %s}\n"
             "  lab: {kind: openai, base_url: \"http://127.0.0.1:%d/v1\", price: free,"
             " max_concurrency: 2, max_queue: 1, timeouts: {total: 20s}}\n"
             "models:\n"
             "  m1: {provider: tape}\n"
             "  m2: {provider: tape}\n"
             "  lab: {provider: lab}\n"
             "%s"
             "fusions:\n"
             "  council: {mode: vote, panel: [m1, m2]}\n",
             p->port, p->dir, p->dir, more, p->tape, p->upstream_port, models);
    write_text(p->file, text);
}

static inline int free_port(void)
{
    struct err e;
    int port = 0, fd = http_listen_tcp("127.0.0.1", 0, &port, &e);
    assert_true(fd >= 0);
    close(fd);
    return port;
}

static inline int place_open(void **state)
{
    struct err e;
    struct place *p = mem_zalloc(sizeof *p);
    if (p == NULL)
        return -1;
    snprintf(p->dir, sizeof p->dir, "/tmp/fusor-api-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->file, sizeof p->file, "%s/fusor.yaml", p->dir);
    snprintf(p->tape, sizeof p->tape, "%s/tape.jsonl", p->dir);
    write_text(p->tape, "{\"question\": \"What?\", \"outputs\": {\"m1\": \"This.\", "
                        "\"m2\": \"This.\"}}\n");
    p->lfd = http_listen_tcp("127.0.0.1", 0, &p->upstream_port, &e);
    p->port = free_port();
    buf_init(&p->reply, MIB(64));
    write_config(p, "", "");
    *state = p;
    return 0;
}

static inline int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static inline struct app *open_app(struct place *p, bool serve)
{
    struct err e = {0};
    struct app *a = app_open(&(struct app_options){p->file, serve, 2}, &e);
    if (a == NULL)
        fail_msg("%s", e.msg);
    return a;
}

static inline void *serve_main(void *arg)
{
    struct place *p = arg;
    struct err e = {0};
    p->served = app_serve(p->app, &e);
    return NULL;
}

/* --- a client
 * ------------------------------------------------------------------------------------------- */

/* port 0: the Unix socket. -1: nobody there. */
static inline int dial(struct place *p, int port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(un.sun_path, sizeof un.sun_path, "%s/state/fusor.sock", p->dir);
    int fd = socket(port ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = port ? connect(fd, (struct sockaddr *)&in, sizeof in)
                  : connect(fd, (struct sockaddr *)&un, sizeof un);
    if (rc == 0)
        return fd;
    close(fd);
    return -1;
}

/* Reads until the end, or until `until` has come. */
static inline void listen_to(struct place *p, int fd, const char *until)
{
    char tmp[4096];
    struct err e;
    buf_clear(&p->reply);
    while (until == NULL || !has(&p->reply, until)) {
        struct pollfd pf = {.fd = fd, .events = POLLIN};
        if (poll(&pf, 1, 20000) != 1)
            fail_msg("no answer: %.*s", SPAN_ARG(buf_span(&p->reply)));
        ssize_t n = read(fd, tmp, sizeof tmp);
        if (n <= 0)
            break;
        assert_true(buf_add(&p->reply, span_make(tmp, (size_t)n), &e));
    }
}

static inline int status_of(const struct place *p)
{
    int status = -1;
    char line[64] = "";
    struct span s = span_upto(buf_span(&p->reply), sizeof line - 1);
    if (s.n > 0)
        memcpy(line, s.p, s.n);
    (void)sscanf(line, "HTTP/1.1 %d", &status);
    return status;
}

/* A whole request on a connection of its own; the answer is in p->reply. fields: "name:
 * value\r\n"...; body NULL: none. */
static inline int talk(struct place *p, int port, const char *method, const char *path,
                       const char *fields, const char *body)
{
    int fd = dial(p, port);
    assert_true(fd >= 0);
    dprintf(fd, "%s %s HTTP/1.1\r\n%s%sconnection: close\r\n", method, path,
            strstr(fields, "host:") ? "" : "host: 127.0.0.1\r\n", fields);
    if (body != NULL)
        dprintf(fd, "content-length: %zu\r\n", strlen(body));
    dprintf(fd, "\r\n%s", body ? body : "");
    listen_to(p, fd, NULL);
    close(fd);
    return status_of(p);
}

#define JSON "content-type: application/json\r\n"

static inline int ask(struct place *p, const char *model, const char *question, bool stream)
{
    char body[300];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":"
             "\"%s\"}]}",
             model, stream ? "true" : "false", question);
    return talk(p, p->port, "POST", "/v1/chat/completions", JSON, body);
}

/* The same without waiting for an answer. */
static inline int ask_and_hold(struct place *p, const char *model, bool stream)
{
    char body[300];
    int fd = dial(p, p->port);
    assert_true(fd >= 0);
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\",\"content\":"
             "\"What?\"}]}",
             model, stream ? "true" : "false");
    dprintf(fd,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" JSON
            "content-length: %zu\r\n\r\n%s",
            strlen(body), body);
    return fd;
}

/* --- the server
 * ------------------------------------------------------------------------------------------ */

static inline void serve(struct place *p)
{
    p->app = open_app(p, true);
    p->serving = true;
    assert_int_equal(pthread_create(&p->thread, NULL, serve_main, p), 0);
    for (int i = 0;; i++) {
        int fd = dial(p, 0);
        if (fd >= 0) {
            close(fd);
            return;
        }
        if (i == 10000)
            fail_msg("does not listen");
        usleep(1000);
    }
}

static inline void join(struct place *p)
{
    assert_int_equal(pthread_join(p->thread, NULL), 0);
    p->serving = false;
    app_free(TAKE(p->app));
}

static inline void stop(struct place *p)
{
    kill(getpid(), SIGTERM);
    join(p);
}

static inline int place_close(void **state)
{
    struct place *p = *state;
    if (p->serving)
        stop(p);
    app_free(p->app);
    close(p->lfd);
    buf_done(&p->reply);
    nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    mem_free(p);
    return 0;
}

static inline int place_serve(void **state)
{
    if (place_open(state) != 0)
        return -1;
    serve(*state);
    return 0;
}

/* The other end of `lab`: a connection with a whole request. */
static inline int upstream_accept(struct place *p)
{
    char tmp[4096];
    struct pollfd pf = {.fd = p->lfd, .events = POLLIN};
    if (poll(&pf, 1, 20000) != 1)
        fail_msg("no upstream call");
    int fd = accept4(p->lfd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, tmp, sizeof tmp) > 0);
    return fd;
}

#endif
