/* http/listen.c - see http/server.h: listening sockets, and naming who holds a taken port. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/span.h"
#include "http/server.h"

enum { BACKLOG = 1024 };

/* --- who holds a port: /proc/net/tcp gives the socket's inode, /proc/PID/fd its owner --------- */
/* The inode of the listening socket on that port in one of the tables, 0: none. */
static unsigned long find_inode(const char *table, int port)
{
    char line[512];
    unsigned long found = 0;
    FILE *f = fopen(table, "re");
    if (f == NULL)
        return 0;
    while (found == 0 && fgets(line, sizeof line, f) != NULL) {
        unsigned local_port, state;
        unsigned long inode;
        /* "  0: 0100007F:20E4 00000000:0000 0A tx:rx tr:when retrnsmt uid timeout inode ..." */
        int n =
            sscanf(line, " %*u: %*32[0-9A-Fa-f]:%x %*32[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*u %lu",
                   &local_port, &state, &inode);
        if (n == 3 && state == 0x0A && local_port == (unsigned)port)
            found = inode;
    }
    fclose(f);
    return found;
}

static bool has_socket(const char *pid, unsigned long inode)
{
    char path[300], want[40], link[64];
    snprintf(want, sizeof want, "socket:[%lu]", inode);
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *dir = opendir(path);
    bool found = false;
    for (struct dirent *d; dir != NULL && !found && (d = readdir(dir)) != NULL;) {
        snprintf(path, sizeof path, "/proc/%.20s/fd/%.20s", pid, d->d_name);
        ssize_t n = readlink(path, link, sizeof link);
        found = n > 0 && span_eq(span_make(link, (size_t)n), span_of(want));
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

/* "pid 12 (nginx)" or "" when /proc does not tell, as for another user's process. */
static void name_holder(int port, char *out, size_t cap)
{
    unsigned long inode = find_inode("/proc/net/tcp", port);
    if (inode == 0)
        inode = find_inode("/proc/net/tcp6", port);
    out[0] = '\0';
    DIR *dir = inode != 0 ? opendir("/proc") : NULL;
    for (struct dirent *d; dir != NULL && out[0] == '\0' && (d = readdir(dir)) != NULL;) {
        if (d->d_name[0] < '0' || d->d_name[0] > '9' || !has_socket(d->d_name, inode))
            continue;
        char path[64], comm[32] = "?";
        snprintf(path, sizeof path, "/proc/%.20s/comm", d->d_name);
        FILE *f = fopen(path, "re");
        if (f != NULL && fgets(comm, sizeof comm, f) != NULL)
            comm[strcspn(comm, "\n")] = '\0';
        if (f != NULL)
            fclose(f);
        snprintf(out, cap, "pid %.20s (%s)", d->d_name, comm);
    }
    if (dir != NULL)
        closedir(dir);
}

/* --- TCP -------------------------------------------------------------------------------------- */
static bool parse_address(const char *address, int port, struct sockaddr_storage *out,
                          socklen_t *out_n)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *out_n = sizeof *v4;
        return true;
    }
    if (inet_pton(AF_INET6, address, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *out_n = sizeof *v6;
    return true;
}

static int listen_failed(int fd, int sys, const char *address, int port, struct err *e)
{
    char holder[96];
    if (fd >= 0)
        close(fd);
    if (sys != EADDRINUSE) {
        err_set(e, ERR_CONFIG, "cannot listen on %s port %d: %s", address, port, strerror(sys));
        return -1;
    }
    name_holder(port, holder, sizeof holder);
    err_set(e, ERR_CONFIG, "cannot listen on %s port %d: it is in use by %s", address, port,
            holder[0] != '\0' ? holder : "another process");
    return -1;
}

int http_listen_tcp(const char *address, int port, int *out_port, struct err *e)
{
    struct sockaddr_storage a;
    socklen_t n;
    int one = 1;
    if (port < 0 || port > 65535 || !parse_address(address, port, &a, &n)) {
        err_set(e, ERR_CONFIG, "'%s' port %d is no address to listen on", address, port);
        return -1;
    }
    int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return listen_failed(-1, errno, address, port, e);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a.ss_family == AF_INET6) /* "::" does not take the IPv4 port too: listen on both by name */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return listen_failed(fd, errno, address, port, e);
    if (out_port != NULL)
        *out_port = ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
                                                 : ((struct sockaddr_in6 *)&a)->sin6_port);
    return fd;
}

/* --- Unix ------------------------------------------------------------------------------------- */
/* A socket file that nobody accepts on is left over from a process that died. */
static bool is_live(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    bool live = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 || errno == EAGAIN;
    close(fd);
    return live;
}

static int unix_failed(int fd, int sys, const char *path, struct err *e)
{
    if (fd >= 0)
        close(fd);
    err_set(e, ERR_CONFIG, "cannot listen on %s: %s", path, strerror(sys));
    return -1;
}

int http_listen_unix(const char *path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof a.sun_path)
        return unix_failed(-1, ENAMETOOLONG, path, e);
    memcpy(a.sun_path, path, strlen(path) + 1);
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return unix_failed(-1, EEXIST, path, e);
        if (is_live(&a)) {
            err_set(e, ERR_CONFIG, "cannot listen on %s: another process answers there", path);
            return -1;
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return unix_failed(-1, errno, path, e);
    /* bind() takes the mode from the descriptor (Linux): never open to others, not even for a
     * moment */
    fchmod(fd, 0600);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || chmod(path, 0600) != 0 ||
        listen(fd, BACKLOG) != 0)
        return unix_failed(fd, errno, path, e);
    return fd;
}
