/* test_child_runtime.c - the embedded runtime, for real: runtime/serve.py with its model, where
 * runtime/setup.sh has installed it ($FUSOR_RUNTIME, or .runtime in the source tree). */
#include "child_rig.h"

static const char *runtime_dir(void)
{
    const char *env = getenv("FUSOR_RUNTIME");
    const char *dir = env != NULL && *env != '\0' ? env : FUSOR_SOURCE_ROOT "/.runtime";
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    if (access(path, R_OK) == 0)
        return dir;
    print_message("the embedded model runtime is not installed (make demo installs it)\n");
    skip();
    return NULL;
}

/* The status of a chat; its body in *out. */
static int chat(int port, const char *key, char *out, size_t cap)
{
    static const char body[] =
        "{\"model\":\"smollm2\",\"max_tokens\":12,\"temperature\":0,"
        "\"messages\":[{\"role\":\"user\",\"content\":\"Name three colours.\"}]}";
    int status = -1;
    size_t n = 0;
    int fd = raw_connect(port);
    fcntl(fd, F_SETFL, 0);
    dprintf(fd,
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n%s%s%s"
            "content-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
            key != NULL ? "authorization: Bearer " : "", key != NULL ? key : "",
            key != NULL ? "\r\n" : "", sizeof body - 1, body);
    for (ssize_t got; n < cap - 1 && (got = read(fd, out + n, cap - 1 - n)) > 0;)
        n += (size_t)got;
    close(fd);
    out[n] = '\0';
    (void)sscanf(out, "HTTP/1.1 %d", &status);
    return status;
}

static void test_embedded_model(void **state)
{
    struct rig r;
    struct use u;
    char text[8192];
    rig_open_at(&r, "context: 1024, parallel: 2, threads: 2", runtime_dir());
    use_begin(&u, &r);
    use_wait(&u, &r);
    assert_int_equal(chat(u.at.port, u.at.key, text, sizeof text), 200);
    assert_non_null(strstr(text, "\"completion_tokens\":"));
    assert_null(strstr(text, ".gguf")); /* no path of this machine */
    assert_int_equal(chat(u.at.port, NULL, text, sizeof text), 401);
    assert_int_equal(chat(u.at.port, "00000000000000000000000000000000", text, sizeof text), 401);
    use_end(&u, &r, false);
    rig_close(&r);
}

static void test_no_such_model(void **state)
{
    struct rig r;
    struct use u;
    rig_open_at(&r, "model: /nowhere/model.gguf", runtime_dir());
    use_begin(&u, &r);
    PUMP(r.l, u.ready + u.failed > 0);
    assert_int_equal(u.failed, 1);
    assert_non_null(strstr(u.e.msg, "there is no model file /nowhere/model.gguf"));
    use_end(&u, &r, false);
    rig_close(&r);
}

static void test_broken_model(void **state)
{
    struct rig r;
    struct use u;
    const char *dir = runtime_dir();
    rig_open_at(&r, "model: %/bad.gguf", dir);
    append_line(in_dir(&r, "bad.gguf"), "this is no model");
    use_begin(&u, &r);
    PUMP(r.l, u.ready + u.failed > 0);
    assert_int_equal(u.failed, 1);
    assert_non_null(strstr(u.e.msg, "cannot serve"));
    assert_non_null(strstr(u.e.msg, "bad.gguf"));
    use_end(&u, &r, false);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    child_rig_main(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embedded_model),
        cmocka_unit_test(test_no_such_model),
        cmocka_unit_test(test_broken_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
