/* attack --list          names all attempts
 * attack all             tries each; a line for each: its name, `open` or `closed`, why
 * attack NAME...         tries these; exit code 0 where the last one is open
 * attack hold FILE       opens connections to the outside before the fence is there, and sends by them once FILE exists
 * attack listen PORT...  stands where the sidecar stands: accepts and answers, until it is ended
 * attack visits PORT     listens at all addresses, and prints at which of them each visitor came
 * attack from ADDRESS PORT ADDRESS PORT   opens a connection from there to there
 * attack crowd COUNT     opens so many connections to itself, one after the other, and prints how many there were
 * attack fill COUNT FILE   sends so many flows of datagrams to itself, round by round until FILE exists, and prints what became of them
 * attack clutch COUNT ADDRESS PORT FILE   opens so many at once, prints how many it has, and holds them until FILE exists
 * attack send udp|tcp ADDRESS PORT HEX    sends bytes, and prints the answer as hex */
#define _GNU_SOURCE
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int hold(const char *file);
int listen_on(int count, char **ports);
int visits(int port);
int connect_from(const char *source, int port, const char *address, int to_port);
int crowd(int count);
int fill(int count, const char *file);
int clutch(int count, const char *address, int port, const char *file);
int send_hex(const char *kind, const char *address, int port, const char *hex);

static const struct attempt *const ALL[] = {SOCKETS, DATAGRAMS, OPTIONS, PRIVILEGES, SIDECAR};
#define GROUPS (sizeof ALL / sizeof *ALL)

/* How long a connection that nobody answers is waited for: its first frame has left by then. */
#define MOMENT_MS 100

struct to at(const char *text, int port) {
  struct to to = {0};
  struct sockaddr_in *v4 = (struct sockaddr_in *)&to.address;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to.address;
  if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    to.length = sizeof *v4;
    return to;
  }
  if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) {
    fprintf(stderr, "`%s` is no address\n", text);
    exit(1);
  }
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  to.length = sizeof *v6;
  return to;
}

struct to outside4(int number, int port) {
  char text[32];
  snprintf(text, sizeof text, "203.0.113.%d", number);
  return at(text, port);
}

struct to outside6(int number, int port) {
  char text[48];
  snprintf(text, sizeof text, "2001:db8:ff::%d", number);
  return at(text, port);
}

int made(int family, int type, int protocol) { return socket(family, type | SOCK_CLOEXEC, protocol); }

int sent(int fd, struct to to) {
  return sendto(fd, "out", 3, MSG_DONTWAIT, (struct sockaddr *)&to.address, to.length) < 0 ? -1 : 0;
}

int connected(int fd, struct to to) {
  struct pollfd ready = {.fd = fd, .events = POLLOUT};
  int error = 0;
  socklen_t size = sizeof error;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  if (connect(fd, (struct sockaddr *)&to.address, to.length) < 0 && errno != EINPROGRESS) return -1;
  if (poll(&ready, 1, MOMENT_MS) == 0) return fails(ETIMEDOUT);
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error) return fails(error);
  return send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int closed(int fd, int result) {
  int error = errno;
  if (fd >= 0) close(fd);
  errno = error;
  return result;
}

int fails(int error) {
  errno = error;
  return -1;
}

const char *given(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value ? value : otherwise;
}

static const struct attempt *find(const char *name) {
  for (size_t group = 0; group < GROUPS; group++)
    for (const struct attempt *it = ALL[group]; it->name; it++)
      if (!strcmp(it->name, name)) return it;
  return NULL;
}

/* In a process of its own, so that nothing of it is left for the next. */
static int try(const struct attempt *it) {
  int ends[2], error = EINTR, status;
  if (pipe(ends) < 0) return 1;
  pid_t child = fork();
  if (child == 0) {
    alarm(PATIENCE_SECONDS);
    errno = 0;
    int result = it->run() < 0 ? errno : 0;
    if (write(ends[1], &result, sizeof result) < 0) _exit(1);
    _exit(0);
  }
  close(ends[1]);
  if (read(ends[0], &error, sizeof error) != sizeof error) error = EINTR;
  close(ends[0]);
  waitpid(child, &status, 0);
  printf("%s\t%s\t%s\n", it->name, error ? "closed" : "open", error ? strerror(error) : "-");
  fflush(stdout);
  return error != 0;
}

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  if (count > 2 && !strcmp(words[1], "hold")) return hold(words[2]);
  if (count > 2 && !strcmp(words[1], "listen")) return listen_on(count - 2, words + 2);
  if (count == 3 && !strcmp(words[1], "visits")) return visits(atoi(words[2]));
  if (count == 6 && !strcmp(words[1], "from")) return connect_from(words[2], atoi(words[3]), words[4], atoi(words[5]));
  if (count == 3 && !strcmp(words[1], "crowd")) return crowd(atoi(words[2]));
  if (count == 4 && !strcmp(words[1], "fill")) return fill(atoi(words[2]), words[3]);
  if (count == 6 && !strcmp(words[1], "clutch")) return clutch(atoi(words[2]), words[3], atoi(words[4]), words[5]);
  if (count == 6 && !strcmp(words[1], "send")) return send_hex(words[2], words[3], atoi(words[4]), words[5]);
  int list = count == 2 && !strcmp(words[1], "--list"), last = 1;
  if (list || (count == 2 && !strcmp(words[1], "all"))) {
    for (size_t group = 0; group < GROUPS; group++)
      for (const struct attempt *it = ALL[group]; it->name; it++)
        if (list) puts(it->name);
        else try(it);
    return 0;
  }
  for (int word = 1; word < count; word++) {
    const struct attempt *it = find(words[word]);
    if (!it) {
      fprintf(stderr, "no attempt is called `%s`: see --list\n", words[word]);
      return 2;
    }
    last = try(it);
  }
  return last;
}
