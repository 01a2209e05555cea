/* What an agent shares with the sidecar: ports, conntrack, loopback, files. */
#define _GNU_SOURCE
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* All ways to name this pod. */
static const char *const OURS[] = {"127.0.0.1", "127.9.8.7", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", NULL, NULL};

static const char *ours(int number) {
  if (OURS[number]) return OURS[number];
  return number == 6 ? given("POD_IP", "127.0.0.1") : given("POD_IP6", "::1");
}

/* Open where any of the addresses takes a connection at that port. */
static int own_port(int port) {
  int last = ECONNREFUSED;
  for (int number = 0; number < 8; number++) {
    struct to to = at(ours(number), port);
    int fd = made(to.address.ss_family, SOCK_STREAM, 0);
    if (closed(fd, connected(fd, to)) == 0) return 0;
    last = errno;
  }
  return fails(last);
}

static int admin_port(void) { return own_port(15000); }
static int capture_port(void) { return own_port(15001); }
static int dns_port(void) { return own_port(15053); }
static int metrics_port(void) { return own_port(15090); }

/* Sends and waits for an answer's first bytes. */
static int answered(int fd, struct to to, const char *text, char *answer, size_t size) {
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  if (connect(fd, (struct sockaddr *)&to.address, to.length) < 0) return -1;
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) return -1;
  if (poll(&ready, 1, 1000) <= 0) return fails(ETIMEDOUT);
  ssize_t length = recv(fd, answer, size - 1, 0);
  if (length <= 0) return fails(ECONNRESET);
  answer[length] = 0;
  return 0;
}

/* Past the steering, straight to the responder. */
static int dns_port_udp(void) {
  char answer[512];
  for (int number = 0; number < 8; number++) {
    struct to to = at(ours(number), 15053);
    int fd = made(to.address.ss_family, SOCK_DGRAM, 0);
    if (closed(fd, answered(fd, to, "0123456789ab", answer, sizeof answer)) == 0) return 0;
  }
  return fails(ECONNREFUSED);
}

/* The health port answers the kubelet, and takes no orders: open where one is taken. */
static int health_orders(void) {
  static const char *const ORDERS[] = {"POST /quitquitquit", "POST /drain", "PUT /ready", "DELETE /ready", "GET /config_dump", "GET /debug/pprof/"};
  for (size_t order = 0; order < sizeof ORDERS / sizeof *ORDERS; order++) {
    char request[160], answer[64];
    struct to to = at(given("POD_IP", "127.0.0.1"), 15021);
    int fd = made(to.address.ss_family, SOCK_STREAM, 0);
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", ORDERS[order]);
    if (closed(fd, answered(fd, to, request, answer, sizeof answer)) < 0) continue;
    if (strlen(answer) > 9 && answer[9] == '2') return 0;
  }
  return fails(EPERM);
}

/* From each source port that the sidecar may have asked the name server from: its entry in conntrack would let this pass. */
static int stale_dns(int family, const char *server) {
  struct to to = at(server, 53);
  int went = -1, yes = 1;
  for (int port = 32768; port < 61000; port++) {
    struct to from = at(family == AF_INET ? "0.0.0.0" : "::", port);
    int fd = made(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&from.address, from.length) == 0 && sent(fd, to) == 0) went = 0;
    closed(fd, 0);
  }
  return went;
}

static int stale_dns4(void) { return stale_dns(AF_INET, given("NAME_SERVER", "10.96.0.10")); }
static int stale_dns6(void) { return stale_dns(AF_INET6, "2001:db8:ff::53"); }

/* An address as /proc/net/tcp and tcp6 have it: words of 32 bits, each in the machine's order. */
static int scanned(const char *text, unsigned port, int family, struct to *to) {
  struct sockaddr_in *v4 = (struct sockaddr_in *)&to->address;
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&to->address;
  unsigned *words = family == AF_INET ? &v4->sin_addr.s_addr : (unsigned *)&v6->sin6_addr;
  int count = family == AF_INET ? 1 : 4;
  *to = at(family == AF_INET ? "0.0.0.0" : "::", port);
  for (int word = 0; word < count; word++, text += 8)
    if (sscanf(text, "%8X", &words[word]) != 1) return -1;
  return 0;
}

