/* Ways to be somebody else: the sidecar, root, or in another namespace. Each ends in an attempt that shows whether it helped. */
#define _GNU_SOURCE
#include "attack.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A connection, which only the sidecar's user can open to the outside; the answer is that of a datagram, which nobody can
   send. */
static int out(int number) {
  int stream = made(AF_INET, SOCK_STREAM, 0), fd = made(AF_INET, SOCK_DGRAM, 0);
  if (stream >= 0) closed(stream, connected(stream, outside4(number, 443)));
  return fd < 0 ? -1 : closed(fd, sent(fd, outside4(number, 9999)));
}

#define NO_SUCH_PROGRAM 126

/* 0 where the program ends well. */
static int ran_words(const char *const words[]) {
  int status;
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++) dup2(null, fd);
    execvp(words[0], (char *const *)words);
    _exit(NO_SUCH_PROGRAM);
  }
  if (child < 0 || waitpid(child, &status, 0) < 0) return -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SUCH_PROGRAM) return fails(ENOENT);
  return status == 0 ? 0 : fails(EPERM);
}

static int ran(const char *program, const char *first, const char *second) {
  const char *const words[] = {program, first, second, NULL};
  return ran_words(words);
}

static int sidecar_uid(void) { return atoi(given("SIDECAR_UID", "41337")); }

static int set_uid(void) { return setresuid(sidecar_uid(), sidecar_uid(), sidecar_uid()) < 0 ? -1 : out(60); }
static int set_gid(void) { return setresgid(sidecar_uid(), sidecar_uid(), sidecar_uid()) < 0 ? -1 : out(61); }

/* A copy of this program that belongs to the sidecar's user, mode 6755. */
static int setuid_file(void) { return ran(given("SETUID_FILE", "/opt/attack/setuid"), "setuid_became", NULL); }
static int setuid_became(void) { return out(62); }

/* A copy of `nft` with the file capability NET_ADMIN. */
static int file_capability(void) { return ran(given("NFT_CAPABLE", "/opt/attack/nft"), "flush", "ruleset") < 0 ? -1 : out(63); }
static int flush(void) { return ran("nft", "flush", "ruleset") < 0 ? -1 : out(64); }

/* Setuid files of the system, by name: root's rights are not to be had. */
static int su(void) { return ran("su", "-c", "nft flush ruleset") < 0 ? -1 : out(68); }

static int sudo(void) {
  static const char *const WORDS[] = {"sudo", "-n", "nft", "flush", "ruleset", NULL};
  return ran_words(WORDS) < 0 ? -1 : out(69);
}

/* The sidecar's id in a user namespace, which takes a setuid file or CAP_SETUID, and a line in /etc/subuid. */
static int newuidmap(void) {
  char child_id[16], id[16];
  int status;
  pid_t child = fork();
  if (child == 0) {
    unshare(CLONE_NEWUSER);
    raise(SIGSTOP);
    _exit(setresuid(0, 0, 0) < 0 || out(72) < 0);
  }
  if (child < 0 || waitpid(child, &status, WUNTRACED) < 0) return -1;
  snprintf(child_id, sizeof child_id, "%d", child);
  snprintf(id, sizeof id, "%d", sidecar_uid());
  const char *const words[] = {"newuidmap", child_id, "0", id, "1", NULL};
  int mapped = ran_words(words), error = errno;
  kill(child, mapped < 0 ? SIGKILL : SIGCONT);
  waitpid(child, &status, 0);
  if (mapped < 0) return fails(error);
  return status == 0 ? 0 : fails(EPERM);
}

static int written(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  return fd < 0 ? -1 : closed(fd, write(fd, text, strlen(text)) < 0 ? -1 : 0);
}

/* Root in a user namespace of its own. */
static int rooted(int flags) {
  char map[32];
  snprintf(map, sizeof map, "0 %d 1", geteuid());
  if (unshare(CLONE_NEWUSER | flags) < 0) return -1;
  return written("/proc/self/uid_map", map);
}

static int user_namespace(void) { return rooted(0) < 0 ? -1 : out(65); }
static int user_namespace_flush(void) { return rooted(0) < 0 || ran("nft", "flush", "ruleset") < 0 ? -1 : out(66); }
static int network_namespace(void) { return rooted(CLONE_NEWNET) < 0 ? -1 : out(67); }

/* Open where a process of ActPass is seen at all: it could be told things by signals, or traced. */
static int sidecar_process(void) {
  struct dirent *entry;
  DIR *processes = opendir("/proc");
  while (processes && (entry = readdir(processes))) {
    char path[300], name[32] = "";
    if (!isdigit(entry->d_name[0])) continue;
    snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, name, sizeof name - 1) < 0) continue;
    close(fd);
    if (!strncmp(name, "actpass", 7)) return 0;
  }
  return fails(ESRCH);
}

const struct attempt PRIVILEGES[] = {
    {"set_uid", set_uid}, {"set_gid", set_gid}, {"setuid_file", setuid_file}, {"setuid_became", setuid_became},
    {"file_capability", file_capability}, {"flush", flush}, {"su", su}, {"sudo", sudo}, {"newuidmap", newuidmap},
    {"user_namespace", user_namespace}, {"user_namespace_flush", user_namespace_flush}, {"network_namespace", network_namespace},
    {"sidecar_process", sidecar_process},
    {NULL, NULL}};
