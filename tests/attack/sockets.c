/* Sockets of every kind that may leave by themselves. */
#define _GNU_SOURCE
#include "attack.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UDP_LITE 136
#define SCTP 132
#define DCCP 33
#define MPTCP 262

static int stream(struct to to) {
  int fd = made(to.address.ss_family, SOCK_STREAM, 0);
  return fd < 0 ? -1 : closed(fd, connected(fd, to));
}

static int tcp4(void) { return stream(outside4(1, 443)); }
static int tcp4_capture_port(void) { return stream(outside4(2, 15001)); }
static int tcp6(void) { return stream(outside6(1, 443)); }
static int tcp_mapped(void) { return stream(at("::ffff:203.0.113.3", 443)); }
static int tcp_metadata(void) { return stream(at("169.254.169.254", 80)); }
static int tcp_metadata6(void) { return stream(at("fd00:ec2::254", 80)); }
static int tcp_kubelet(void) { return stream(at(given("NODE", "203.0.113.4"), 10250)); }
static int dns_tcp4(void) { return stream(at("8.8.4.4", 53)); }
static int dns_tcp6(void) { return stream(at("2001:4860:4860::8844", 53)); }
static int dot(void) { return stream(at("9.9.9.9", 853)); }

static int of_protocol(int family, int type, int protocol, int number) {
  int fd = made(family, type, protocol);
  struct to to = family == AF_INET ? outside4(number, 443) : outside6(number, 443);
  if (fd < 0) return -1;
  return closed(fd, type == SOCK_DGRAM ? sent(fd, to) : connected(fd, to));
}

static int mptcp4(void) { return of_protocol(AF_INET, SOCK_STREAM, MPTCP, 5); }
static int mptcp6(void) { return of_protocol(AF_INET6, SOCK_STREAM, MPTCP, 5); }
static int udp_lite4(void) { return of_protocol(AF_INET, SOCK_DGRAM, UDP_LITE, 6); }
static int udp_lite6(void) { return of_protocol(AF_INET6, SOCK_DGRAM, UDP_LITE, 6); }
static int sctp4(void) { return of_protocol(AF_INET, SOCK_STREAM, SCTP, 7); }
static int sctp6(void) { return of_protocol(AF_INET6, SOCK_STREAM, SCTP, 7); }
static int dccp4(void) { return of_protocol(AF_INET, 6 /* SOCK_DCCP */, DCCP, 8); }

/* An echo request. The kernel fills in the checksum of a ping socket's, and of all of ICMPv6. */
static int ping(int family, int type, int number) {
  unsigned char echo4[8] = {ICMP_ECHO, 0, 0xf7, 0xff}, echo6[8] = {ICMP6_ECHO_REQUEST};
  int four = family == AF_INET;
  struct to to = four ? outside4(number, 0) : outside6(number, 0);
  int fd = made(family, type, four ? IPPROTO_ICMP : IPPROTO_ICMPV6);
  if (fd < 0) return -1;
  return closed(fd, sendto(fd, four ? echo4 : echo6, 8, 0, (struct sockaddr *)&to.address, to.length) < 0 ? -1 : 0);
}

static int ping4(void) { return ping(AF_INET, SOCK_DGRAM, 9); }
static int ping6(void) { return ping(AF_INET6, SOCK_DGRAM, 9); }
static int raw_icmp4(void) { return ping(AF_INET, SOCK_RAW, 10); }
static int raw_icmp6(void) { return ping(AF_INET6, SOCK_RAW, 10); }

/* A whole IPv4 packet of an experimental protocol (RFC 3692), with a source of the attacker's choice. */
static int raw_header(void) {
  struct iphdr packet = {.version = 4, .ihl = 5, .ttl = 64, .protocol = 253};
  struct to to = outside4(11, 0);
  int fd = made(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) return -1;
  packet.tot_len = htons(sizeof packet);
  packet.daddr = ((struct sockaddr_in *)&to.address)->sin_addr.s_addr;
  return closed(fd, sendto(fd, &packet, sizeof packet, 0, (struct sockaddr *)&to.address, to.length) < 0 ? -1 : 0);
}

/* A broadcast frame of that Ethernet type. */
static int frame(int type, int past_queues) {
  unsigned char bytes[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, type >> 8, type & 0xff, 'o', 'u', 't'};
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6, .sll_ifindex = if_nametoindex(given("INTERFACE", "eth0"))};
  int fd = made(AF_PACKET, SOCK_RAW, 0), yes = 1;
  if (fd < 0) return -1;
  if (past_queues && setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) < 0) return closed(fd, -1);
  return closed(fd, sendto(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to) < 0 ? -1 : 0);
}

