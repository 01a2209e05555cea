/* What is no attempt by itself: to hold, to listen, to send what the test says. */
#define _GNU_SOURCE
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Tests end what they start; this ends it where a test does not. */
#define AT_MOST_SECONDS 600

/* Opens what the fence would not let it open, waits until the file is there, and goes on. */
int hold(const char *file) {
  struct to to[] = {outside4(50, 9999), outside6(50, 9999), at(given("HELD_SERVER", "203.0.113.51"), 80), outside4(52, 443)};
  int kinds[] = {SOCK_DGRAM, SOCK_DGRAM, SOCK_STREAM, SOCK_STREAM}, sockets[4];
  alarm(AT_MOST_SECONDS);
  for (int it = 0; it < 4; it++) {
    sockets[it] = made(to[it].address.ss_family, kinds[it] | SOCK_NONBLOCK, 0);
    connect(sockets[it], (struct sockaddr *)&to[it].address, to[it].length);
  }
  puts("held");
  fflush(stdout);
  while (access(file, F_OK) < 0) usleep(20000);
  for (int round = 0; round < 3; round++) {
    for (int it = 0; it < 4; it++) {
      int result = send(sockets[it], "held", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
      printf("held %d: %s\n", it, result < 0 ? strerror(errno) : "sent");
    }
    usleep(100000);
  }
  return 0;
}

#define PORTS_MAX 8

int listen_on(int count, char **ports) {
  struct pollfd all[PORTS_MAX * 4];
  int open = 0, yes = 1;
  alarm(AT_MOST_SECONDS);
  for (int port = 0; port < count && port < PORTS_MAX; port++)
    for (int kind = 0; kind < 4; kind++) {
      struct to here = at(kind & 1 ? "::1" : "127.0.0.1", atoi(ports[port]));
      int fd = made(here.address.ss_family, kind & 2 ? SOCK_DGRAM : SOCK_STREAM, 0);
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
      if (bind(fd, (struct sockaddr *)&here.address, here.length) < 0) {
        /* A pod without IPv6 has no ::1. */
        if (fd < 0 || errno == EADDRNOTAVAIL) continue;
        perror("bind");
        return 1;
      }
      if (!(kind & 2)) listen(fd, 64);
      all[open++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
  puts("listening");
  fflush(stdout);
  for (;;) {
    if (poll(all, open, -1) < 0) return 1;
    for (int it = 0; it < open; it++) {
      char bytes[512];
      struct to who = {.length = sizeof who.address};
      if (!(all[it].revents & POLLIN)) continue;
      int taken = accept(all[it].fd, NULL, NULL);
      if (taken >= 0) {
        send(taken, "sidecar\n", 8, MSG_NOSIGNAL | MSG_DONTWAIT);
        close(taken);
      } else if (errno == EOPNOTSUPP && recvfrom(all[it].fd, bytes, sizeof bytes, 0, (struct sockaddr *)&who.address, &who.length) >= 0) {
        sendto(all[it].fd, "sidecar\n", 8, MSG_DONTWAIT, (struct sockaddr *)&who.address, who.length);
      }
    }
  }
}

/* Listens at all addresses of this network, and prints at which of them each visitor came. */
int visits(int port) {
  struct to here = at("::", port);
  int fd = made(AF_INET6, SOCK_STREAM, 0), yes = 1;
  alarm(AT_MOST_SECONDS);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&here.address, here.length) < 0 || listen(fd, 64) < 0) return 1;
  for (;;) {
    struct sockaddr_in6 met = {0};
    socklen_t length = sizeof met;
    char text[INET6_ADDRSTRLEN];
    int taken = accept(fd, NULL, NULL);
    if (taken < 0 || getsockname(taken, (struct sockaddr *)&met, &length) < 0) return 1;
    int v4 = IN6_IS_ADDR_V4MAPPED(&met.sin6_addr);
    puts(inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? &met.sin6_addr.s6_addr[12] : (void *)&met.sin6_addr, text, sizeof text));
    fflush(stdout);
    close(taken);
  }
}

/* One connection from that address and port, whoever had them before. */
int connect_from(const char *source, int port, const char *address, int to_port) {
  struct to from = at(source, port), to = at(address, to_port);
  int fd = made(to.address.ss_family, SOCK_STREAM, 0), yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  int went = bind(fd, (struct sockaddr *)&from.address, from.length) < 0 ? -1 : connected(fd, to);
  puts(went < 0 ? strerror(errno) : "connected");
  return went < 0;
}

/* So many connections, one after the other, from addresses of loopback to a port of its own: each takes a place in conntrack,
   and a port. Prints how many there were. */
