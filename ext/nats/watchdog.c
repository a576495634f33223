/*
** watchdog.c - an end to what does not come back (watchdog.h).
*/
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>
#include "nats/replica.h"
#include "nats/watchdog.h"

static char last_words[128];

static void give_up(int signal) {
  (void)signal;
  if (write(STDERR_FILENO, last_words, strlen(last_words)) < 0) _exit(FAILED);
  _exit(FAILED);
}

static void set_timer(time_t seconds) {
  struct itimerval timer = { .it_value = { .tv_sec = seconds } };
  setitimer(ITIMER_REAL, &timer, NULL);
}

void watchdog_begin(uint64_t timeout_ms, const char *words) {
  struct sigaction action = { .sa_handler = give_up };
  snprintf(last_words, sizeof last_words, "maph-replica: %s\n", words);
  sigaction(SIGALRM, &action, NULL);
  set_timer((time_t)(timeout_ms / 1000 + 1));
}

void watchdog_end(void) { set_timer(0); }
