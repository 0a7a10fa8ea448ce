/* Load of a known size, for the benchmarks.
 *   load burn [THREADS]      spins for ever
 *   load idle                the same in the class SCHED_IDLE: takes what nobody else wants, and keeps a virtual CPU from being put to sleep
 *   load part PERMILLE       spins for that part of every 10 ms
 *   load spike THREADS       for each line "MS" on standard input, spins that long on CPUs 0…THREADS−1 at once, and prints the time in ns of
 *                            CLOCK_MONOTONIC at which the first thread began
 * Ends with its parent. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS 10000000LL
#define MOST_THREADS 1024

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void *burn(void *unused) {
  (void)unused;
  for (;;) __asm__ volatile("");
  return NULL;
}

static pthread_barrier_t gate;
static int64_t spike_ns;
static int64_t began[MOST_THREADS];

static void *spike(void *argument) {
  const int index = (int)(intptr_t)argument;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(index, &set);
  sched_setaffinity(0, sizeof set, &set);
  for (;;) {
    pthread_barrier_wait(&gate);
    began[index] = now_ns();
    while (now_ns() - began[index] < spike_ns) continue;
    pthread_barrier_wait(&gate);
  }
  return NULL;
}

static void start(int threads, void *(*work)(void *)) {
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, (void *)(intptr_t)i) != 0) exit(1);
  }
}

int main(int argc, char **argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char *kind = argc > 1 ? argv[1] : "";
  const int number = argc > 2 ? atoi(argv[2]) : 1;
  if (strcmp(kind, "idle") == 0) {
    struct sched_param none = {0};
    if (sched_setscheduler(0, SCHED_IDLE, &none) < 0) {
      perror("load: SCHED_IDLE");
      return 1;
    }
    burn(NULL);
  }
  if (strcmp(kind, "burn") == 0) {
    start(number - 1, burn);
    burn(NULL);
  }
  if (strcmp(kind, "part") == 0) {
    for (int64_t due = now_ns();; due += PERIOD_NS) {
      const int64_t until = now_ns() + PERIOD_NS / 1000 * number;
      while (now_ns() < until) continue;
      /* A period that was missed is not made up for: this is a share of the time, not an amount of work. */
      if (now_ns() > due + PERIOD_NS) due = now_ns() - PERIOD_NS;
      struct timespec next = {(due + PERIOD_NS) / 1000000000, (due + PERIOD_NS) % 1000000000};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
    }
  }
  if (strcmp(kind, "spike") == 0 && number >= 1 && number <= MOST_THREADS) {
    char line[64];
    pthread_barrier_init(&gate, NULL, number + 1);
    start(number, spike);
    while (fgets(line, sizeof line, stdin) != NULL) {
      spike_ns = (int64_t)(atof(line) * 1e6);
      pthread_barrier_wait(&gate);
      pthread_barrier_wait(&gate);
      int64_t first = INT64_MAX;
      for (int i = 0; i < number; i++)
        if (began[i] < first) first = began[i];
      printf("%lld\n", (long long)first);
      fflush(stdout);
    }
    return 0;
  }
  fprintf(stderr, "usage: load burn [THREADS] | idle | part PERMILLE | spike THREADS\n");
  return 2;
}
