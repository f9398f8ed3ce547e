/* disk_rig.h - a bad disk under SQLite: a VFS of our own stands between it and the file system,
 * counts the fsyncs, and fails or hangs on command. */
#ifndef FUSOR_TESTS_DISK_RIG_H
#define FUSOR_TESTS_DISK_RIG_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/span.h"

/* What goes wrong with files whose name holds `victim`. */
static struct {
    _Atomic(const char *) victim;
    atomic_bool fail_sync, fail_write, hold;
    atomic_bool spare_wal; /* only the database itself is the victim */
    atomic_int syncs;      /* of the victim */
} disk;

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
    const char *name; /* SQLite's, good while the file is open */
};

static inline sqlite3_file *real_of(sqlite3_file *f)
{
    return ((struct shim_file *)f)->real;
}

static inline bool is_victim(sqlite3_file *f)
{
    struct span name = span_of(((struct shim_file *)f)->name);
    const char *victim = atomic_load(&disk.victim);
    if (atomic_load(&disk.spare_wal) && span_ends(name, SPAN("-wal")))
        return false;
    return victim != NULL && span_index(name, span_of(victim)) < name.n;
}

static inline int shim_close(sqlite3_file *f)
{
    return real_of(f)->pMethods->xClose(real_of(f));
}
static inline int shim_read(sqlite3_file *f, void *to, int n, sqlite3_int64 at)
{
    return real_of(f)->pMethods->xRead(real_of(f), to, n, at);
}
static inline int shim_write(sqlite3_file *f, const void *from, int n, sqlite3_int64 at)
{
    while (is_victim(f) && atomic_load(&disk.hold))
        usleep(1000);
    if (is_victim(f) && atomic_load(&disk.fail_write))
        return SQLITE_FULL;
    return real_of(f)->pMethods->xWrite(real_of(f), from, n, at);
}
static inline int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static inline int shim_sync(sqlite3_file *f, int flags)
{
    if (is_victim(f)) {
        atomic_fetch_add(&disk.syncs, 1);
        if (atomic_load(&disk.fail_sync))
            return SQLITE_IOERR_FSYNC;
    }
    return real_of(f)->pMethods->xSync(real_of(f), flags);
}
static inline int shim_size(sqlite3_file *f, sqlite3_int64 *out)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), out);
}
static inline int shim_lock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xLock(real_of(f), level);
}
static inline int shim_unlock(sqlite3_file *f, int level)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static inline int shim_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static inline int shim_control(sqlite3_file *f, int op, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static inline int shim_sector(sqlite3_file *f)
{
    return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static inline int shim_traits(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

/* Version 1 has no shared memory: WAL then works only for a single connection. That the store runs
 * on it shows that it needs no second one. */
static const sqlite3_io_methods shim_methods = {
    .iVersion = 1,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_traits,
};

static inline int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags,
                            int *out)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct shim_file *shim = (struct shim_file *)f;
    shim->real = (sqlite3_file *)(shim + 1);
    shim->name = name;
    int rc = real->xOpen(real, name, shim->real, flags, out);
    shim->base.pMethods = rc == SQLITE_OK ? &shim_methods : NULL;
    return rc;
}

static sqlite3_vfs shim_vfs;

static inline int install_shim(void **state)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    shim_vfs = *real;
    shim_vfs.zName = "shim";
    shim_vfs.pNext = NULL;
    shim_vfs.pAppData = real;
    shim_vfs.szOsFile = (int)sizeof(struct shim_file) + real->szOsFile;
    shim_vfs.xOpen = shim_open;
    return sqlite3_vfs_register(&shim_vfs, 1) == SQLITE_OK ? 0 : -1;
}

static inline void disk_fails(const char *victim, bool sync, bool write)
{
    atomic_store(&disk.syncs, 0);
    atomic_store(&disk.fail_sync, sync);
    atomic_store(&disk.fail_write, write);
    atomic_store(&disk.victim, victim);
}

#endif
