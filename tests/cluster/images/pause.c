/* Holds a pod's namespaces until it is told to end; buries what loses its parent where a pod shares process ids. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }
static void bury(int signal) { while (waitpid(-1, NULL, WNOHANG) > 0) (void)signal; }

int main(void) {
  signal(SIGTERM, end);
  signal(SIGINT, end);
  signal(SIGCHLD, bury);
  for (;;) pause();
}
