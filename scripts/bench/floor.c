/*
 * The floor of the read benchmarks: the same files, read with pread on held descriptors, in C. Reads a list of paths from the file
 * named by the first argument, opens them all, and then for each line on standard input reads them all once and prints the
 * nanoseconds that took.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[16384];

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  FILE *list = fopen(argv[1], "r");
  if (!list) return 2;
  size_t capacity = 1024, count = 0;
  int *fds = malloc(capacity * sizeof *fds);
  char path[4096];
  while (fgets(path, sizeof path, list)) {
    path[strcspn(path, "\n")] = 0;
    if (count == capacity) fds = realloc(fds, (capacity *= 2) * sizeof *fds);
    fds[count] = open(path, O_RDONLY);
    if (fds[count] < 0) {
      perror(path);
      return 1;
    }
    count++;
  }
  fclose(list);
  char line[64];
  while (fgets(line, sizeof line, stdin)) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (size_t at = 0; at < count; at++)
      if (pread(fds[at], buffer, sizeof buffer, 0) < 0) return 1;
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%lld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + (to.tv_nsec - from.tv_nsec));
    fflush(stdout);
  }
  return 0;
}
