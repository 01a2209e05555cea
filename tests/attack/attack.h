/* Ways out of a pod, as somebody with code in an agent's container would try them. */
#ifndef ATTACK_H
#define ATTACK_H
#include <stddef.h>
#include <sys/socket.h>

/* One way. `run` gives 0 where it got as far as it can tell; else -1 with the reason in errno. A process of its own runs it,
   for PATIENCE_SECONDS at most. */
struct attempt {
  const char *name;
  int (*run)(void);
};

#define PATIENCE_SECONDS 5

/* Ended by one without a name. */
extern const struct attempt SOCKETS[], DATAGRAMS[], OPTIONS[], PRIVILEGES[], SIDECAR[];

/* An address of either family. */
struct to {
  struct sockaddr_storage address;
  socklen_t length;
};

/* Nobody's addresses (RFC 5737, RFC 3849) that end in `number`: what goes there has left. */
struct to outside4(int number, int port);
struct to outside6(int number, int port);
/* The address that a text says, of either family; it ends the program where the text is none. */
struct to at(const char *text, int port);

/* A socket, or -1. */
int made(int family, int type, int protocol);
/* One datagram. */
int sent(int fd, struct to to);
/* Connects, waits a moment, and sends a few bytes where somebody answers. */
int connected(int fd, struct to to);
/* Closes, and passes on the result with its errno. */
int closed(int fd, int result);
/* 0: this text cannot be what `errno` is for. */
int fails(int error);
/* What the test says in the environment, or a default. */
const char *given(const char *name, const char *otherwise);

#endif
