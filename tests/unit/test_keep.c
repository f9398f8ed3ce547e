/* tests/unit/test_keep.c - requests that go on from kept ones, while the archive is well and while
 * it hangs: who needs it is told, who does not goes on, and a client may leave meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "api_rig.h"
#include "base/clock.h"
#include "disk_rig.h"

/* With a provider that signs reasoning; `more` at the top. */
static void write_places(struct place *p, const char *more)
{
    char text[2000];
    snprintf(text, sizeof text,
             "listen: 127.0.0.1:%d\n"
             "state_dir: %s/state\n"
             "log: %s/log\n"
             "workers: 2\n"
             "responses: {store: allow}\n"
             "%s"
             "providers:\n"
             "  tape: {kind: recorded, file: %s}\n"
             "  signs: {kind: anthropic, base_url: \"http://127.0.0.1:%d\", price: free}\n"
             "models:\n"
             "  m1: {provider: tape}\n"
             "  claude: {provider: signs, id: claude-sonnet-4-5}\n",
             p->port, p->dir, p->dir, more, p->tape, p->upstream_port);
    write_text(p->file, text);
}

static int begin(void **state)
{
    if (place_open(state) != 0)
        return -1;
    disk_fails(NULL, false, false);
    write_places(*state, "");
    return 0;
}

static int end(void **state)
{
    atomic_store(&disk.hold, false);
    return place_close(state);
}

static void body_of(char *body, size_t cap, const char *previous, bool stream)
{
    snprintf(body, cap,
             "{\"model\":\"m1\",\"input\":\"What?\",\"stream\":%s,\"previous_response_id\":%s%s%s}",
             stream ? "true" : "false", previous ? "\"" : "", previous ? previous : "null",
             previous ? "\"" : "");
}

static int respond(struct place *p, const char *previous, bool stream)
{
    char body[300];
    body_of(body, sizeof body, previous, stream);
    return talk(p, p->port, "POST", "/v1/responses", JSON, body);
}

static int respond_and_hold(struct place *p, const char *previous, bool stream)
{
    char body[300];
    body_of(body, sizeof body, previous, stream);
    int fd = dial(p, p->port);
    assert_true(fd >= 0);
    dprintf(fd,
            "POST /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n" JSON
            "content-length: %zu\r\n\r\n%s",
            strlen(body), body);
    return fd;
}

/* The id of the answer in p->reply. */
static void id_of(const struct place *p, char id[static 64])
{
    struct span all = buf_span(&p->reply);
    size_t at = span_index(all, SPAN("\"id\":\"resp_"));
    struct span s = span_from(all, at + 6);
    size_t n = span_index(s, SPAN("\""));
    assert_true(at < all.n && n < 64);
    memcpy(id, s.p, n);
    id[n] = '\0';
}

/* From now on the archive hangs in the next row. */
static void hang(struct place *p)
{
    disk_fails("archive.db", false, false);
    atomic_store(&disk.hold, true);
    assert_int_equal(ask(p, "m1", "What?", false), 200);
    usleep(100000); /* the thread has taken its row */
}

static void wait_for_log(struct place *p, const char *word)
{
    char path[96], text[65536];
    snprintf(path, sizeof path, "%s/log", p->dir);
    for (int i = 0; i < 5000; i++) {
        FILE *f = fopen(path, "r");
        size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f)
            fclose(f);
        text[n] = '\0';
        if (strstr(text, word))
            return;
        usleep(2000);
    }
    fail_msg("the log does not say %s", word);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_goes_on(void **state)
{
    struct place *p = *state;
    char one[64], two[64], path[128];
    serve(p);
    for (int stream = 0; stream < 2; stream++) {
        assert_int_equal(respond(p, NULL, stream), 200);
        assert_true(has(&p->reply, "\"store\":true"));
        id_of(p, one);
        assert_int_equal(respond(p, one, stream), 200);
        id_of(p, two);
        assert_int_equal(respond(p, two, stream), 200);
        assert_int_equal(respond(p, "resp_x", stream), 400);
        assert_true(has(&p->reply, "previous_response_not_found"));
        snprintf(path, sizeof path, "/v1/responses/%s", two);
        assert_int_equal(talk(p, p->port, "GET", path, "", NULL), 200);
        snprintf(path, sizeof path, "/v1/responses/%s/input_items", two);
        assert_int_equal(talk(p, p->port, "GET", path, "", NULL), 200);
        assert_true(has(&p->reply, "\"text\":\"What?\""));
        snprintf(path, sizeof path, "/v1/responses/%s", one);
        assert_int_equal(talk(p, p->port, "DELETE", path, "", NULL), 200);
        assert_int_equal(talk(p, p->port, "DELETE", path, "", NULL), 404);
        assert_int_equal(respond(p, two, stream), 400);
    }
}

