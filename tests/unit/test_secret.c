/* tests/unit/test_secret.c - where secrets come from, and that nothing of them is left to read. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"

#define VALUE "sk-Zq8-very-secret"

static char folder[] = "/tmp/test_secret.XXXXXX";

static const char *put_file(const char *name, struct span bytes)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
    assert_int_equal(fclose(f), 0);
    return path;
}

static void assert_value(const struct secret *s, struct span want)
{
    assert_non_null(s);
    assert_true(span_eq(secret_reveal(s), want));
}

static void assert_refused(const char *ref, struct span hidden)
{
    struct err e = {0};
    assert_null(secret_load(span_of(ref), &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_true(e.msg[0] != '\0');
    struct span msg = span_of(e.msg);
    assert_int_equal(span_index(msg, hidden), msg.n);
}

static void test_new_ref_free(void **state)
{
    struct secret *s = secret_new(SPAN("a\0b"));
    struct secret *same = secret_ref(s);
    assert_ptr_equal(s, same);
    secret_free(s);
    assert_value(same, SPAN("a\0b"));
    secret_free(same);
    AUTO(secret) empty = secret_new((struct span){NULL, 0});
    assert_value(empty, SPAN(""));
    assert_null(secret_ref(NULL));
    assert_int_equal(secret_reveal(NULL).n, 0);
    assert_null(secret_new((struct span){"", SIZE_MAX}));
    secret_free(NULL);
}

static void *take_and_drop(void *arg)
{
    for (int i = 0; i < 10000; i++)
        secret_free(secret_ref(arg));
    secret_free(arg);
    return NULL;
}

static void test_refs_from_threads(void **state)
{
    pthread_t threads[4];
    struct secret *s = secret_new(SPAN(VALUE));
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, secret_ref(s)), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_value(s, SPAN(VALUE));
    secret_free(s);
}

static void test_env(void **state)
{
    struct err e;
    setenv("T_KEY", "  " VALUE "\n", 1);
    AUTO(secret) first = secret_load(SPAN("env:T_KEY"), &e);
    assert_value(first, SPAN(VALUE));
    assert_string_equal(getenv("T_KEY"), "");
    AUTO(secret) reload = secret_load(SPAN("env:T_KEY"), &e);
    assert_ptr_equal(reload, first);
    setenv("T_KEY", "newer", 1);
    AUTO(secret) newer = secret_load(SPAN("env:T_KEY"), &e);
    assert_value(newer, SPAN("newer"));
    unsetenv("T_KEY");
    AUTO(secret) gone = secret_load(SPAN("env:T_KEY"), &e);
    assert_value(gone, SPAN("newer"));
    assert_value(first, SPAN(VALUE));
}

static void test_env_refused(void **state)
{
    unsetenv("T_NONE");
    setenv("T_EMPTY", "", 1);
    setenv("T_BLANK", " \t\n", 1);
    setenv("T_LINES", VALUE "\r\nX-Evil: 1", 1);
    assert_refused("env:T_NONE", SPAN(VALUE));
    assert_refused("env:T_EMPTY", SPAN(VALUE));
    assert_refused("env:T_BLANK", SPAN(VALUE));
    assert_refused("env:T_LINES", SPAN("Zq8"));
    assert_refused("env:T_LINES", SPAN("Evil"));
    assert_refused("env:", SPAN(VALUE));
    assert_refused("env:" VALUE, SPAN("Zq8"));
    assert_refused("env:9A", SPAN("9A"));
    assert_refused("env:A=B", SPAN("A=B"));
    assert_string_equal(getenv("T_LINES"), VALUE "\r\nX-Evil: 1");
    struct err e = {0};
    assert_null(secret_load(SPAN("env:T_NONE"), &e));
    assert_non_null(strstr(e.msg, "T_NONE"));
}

static void test_file(void **state)
{
    char ref[300], big[KIB(8) + 1];
    struct err e = {0};
    snprintf(ref, sizeof ref, "file:%s", put_file("key", SPAN("\t" VALUE "\r\n\n")));
    AUTO(secret) s = secret_load(span_of(ref), &e);
    assert_value(s, SPAN(VALUE));
    memset(big, 'k', sizeof big);
    put_file("key", span_make(big, LIMIT_SECRET_BYTES));
    AUTO(secret) full = secret_load(span_of(ref), &e);
    assert_value(full, span_make(big, LIMIT_SECRET_BYTES));
    put_file("key", span_make(big, LIMIT_SECRET_BYTES + 1));
    assert_refused(ref, SPAN("kkkk"));
    put_file("key", SPAN(""));
    assert_refused(ref, SPAN(VALUE));
    put_file("key", SPAN(" \n"));
    assert_refused(ref, SPAN(VALUE));
    put_file("key", SPAN(VALUE "\nmore"));
    assert_refused(ref, SPAN("Zq8"));
    put_file("key", SPAN(VALUE "\0"));
    assert_refused(ref, SPAN("Zq8"));
    unlink(ref + strlen("file:"));
    assert_refused(ref, SPAN(VALUE));
    snprintf(ref, sizeof ref, "file:%s", folder);
    assert_refused(ref, SPAN(VALUE));
    assert_refused("file:", SPAN(VALUE));
}

static void test_cred(void **state)
{
    struct err e = {0};
    unsetenv("CREDENTIALS_DIRECTORY");
    assert_refused("cred:key", SPAN(VALUE));
    setenv("CREDENTIALS_DIRECTORY", "", 1);
    assert_refused("cred:key", SPAN(VALUE));
    setenv("CREDENTIALS_DIRECTORY", folder, 1);
    const char *path = put_file("key", SPAN(VALUE "\n"));
    AUTO(secret) s = secret_load(SPAN("cred:key"), &e);
    assert_value(s, SPAN(VALUE));
    assert_refused("cred:../key", SPAN(VALUE));
    char inner[200];
    snprintf(inner, sizeof inner, "%s/in", folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    path = put_file("in/key", SPAN(VALUE));
    assert_refused("cred:in/key", SPAN(VALUE));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(inner), 0);
    path = put_file("key", SPAN(VALUE));
    assert_refused("cred:..", SPAN(VALUE));
    assert_refused("cred:", SPAN(VALUE));
    assert_refused("cred:other", SPAN(VALUE));
    unlink(path);
}

static void test_other_refs(void **state)
{
    static const char *const refs[] = {"",  VALUE,          "ENV:T_KEY",     "env",
                                       ":", "vault:" VALUE, "literal:" VALUE};
    for (size_t i = 0; i < COUNT_OF(refs); i++)
        assert_refused(refs[i], SPAN("Zq8"));
    struct err e = {0};
    assert_null(secret_load((struct span){NULL, 0}, &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    assert_null(secret_load(SPAN("file:/etc\0/passwd"), &e));
    char *longest = mem_alloc(10000);
    memset(longest, 'a', 10000);
    memcpy(longest, "file:", 5);
    assert_null(secret_load(span_make(longest, 10000), &e));
    assert_int_equal(e.cls, ERR_CONFIG);
    mem_free(longest);
}

static void test_no_memory(void **state)
{
    bool done = false;
    for (unsigned long at = 1; !done; at++) {
        struct err e = {0};
        setenv("T_NOMEM", VALUE, 1);
        mem_fail_at(at);
        AUTO(secret) s = secret_load(SPAN("env:T_NOMEM"), &e);
        done = s != NULL;
        assert_int_equal(!done, mem_failed());
        mem_fail_at(0);
        assert_int_equal(e.cls, done ? ERR_NONE : ERR_NOMEM);
        assert_string_equal(getenv("T_NOMEM"), done ? "" : VALUE);
        assert_true(at < 10);
    }
    mem_fail_at(1);
    assert_null(secret_new(SPAN("x")));
    mem_fail_at(0);
}

/* The block of the environment that a process begins with is what /proc shows: only a fresh process
 * has a secret there. Exit status 0: it was there before the load and is not after it. */
static int child(void)
{
    char bytes[8192];
    struct err e;
    for (int round = 0; round < 2; round++) {
        int fd = open("/proc/self/environ", O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
        close(fd);
        if (n < 0)
            return 10;
        bool there = memmem(bytes, (size_t)n, "very-sec", 8) != NULL;
        bool name = memmem(bytes, (size_t)n, "T_CHILD=", 8) != NULL;
        if (there != (round == 0) || !name)
            return 11 + round;
        AUTO(secret) s = secret_load(SPAN("env:T_CHILD"), &e);
        if (!s || !span_eq(secret_reveal(s), SPAN(VALUE)))
            return 13;
    }
    return 0;
}

static void test_environ_is_wiped(void **state)
{
    char *argv[] = {(char *)"test_secret", (char *)"child", NULL};
    char *envp[] = {(char *)"A=1", (char *)"T_CHILD=" VALUE, (char *)"Z=2", NULL};
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execve("/proc/self/exe", argv, envp);
        _exit(99);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return child();
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_ref_free),
        cmocka_unit_test(test_refs_from_threads),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_env_refused),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_cred),
        cmocka_unit_test(test_other_refs),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_environ_is_wiped),
    };
    if (!mkdtemp(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