static int packet(void) { return frame(0x88b5, 0); }
static int packet_past_queues(void) { return frame(0x88b6, 1); }
static int packet_as_arp(void) { return frame(ETHERTYPE_ARP, 0); }

/* Families that netfilter does not see, or sees otherwise. Where one can be made it is an open way, whatever is at its end. */
static int family(int family, int type, int protocol) {
  int fd = made(family, type, protocol);
  return fd < 0 ? -1 : closed(fd, 0);
}

static int vsock(void) { return family(AF_VSOCK, SOCK_STREAM, 0); }
static int xdp(void) { return family(AF_XDP, SOCK_RAW, 0); }
static int alg(void) { return family(AF_ALG, SOCK_SEQPACKET, 0); }
static int key(void) { return family(AF_KEY, SOCK_RAW, 2); }
static int rxrpc(void) { return family(AF_RXRPC, SOCK_DGRAM, AF_INET); }
static int tipc(void) { return family(AF_TIPC, SOCK_STREAM, 0); }
static int smc(void) { return family(AF_SMC, SOCK_STREAM, 0); }
static int rds(void) { return family(AF_RDS, SOCK_SEQPACKET, 0); }
static int bluetooth(void) { return family(AF_BLUETOOTH, SOCK_RAW, 1); }
static int can(void) { return family(AF_CAN, SOCK_RAW, 1); }
static int nfc(void) { return family(AF_NFC, SOCK_SEQPACKET, 0); }

static int bpf(void) {
  unsigned char attributes[128] = {2 /* BPF_MAP_TYPE_ARRAY */, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0};
  int fd = syscall(SYS_bpf, 0 /* BPF_MAP_CREATE */, attributes, sizeof attributes);
  return fd < 0 ? -1 : closed(fd, 0);
}

/* A datagram that a ring sends, not this program's own call. */
static int io_uring(void) {
  struct io_uring_params params = {0};
  struct to to = outside4(12, 9999);
  int ring = syscall(SYS_io_uring_setup, 1, &params), fd = made(AF_INET, SOCK_DGRAM, 0);
  if (ring < 0 || fd < 0) return -1;
  size_t size = params.sq_off.array + sizeof(unsigned);
  char *queue = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
  struct io_uring_sqe *entry = mmap(NULL, sizeof *entry, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
  if (queue == MAP_FAILED || entry == MAP_FAILED) return -1;
  struct iovec bytes = {.iov_base = "out", .iov_len = 3};
  struct msghdr message = {.msg_name = &to.address, .msg_namelen = to.length, .msg_iov = &bytes, .msg_iovlen = 1};
  *entry = (struct io_uring_sqe){.opcode = IORING_OP_SENDMSG, .fd = fd, .addr = (uintptr_t)&message, .len = 1};
  ((unsigned *)(queue + params.sq_off.array))[0] = 0;
  __atomic_store_n((unsigned *)(queue + params.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0) return -1;
  size = params.cq_off.cqes + sizeof(struct io_uring_cqe);
  char *done = mmap(NULL, size, PROT_READ, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
  if (done == MAP_FAILED) return -1;
  int result = ((struct io_uring_cqe *)(done + params.cq_off.cqes))[0].res;
  return result < 0 ? fails(-result) : 0;
}

const struct attempt SOCKETS[] = {
    {"tcp4", tcp4}, {"tcp4_capture_port", tcp4_capture_port}, {"tcp6", tcp6}, {"tcp_mapped", tcp_mapped},
    {"tcp_metadata", tcp_metadata}, {"tcp_metadata6", tcp_metadata6}, {"tcp_kubelet", tcp_kubelet},
    {"dns_tcp4", dns_tcp4}, {"dns_tcp6", dns_tcp6}, {"dot", dot},
    {"mptcp4", mptcp4}, {"mptcp6", mptcp6}, {"udp_lite4", udp_lite4}, {"udp_lite6", udp_lite6},
    {"sctp4", sctp4}, {"sctp6", sctp6}, {"dccp4", dccp4},
    {"ping4", ping4}, {"ping6", ping6}, {"raw_icmp4", raw_icmp4}, {"raw_icmp6", raw_icmp6}, {"raw_header", raw_header},
    {"packet", packet}, {"packet_past_queues", packet_past_queues}, {"packet_as_arp", packet_as_arp},
    {"vsock", vsock}, {"xdp", xdp}, {"alg", alg}, {"key", key}, {"rxrpc", rxrpc}, {"tipc", tipc}, {"smc", smc}, {"rds", rds},
    {"bluetooth", bluetooth}, {"can", can}, {"nfc", nfc}, {"bpf", bpf}, {"io_uring", io_uring},
    {NULL, NULL}};
