/* Sockets that are told to go another way, or to come from somewhere else. */
#define _GNU_SOURCE
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef IP_UNICAST_IF
#define IP_UNICAST_IF 50
#endif
#define IPV6_UNICAST_IF_ 76

static int with(int family, int type, int level, int option, const void *value, socklen_t size) {
  int fd = made(family, type, 0);
  if (fd >= 0 && setsockopt(fd, level, option, value, size) < 0) return closed(fd, -1);
  return fd;
}

static int ends(int fd, int type, struct to to) {
  if (fd < 0) return -1;
  return closed(fd, type == SOCK_STREAM ? connected(fd, to) : sent(fd, to));
}

static int bound_to(const char *interface, int family, int type, struct to to) {
  return ends(with(family, type, SOL_SOCKET, SO_BINDTODEVICE, interface, strlen(interface) + 1), type, to);
}

static int device_tcp4(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET, SOCK_STREAM, outside4(30, 443)); }
static int device_tcp6(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET6, SOCK_STREAM, outside6(30, 443)); }
static int device_udp4(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET, SOCK_DGRAM, outside4(31, 9999)); }
static int device_udp6(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET6, SOCK_DGRAM, outside6(31, 9999)); }
static int device_dns4(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET, SOCK_DGRAM, outside4(32, 53)); }
static int device_dns6(void) { return bound_to(given("INTERFACE", "eth0"), AF_INET6, SOCK_DGRAM, outside6(32, 53)); }
static int device_loopback(void) { return bound_to("lo", AF_INET, SOCK_STREAM, outside4(33, 443)); }

static int unicast4(void) {
  uint32_t index = htonl(if_nametoindex(given("INTERFACE", "eth0")));
  return ends(with(AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_UNICAST_IF, &index, sizeof index), SOCK_DGRAM, outside4(34, 9999));
}

static int unicast6(void) {
  uint32_t index = htonl(if_nametoindex(given("INTERFACE", "eth0")));
  return ends(with(AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_UNICAST_IF_, &index, sizeof index), SOCK_DGRAM, outside6(34, 9999));
}

/* The mark by which the fence knows its own packets, where the test says it. */
static int mark(void) {
  uint32_t mark = strtoul(given("MARK", "0x5a17c3e1"), NULL, 16);
  return ends(with(AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_MARK, &mark, sizeof mark), SOCK_DGRAM, outside4(35, 9999));
}

/* Loose source routing (RFC 791) by way of another address. */
static int source_route(void) {
  unsigned char route[8] = {0x83, 7, 4, 203, 0, 113, 36, 0};
  return ends(with(AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_OPTIONS, route, sizeof route), SOCK_DGRAM, outside4(36, 9999));
}

/* A segment routing header (RFC 8754), the one kind of routing header that needs no privilege. */
static int routing_header(void) {
  unsigned char header[24] = {0, 2, 4, 0, 0, 0, 0, 0};
  inet_pton(AF_INET6, "2001:db8:ff::36", header + 8);
  return ends(with(AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_RTHDR, header, sizeof header), SOCK_DGRAM, outside6(36, 9999));
}

/* From an address that is not ours. What answers it, answers to there: so whoever makes the sidecar answer, sends by it. */
static int from(int family, int type, int level, int option, struct to source, struct to to) {
  int yes = 1, fd = with(family, type, level, option, &yes, sizeof yes);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&source.address, source.length) < 0) return closed(fd, -1);
  return ends(fd, type, to);
}

static int freebind_tcp4(void) { return from(AF_INET, SOCK_STREAM, IPPROTO_IP, IP_FREEBIND, outside4(37, 7001), outside4(37, 443)); }
static int freebind_udp4(void) { return from(AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND, outside4(38, 7002), outside4(38, 9999)); }
static int freebind_dns4(void) { return from(AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_FREEBIND, outside4(39, 7003), outside4(39, 53)); }
static int freebind_tcp6(void) { return from(AF_INET6, SOCK_STREAM, IPPROTO_IPV6, IPV6_FREEBIND, outside6(37, 7001), outside6(37, 443)); }
static int freebind_udp6(void) { return from(AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_FREEBIND, outside6(38, 7002), outside6(38, 9999)); }
static int freebind_dns6(void) { return from(AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_FREEBIND, outside6(39, 7003), outside6(39, 53)); }
static int freebind_loopback6(void) { return from(AF_INET6, SOCK_STREAM, IPPROTO_IPV6, IPV6_FREEBIND, outside6(40, 7004), at("::1", 15001)); }
static int transparent4(void) { return from(AF_INET, SOCK_STREAM, IPPROTO_IP, IP_TRANSPARENT, outside4(41, 7005), outside4(41, 443)); }
static int transparent6(void) { return from(AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_TRANSPARENT, outside6(41, 7005), outside6(41, 9999)); }

/* Data with the first packet (RFC 7413). */
static int fast_open(struct to to) {
  int fd = made(to.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  int result = sendto(fd, "out", 3, MSG_FASTOPEN, (struct sockaddr *)&to.address, to.length);
  usleep(100000);
  return closed(fd, result < 0 ? -1 : 0);
}

static int fast_open4(void) { return fast_open(outside4(42, 443)); }
static int fast_open6(void) { return fast_open(outside6(42, 443)); }

const struct attempt OPTIONS[] = {
    {"device_tcp4", device_tcp4}, {"device_tcp6", device_tcp6}, {"device_udp4", device_udp4}, {"device_udp6", device_udp6},
    {"device_dns4", device_dns4}, {"device_dns6", device_dns6}, {"device_loopback", device_loopback},
    {"unicast4", unicast4}, {"unicast6", unicast6}, {"mark", mark},
    {"source_route", source_route}, {"routing_header", routing_header},
    {"freebind_tcp4", freebind_tcp4}, {"freebind_udp4", freebind_udp4}, {"freebind_dns4", freebind_dns4},
    {"freebind_tcp6", freebind_tcp6}, {"freebind_udp6", freebind_udp6}, {"freebind_dns6", freebind_dns6},
    {"freebind_loopback6", freebind_loopback6}, {"transparent4", transparent4}, {"transparent6", transparent6},
    {"fast_open4", fast_open4}, {"fast_open6", fast_open6},
    {NULL, NULL}};