/* Who needs the archive is told after a while; all others go on. */
static void test_slow_archive(void **state)
{
    struct place *p = *state;
    char id[64], path[128];
    serve(p);
    assert_int_equal(respond(p, NULL, false), 200);
    id_of(p, id);
    hang(p);
    int whole = respond_and_hold(p, id, false), stream = respond_and_hold(p, id, true);
    assert_int_equal(ask(p, "m1", "What?", true), 200);
    assert_int_equal(respond(p, NULL, true), 200); /* kept if it can be */
    listen_to(p, whole, NULL);
    assert_int_equal(status_of(p), 503);
    assert_true(has(&p->reply, "archive_unavailable"));
    listen_to(p, stream, NULL);
    assert_int_equal(status_of(p), 503);
    close(whole);
    close(stream);
    snprintf(path, sizeof path, "/v1/responses/%s", id);
    assert_int_equal(talk(p, p->port, "GET", path, "", NULL), 503);
    atomic_store(&disk.hold, false);
    assert_int_equal(respond(p, id, false), 200);
}

/* A stream is kept alive meanwhile, and then ends with an error event. */
static void test_kept_alive(void **state)
{
    struct place *p = *state;
    char id[64];
    write_places(p, "keepalive: 1s\nkeepalive_after: 1s\n");
    serve(p);
    assert_int_equal(respond(p, NULL, false), 200);
    id_of(p, id);
    hang(p);
    int fd = respond_and_hold(p, id, true);
    listen_to(p, fd, NULL);
    close(fd);
    assert_int_equal(status_of(p), 200);
    assert_true(has(&p->reply, "\n: "));
    assert_true(has(&p->reply, "archive_unavailable"));
    atomic_store(&disk.hold, false);
}

/* The client leaves, or the server ends, while the archive is asked. */
static void test_left(void **state)
{
    struct place *p = *state;
    char id[64], path[128];
    serve(p);
    assert_int_equal(respond(p, NULL, false), 200);
    id_of(p, id);
    hang(p);
    int a = respond_and_hold(p, id, false), b = respond_and_hold(p, id, true);
    int c = dial(p, p->port);
    snprintf(path, sizeof path, "/v1/responses/%s", id);
    dprintf(c, "GET %s HTTP/1.1\r\nhost: localhost\r\n\r\n", path);
    usleep(200000);
    close(a);
    close(b);
    close(c);
    wait_for_log(p, "left");
    usleep(200000);
    atomic_store(&disk.hold, false); /* what comes now nobody waits for */
    assert_int_equal(respond(p, id, false), 200);
}

static void test_cut(void **state)
{
    struct place *p = *state;
    char id[64];
    write_places(p, "drain: 300ms\n");
    serve(p);
    assert_int_equal(respond(p, NULL, false), 200);
    id_of(p, id);
    hang(p);
    int fd = respond_and_hold(p, id, false);
    usleep(200000);
    kill(getpid(), SIGTERM);
    listen_to(p, fd, NULL);
    close(fd);
    assert_int_equal(status_of(p), 503);
    assert_true(has(&p->reply, "shutting down"));
    atomic_store(&disk.hold, false);
    join(p);
}

/* Reasoning is looked for no longer than it is worth. */
static void test_reasoning_is_not_waited_for(void **state)
{
    static const char body[] =
        "{\"model\":\"claude\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
        "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":\"tool\","
        "\"tool_call_id\":\"c1\",\"content\":\"r\"}],\"tools\":[{\"type\":\"function\","
        "\"function\":{\"name\":\"f\"}}]}";
    struct place *p = *state;
    serve(p);
    for (int slow = 0; slow < 2; slow++) {
        if (slow)
            hang(p);
        int fd = dial(p, p->port);
        int64_t before = clock_mono_us();
        dprintf(fd,
                "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n" JSON
                "content-length: %zu\r\n\r\n%s",
                strlen(body), body);
        int up = upstream_accept(p);
        assert_true((clock_mono_us() - before > 400000) == slow);
        close(up);
        listen_to(p, fd, "error");
        close(fd);
    }
    wait_for_log(p, "reasoning_not_found");
    atomic_store(&disk.hold, false);
}

#define AT_PLACE(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        AT_PLACE(test_goes_on),    AT_PLACE(test_slow_archive),
        AT_PLACE(test_kept_alive), AT_PLACE(test_left),
        AT_PLACE(test_cut),        AT_PLACE(test_reasoning_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, install_shim, NULL);
}