int crowd(int count) {
  struct to here = at("127.0.0.1", 9000);
  int yes = 1, listener = made(AF_INET, SOCK_STREAM, 0), went = 0;
  alarm(AT_MOST_SECONDS);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr *)&here.address, here.length) < 0 || listen(listener, 64) < 0) return 1;
  for (int it = 0; it < count; it++) {
    char source[32];
    snprintf(source, sizeof source, "127.1.%d.1", it / 10000 + 1);
    struct to from = at(source, 0);
    struct pollfd ready = {.events = POLLOUT, .fd = made(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    setsockopt(ready.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    bind(ready.fd, (struct sockaddr *)&from.address, from.length);
    connect(ready.fd, (struct sockaddr *)&here.address, here.length);
    if (poll(&ready, 1, 20) > 0 && !(ready.revents & POLLERR)) {
      close(accept(listener, NULL, NULL));
      went++;
    }
    close(ready.fd);
  }
  printf("%d\n", went);
  return 0;
}

/* So many flows of datagrams to a port of its own, each from another address of loopback, answered, and sent again and again until
   the file is there: of flows that go on like that conntrack makes no room. Prints what each round came to: how many were sent,
   how many refused. */
int fill(int count, const char *file) {
  struct to here = at("127.0.0.1", 9001), any = at("0.0.0.0", 9002);
  int server = made(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), client = made(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  alarm(AT_MOST_SECONDS);
  if (bind(server, (struct sockaddr *)&here.address, here.length) < 0 || bind(client, (struct sockaddr *)&any.address, any.length) < 0) return 1;
  while (access(file, F_OK) < 0) {
    int refused = 0;
    for (int it = 0; it < count; it++) {
      char byte = 0, beside[CMSG_SPACE(sizeof(struct in_pktinfo))] = {0};
      struct iovec bytes = {&byte, 1};
      struct msghdr message = {&here.address, here.length, &bytes, 1, beside, sizeof beside, 0};
      struct cmsghdr *says = CMSG_FIRSTHDR(&message);
      struct in_pktinfo from = {.ipi_spec_dst.s_addr = htonl((127u << 24) + (2u << 16) + it)};
      struct to who = {.length = sizeof who.address};
      *says = (struct cmsghdr){CMSG_LEN(sizeof from), IPPROTO_IP, IP_PKTINFO};
      memcpy(CMSG_DATA(says), &from, sizeof from);
      refused += sendmsg(client, &message, 0) < 0;
      while (recvfrom(server, &byte, 1, 0, (struct sockaddr *)&who.address, &who.length) >= 0)
        sendto(server, &byte, 1, 0, (struct sockaddr *)&who.address, who.length);
      while (recv(client, &byte, 1, 0) >= 0) continue;
    }
    /* It ends with whoever reads this. */
    if (printf("%d %d\n", count - refused, refused) < 0 || fflush(stdout) == EOF) return 1;
    usleep(200000);
  }
  return 0;
}

/* So many connections at once, held until the file is there. Prints how many there are. */
int clutch(int count, const char *address, int port, const char *file) {
  struct to to = at(address, port);
  struct rlimit files = {count + 64, count + 64};
  int held = 0;
  alarm(AT_MOST_SECONDS);
  setrlimit(RLIMIT_NOFILE, &files);
  for (int it = 0; it < count; it++) {
    struct pollfd ready = {.events = POLLOUT, .fd = made(to.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    connect(ready.fd, (struct sockaddr *)&to.address, to.length);
    held += poll(&ready, 1, 1000) > 0 && !(ready.revents & POLLERR);
  }
  printf("%d\n", held);
  fflush(stdout);
  while (access(file, F_OK) < 0) usleep(20000);
  return 0;
}

/* Hex in, hex out. */
int send_hex(const char *kind, const char *address, int port, const char *hex) {
  unsigned char bytes[65536];
  size_t length = 0;
  struct to to = at(address, port);
  int datagram = !strcmp(kind, "udp"), fd = made(to.address.ss_family, datagram ? SOCK_DGRAM : SOCK_STREAM, 0);
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  for (unsigned byte; length < sizeof bytes && sscanf(hex, "%2x", &byte) == 1; hex += 2) bytes[length++] = byte;
  if (connect(fd, (struct sockaddr *)&to.address, to.length) < 0 || send(fd, bytes, length, MSG_NOSIGNAL) < 0) {
    perror("send");
    return 1;
  }
  while (poll(&ready, 1, PATIENCE_SECONDS * 1000) > 0) {
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got <= 0) break;
    for (ssize_t it = 0; it < got; it++) printf("%02x", bytes[it]);
    /* A name server keeps its connections open. */
    if (datagram || port == 53) break;
  }
  putchar('\n');
  return 0;
}
