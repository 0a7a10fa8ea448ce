/* An open-loop HTTP client for the latency bench. Requests are due at times drawn beforehand (a Poisson process with a fixed seed, so every
 * round gets the same ones), and latency runs from the time a request was due, not from when it could be sent: what waits behind a slow
 * answer is counted (no "coordinated omission"). Of Debian's generators none does that: wrk2 and vegeta are not packaged, h2load --rps and
 * ab time from the real sending. It runs in a real-time class on one CPU, so that what is measured is the server's wait and not its own.
 *
 * http-client PORT RATE SECONDS WARMUP_SECONDS CONNECTIONS CPU: prints "start" when the warm-up is over and one JSON object at the end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PRIORITY 50
#define DRAIN_NS 2000000000LL
#define MOST_CONNECTIONS 1024

static const char REQUEST[] = "GET /page.html HTTP/1.1\r\nHost: bench\r\nAccept-Encoding: gzip\r\n\r\n";

struct connection {
  int fd;
  int64_t due_ns;
  int warm;
  size_t received;
};

static struct connection connections[MOST_CONNECTIONS];
static int idle[MOST_CONNECTIONS], idle_count;
static size_t answer_length;

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "http-client: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t seed = 0x9e3779b97f4a7c15ULL;

/* xorshift64*; uniform in (0, 1]. */
static double uniform(void) {
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return ((double)((seed * 0x2545f4914f6cdd1dULL) >> 11) + 1) / 9007199254740992.0;
}

static int dial(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

/* All answers are of one length, since the page and the widths of its headers are: learnt from the first one, by its Content-Length or, as
 * a page that is compressed on the way has none, by the last chunk. */
static size_t learn(int fd) {
  char answer[65536];
  size_t got = 0;
  if (write(fd, REQUEST, sizeof REQUEST - 1) < 0) die("first request");
  for (;;) {
    ssize_t n = read(fd, answer + got, sizeof answer - 1 - got);
    if (n <= 0) die("first answer");
    got += n;
    answer[got] = 0;
    char *end = strstr(answer, "\r\n\r\n"), *length = strcasestr(answer, "content-length:");
    if (end == NULL) continue;
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0) {
      fprintf(stderr, "http-client: not a page: %.60s\n", answer);
      exit(1);
    }
    if (length == NULL && memcmp(answer + got - 7, "\r\n0\r\n\r\n", 7) == 0) return got;
    if (length == NULL) continue;
    size_t whole = (end + 4 - answer) + strtoul(length + 15, NULL, 10);
    if (got >= whole) return whole;
  }
}

static int ascending(const void *a, const void *b) {
  int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
  return (x > y) - (x < y);
}

static double us_at(const int64_t *sorted, size_t count, double share) {
  if (count == 0) return 0;
  size_t at = (size_t)(count * share);
  return sorted[at < count ? at : count - 1] / 1000.0;
}

