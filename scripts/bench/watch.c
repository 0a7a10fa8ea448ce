/* Looks at small files of the kernel and tells of every change: one line "NS INDEX TEXT", with the time of CLOCK_MONOTONIC at which the new
 * text was first seen. It stands outside of what it watches, in a real-time class on the last CPU, so that it sees a write at most one period
 * after it took effect: the kernel shows a quota only once it is in force.
 *
 * watch PERIOD_US FILE...: ends with its parent, or when standard input does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY 60
#define MOST_FILES 8
#define TEXT 64

static void die(const char *what) {
  fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
  exit(1);
}

int main(int argc, char **argv) {
  const int files = argc - 2;
  if (files < 1 || files > MOST_FILES) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const long period_ns = atol(argv[1]) * 1000;
  int fds[MOST_FILES];
  char last[MOST_FILES][TEXT] = {{0}};
  for (int i = 0; i < files; i++)
    if ((fds[i] = open(argv[2 + i], O_RDONLY)) < 0) die(argv[2 + i]);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &set);
  if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
  struct sched_param priority = {.sched_priority = PRIORITY};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0) die("sched_setscheduler SCHED_FIFO (a group without real-time runtime?)");
  struct timespec due;
  clock_gettime(CLOCK_MONOTONIC, &due);
  for (unsigned turn = 0;; turn++) {
    for (int i = 0; i < files; i++) {
      char text[TEXT] = {0};
      ssize_t n = pread(fds[i], text, TEXT - 1, 0);
      if (n < 0) die(argv[2 + i]);
      text[strcspn(text, "\n")] = 0;
      if (strcmp(text, last[i]) == 0) continue;
      struct timespec now;
      clock_gettime(CLOCK_MONOTONIC, &now);
      memcpy(last[i], text, TEXT);
      printf("%lld %d %s\n", now.tv_sec * 1000000000LL + now.tv_nsec, i, text);
      fflush(stdout);
    }
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char drop;
    if (turn % 256 == 0 && poll(&input, 1, 0) > 0 && read(0, &drop, 1) <= 0) return 0;
    due.tv_nsec += period_ns;
    while (due.tv_nsec >= 1000000000) due.tv_nsec -= 1000000000, due.tv_sec++;
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
  }
}
