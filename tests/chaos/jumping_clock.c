/*
 * A wall clock that jumps, for a worker that is started with this in LD_PRELOAD: ahead of the machine's by as many seconds as the file
 * that SONDER_CHAOS_CLOCK names holds (one int64, mapped: a change counts at once). The monotonic clock goes on as always.
 *
 * libfaketime cannot do this here: librdkafka waits by C11's cnd_timedwait, which goes past it with a time that it has moved, so that
 * a millisecond becomes a day.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Later than any time since boot, earlier than any time of day: which clock a wait means, its time says. */
enum { earliest_wall_time = 1000000000 };

static const volatile int64_t nothing = 0;
static const volatile int64_t* ahead = &nothing;

__attribute__((constructor)) static void map_offset(void) {
  const char* name = getenv("SONDER_CHAOS_CLOCK");
  const int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
  void* mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) {
    fprintf(stderr, "jumping_clock: SONDER_CHAOS_CLOCK names no file that can be mapped\n");
    _exit(2);
  }
  close(fd);
  ahead = mapped;
}

static int is_wall_clock(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

int clock_gettime(clockid_t clock, struct timespec* now) {
  const int outcome = (int)syscall(SYS_clock_gettime, clock, now);
  if (outcome == 0 && is_wall_clock(clock)) now->tv_sec += *ahead;
  return outcome;
}

int gettimeofday(struct timeval* restrict now, void* restrict zone) {
  struct timespec exact;
  (void)zone;
  if (clock_gettime(CLOCK_REALTIME, &exact) != 0) return -1;
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t* to) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return (time_t)-1;
  if (to != NULL) *to = now.tv_sec;
  return now.tv_sec;
}

int timespec_get(struct timespec* now, int base) {
  return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

/* Who waits until a time of day reckons by the clock above. */
static struct timespec by_machine(const struct timespec* until) {
  struct timespec moved = *until;
  if (moved.tv_sec > earliest_wall_time) moved.tv_sec -= *ahead;
  return moved;
}

int pthread_cond_timedwait(pthread_cond_t* restrict cond, pthread_mutex_t* restrict mutex, const struct timespec* restrict until) {
  static int (*next)(pthread_cond_t*, pthread_mutex_t*, const struct timespec*);
  const struct timespec moved = by_machine(until);
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
  return next(cond, mutex, &moved);
}

int cnd_timedwait(cnd_t* restrict cond, mtx_t* restrict mutex, const struct timespec* restrict until) {
  static int (*next)(cnd_t*, mtx_t*, const struct timespec*);
  const struct timespec moved = by_machine(until);
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "cnd_timedwait");
  return next(cond, mutex, &moved);
}

int pthread_cond_clockwait(pthread_cond_t* restrict cond, pthread_mutex_t* restrict mutex, clockid_t clock,
                           const struct timespec* restrict until) {
  static int (*next)(pthread_cond_t*, pthread_mutex_t*, clockid_t, const struct timespec*);
  const struct timespec moved = clock == CLOCK_REALTIME ? by_machine(until) : *until;
  if (next == NULL) *(void**)&next = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
  return next(cond, mutex, clock, &moved);
}