static double cpu_us(void) {
  struct rusage use;
  getrusage(RUSAGE_SELF, &use);
  return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

/* Reads what has come on one connection; returns whether its answer is complete. */
static int receive(struct connection *connection) {
  static char buffer[65536];
  ssize_t n = recv(connection->fd, buffer, sizeof buffer, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return 0;
  if (n <= 0) die("the server closed a connection");
  if (connection->received == 0 && n >= 12 && strncmp(buffer, "HTTP/1.1 200", 12) != 0) {
    fprintf(stderr, "http-client: not a page: %.60s\n", buffer);
    exit(1);
  }
  connection->received += n;
  return connection->received >= answer_length;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  const int port = atoi(argv[1]), count = atoi(argv[5]), cpu = atoi(argv[6]);
  const double rate = atof(argv[2]);
  const int64_t warm_ns = (int64_t)(atof(argv[4]) * 1e9), whole_ns = warm_ns + (int64_t)(atof(argv[3]) * 1e9);
  if (count < 1 || count > MOST_CONNECTIONS || rate <= 0) return 2;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) < 0) die("sched_setaffinity");
  struct sched_param priority = {.sched_priority = PRIORITY};
  if (sched_setscheduler(0, SCHED_FIFO, &priority) < 0) die("sched_setscheduler SCHED_FIFO (a group without real-time runtime?)");

  const int epoll = epoll_create1(0);
  for (int i = 0; i < count; i++) {
    connections[i].fd = dial(port);
    if (i == 0) answer_length = learn(connections[0].fd);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0) die("epoll_ctl");
    idle[idle_count++] = i;
  }
  const size_t most = (size_t)(rate * whole_ns / 1e9 * 1.2) + 1000;
  int64_t *latencies = malloc(most * sizeof *latencies), *delays = malloc(most * sizeof *delays), *waiting = malloc(most * sizeof *waiting);
  if (latencies == NULL || delays == NULL || waiting == NULL) die("malloc");
  memset(latencies, 0, most * sizeof *latencies), memset(delays, 0, most * sizeof *delays), memset(waiting, 0, most * sizeof *waiting);

  size_t sent = 0, due_count = 0, done = 0, delayed = 0, queued = 0, taken = 0, busy = 0;
  const int64_t start_ns = now_ns() + 1000000, end_ns = start_ns + whole_ns;
  int64_t due_ns = start_ns;
  int started = 0;
  double cpu_before = 0;
  for (;;) {
    int64_t at = now_ns();
    if (!started && at - start_ns >= warm_ns) {
      started = 1;
      cpu_before = cpu_us();
      puts("start");
      fflush(stdout);
    }
    for (; due_ns <= at && due_ns < end_ns && queued < most; due_ns += (int64_t)(-log(uniform()) / rate * 1e9)) waiting[queued++] = due_ns;
    while (taken < queued && idle_count > 0) {
      struct connection *connection = &connections[idle[--idle_count]];
      connection->due_ns = waiting[taken++];
      connection->warm = connection->due_ns - start_ns < warm_ns;
      connection->received = 0;
      if (write(connection->fd, REQUEST, sizeof REQUEST - 1) != (ssize_t)sizeof REQUEST - 1) die("write");
      if (!connection->warm) delays[delayed++] = now_ns() - connection->due_ns;
      busy++, sent++;
    }
    at = now_ns();
    if (due_ns >= end_ns && taken == queued && (busy == 0 || at > end_ns + DRAIN_NS)) break;
    if (at > end_ns + DRAIN_NS) break;
    int64_t pause_ns = (due_ns < end_ns ? due_ns : at + 10000000) - at;
    if (pause_ns < 0) pause_ns = 0;
    struct timespec pause = {pause_ns / 1000000000, pause_ns % 1000000000};
    struct epoll_event events[64];
    int ready = epoll_pwait2(epoll, events, 64, &pause, NULL);
    if (ready < 0 && errno != EINTR) die("epoll_pwait2");
    for (int i = 0; i < ready; i++) {
      struct connection *connection = &connections[events[i].data.u32];
      if (!receive(connection)) continue;
      if (!connection->warm) latencies[done++] = now_ns() - connection->due_ns;
      idle[idle_count++] = events[i].data.u32;
      connection->received = 0;
      busy--;
    }
  }
  const double used_us = cpu_us() - cpu_before;
  /* What was never answered has waited until now at least. */
  const int64_t at = now_ns();
  size_t lost = queued - taken + busy, unanswered = done;
  for (size_t i = taken; i < queued; i++) latencies[unanswered++] = at - waiting[i];
  for (int i = 0; i < count; i++) {
    int is_idle = 0;
    for (int j = 0; j < idle_count; j++) is_idle |= idle[j] == i;
    if (!is_idle && unanswered < most) latencies[unanswered++] = at - connections[i].due_ns;
  }
  due_count = unanswered;
  qsort(latencies, due_count, sizeof *latencies, ascending);
  qsort(delays, delayed, sizeof *delays, ascending);
  printf("{\"done\":%zu,\"lost\":%zu,\"seconds\":%.3f,\"p50Us\":%.1f,\"p90Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,\"maxUs\":%.1f,"
         "\"lateP99Us\":%.1f,\"cpuUs\":%.0f}\n",
         done, lost, (end_ns - start_ns - warm_ns) / 1e9, us_at(latencies, due_count, 0.5), us_at(latencies, due_count, 0.9),
         us_at(latencies, due_count, 0.99), us_at(latencies, due_count, 0.999), us_at(latencies, due_count, 1), us_at(delays, delayed, 0.99),
         used_us);
  return 0;
}
