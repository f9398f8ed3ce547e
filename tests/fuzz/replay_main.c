/* tests/fuzz/replay_main.c - runs a fuzz target over every file of its corpus, without libFuzzer.
 *
 * Each input stands alone in memory of exactly its size, so that the address sanitizer sees a read
 * past its end. Names are printed before they are run: the last one printed is the one that failed.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int complain(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
}

static int replay(const char *path, size_t size)
{
    uint8_t *data = mem_alloc(size);
    FILE *f = fopen(path, "rb");
    int rc = data == NULL || f == NULL || fread(data, 1, size, f) != size ? complain(path) : 0;
    if (f != NULL)
        fclose(f);
    if (rc == 0) {
        printf("%s\n", path);
        fflush(stdout);
        (void)LLVMFuzzerTestOneInput(data, size); /* its value only steers the fuzzer */
    }
    mem_free(data);
    return rc;
}

int main(int argc, char **argv)
{
    struct dirent **names;
    int n = argc == 2 ? scandir(argv[1], &names, NULL, alphasort) : -1;
    if (n < 0) {
        fprintf(stderr, "usage: replay_NAME CORPUS-DIRECTORY\n");
        return 2;
    }
    int inputs = 0, failed = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
        free(names[i]);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        inputs++;
        failed += replay(path, (size_t)st.st_size);
    }
    free(names);
    printf("%d inputs\n", inputs);
    if (inputs == 0)
        fprintf(stderr, "%s: the corpus is empty\n", argv[1]);
    return failed > 0 || inputs == 0;
}
