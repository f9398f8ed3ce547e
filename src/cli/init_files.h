/* cli/init_files.h - what `init` leaves on the disk: key files (0600) in the directory `keys`
 * (0700) next to the configuration, and the configuration itself, which appears whole or not at
 * all. Private to cli/. */
#ifndef FUSOR_CLI_INIT_FILES_H
#define FUSOR_CLI_INIT_FILES_H

#include <limits.h>

#include "base/err.h"
#include "base/secret.h"

#define INIT_FILES 8

struct init_files {
    char config[PATH_MAX]; /* absolute */
    char keys[PATH_MAX];   /* the directory */
    bool absent;           /* the directory of ->config, so far */
    bool made_parent, made_dir, done;
    char made[INIT_FILES][PATH_MAX]; /* key files of this run */
    size_t n_made;
};

/* Finds where the file goes: path, else $FUSOR_CONFIG, else ./fusor.yaml. Its directory must exist
 * or be makeable. ERR_CONFLICT when the file is there already. */
MUST_USE bool init_files_open(struct init_files *f, const char *path, struct err *e);
/* Removes what was made, unless the configuration stands. */
void init_files_close(struct init_files *f);
/* Writes a key, or finds it there from an earlier run; its path goes to out (PATH_MAX). */
MUST_USE bool init_files_key(struct init_files *f, const char *name, const struct secret *key,
                             char *out, struct err *e);
/* Checks the text as a configuration and puts it in place. ERR_CONFLICT when somebody else was
 * faster. */
MUST_USE bool init_files_config(struct init_files *f, struct span text, struct err *e);

#endif