static int is_loopback(const char *text) {
  return !strcmp(text + strlen(text) - 2, "7F") || !strcmp(text, "00000000000000000000000001000000");
}

/* From the source ports of connections that others have in this pod, to where they lead. */
static int stale(const char *path, int family) {
  FILE *table = fopen(path, "re");
  char line[512], from[64], to[64];
  int went = fails(ENOENT), yes = 1;
  while (table && fgets(line, sizeof line, table)) {
    unsigned from_port, to_port, state, uid;
    struct to source, there;
    if (sscanf(line, " %*d: %32[0-9A-F]:%4X %32[0-9A-F]:%4X %2X %*s %*s %*s %u", from, &from_port, to, &to_port, &state, &uid) != 6) continue;
    if (!to_port || uid == geteuid() || scanned(from, from_port, family, &source) < 0 || scanned(to, to_port, family, &there) < 0) continue;
    /* Loopback is where agents may go. */
    if (is_loopback(from) || is_loopback(to)) continue;
    int fd = made(family, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&source.address, source.length) < 0) went = -1;
    else went = connected(fd, there);
    closed(fd, 0);
    if (went == 0) break;
  }
  if (table) fclose(table);
  return went;
}

static int stale_tcp(void) { return stale("/proc/net/tcp", AF_INET); }
static int stale_tcp6(void) { return stale("/proc/net/tcp6", AF_INET6); }

/* Sockets in the abstract namespace are the network's, not a directory's: open where somebody else's takes us. */
static int abstract_sockets(void) {
  FILE *table = fopen("/proc/net/unix", "re");
  char line[512], name[108];
  while (table && fgets(line, sizeof line, table)) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s @%107s", name) != 1) continue;
    memcpy(to.sun_path + 1, name, strlen(name));
    int fd = made(AF_UNIX, SOCK_STREAM, 0);
    if (closed(fd, connect(fd, (struct sockaddr *)&to, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name))) == 0) return 0;
  }
  return fails(ENOENT);
}

static int opens(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0600);
  return fd < 0 ? -1 : closed(fd, 0);
}

static int read_state(void) { return opens("/run/actpass/state", O_RDONLY | O_DIRECTORY); }
static int read_state_by_detour(void) { return opens("/run/actpass/trust/../state", O_RDONLY | O_DIRECTORY); }
static int read_token(void) { return opens("/run/actpass/token/token", O_RDONLY); }
static int read_authorities(void) { return opens("/run/actpass/authorities/ca.pem", O_RDONLY); }
static int read_service_account(void) { return opens("/var/run/secrets/kubernetes.io/serviceaccount/token", O_RDONLY); }
static int write_trust(void) { return opens("/run/actpass/trust/ca.pem", O_WRONLY); }
static int add_trust(void) { return opens("/run/actpass/trust/mine.pem", O_WRONLY | O_CREAT); }
static int write_verify(void) { return opens("/run/actpass/verify/result.json", O_WRONLY | O_CREAT); }
static int write_resolv_conf(void) { return opens("/etc/resolv.conf", O_WRONLY); }
static int write_hosts(void) { return opens("/etc/hosts", O_WRONLY); }
static int write_nsswitch_conf(void) { return opens("/etc/nsswitch.conf", O_WRONLY); }

const struct attempt SIDECAR[] = {
    {"admin_port", admin_port}, {"capture_port", capture_port}, {"dns_port", dns_port}, {"dns_port_udp", dns_port_udp},
    {"metrics_port", metrics_port}, {"health_orders", health_orders},
    {"stale_dns4", stale_dns4}, {"stale_dns6", stale_dns6}, {"stale_tcp", stale_tcp}, {"stale_tcp6", stale_tcp6}, {"abstract_sockets", abstract_sockets},
    {"read_state", read_state}, {"read_state_by_detour", read_state_by_detour}, {"read_token", read_token},
    {"read_authorities", read_authorities}, {"read_service_account", read_service_account},
    {"write_trust", write_trust}, {"add_trust", add_trust}, {"write_verify", write_verify}, {"write_resolv_conf", write_resolv_conf},
    {"write_hosts", write_hosts}, {"write_nsswitch_conf", write_nsswitch_conf},
    {NULL, NULL}};
