/*
** progress.c - one line on standard error that says how far the work is, when a person is there to see it.
**
** Drawn at most ten times a second and taken away at the end, so that it never mixes with what is said.  Work that cannot say how far it is
** (the library's check and recovery) is shown by the time it takes, which a thread of its own keeps drawing.
*/
#include <pthread.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli.h"

enum { INTERVAL_MS = 100, TICK_MS = 250, BAR_MOST = 40, WIDTH_UNKNOWN = 80 };

static struct {
  bool        shown, drawn, ticking;
  char        verb[64];
  uint64_t    begin_ms, drawn_ms;
  pthread_t   thread;
  bool        done;                /* under mutex */
} bar;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  ended;

static uint64_t now_ms(void){
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec*1000 + (uint64_t)t.tv_nsec/1000000;
}

static size_t terminal_width(void){
  struct winsize w;
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &w)==0 && w.ws_col > 20 ? w.ws_col : WIDTH_UNKNOWN;
}

static void draw(const char *text){
  char line[512];
  int n = snprintf(line, sizeof line, "\r%.*s\x1b[K", (int)terminal_width() - 1, text);
  if( n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0 ) bar.shown = false;
  bar.drawn = true;
}

void progress_start(const arguments *a, const char *verb){
  progress_end();
  bar.shown = !a->quiet && isatty(STDERR_FILENO)==1;
  snprintf(bar.verb, sizeof bar.verb, "%s", verb);
  bar.begin_ms = now_ms();
  bar.drawn_ms = 0;
}

/* "40 s left", once there is something to judge it by. */
static void time_left(char *room, size_t size, double part, uint64_t spent_ms){
  double left = part > 0.02 && spent_ms > 2000 ? (double)spent_ms/1000*(1 - part)/part : 0;
  room[0] = 0;
  if( left >= 90 ) snprintf(room, size, "  %.0f min left", left/60);
  else if( left >= 1 ) snprintf(room, size, "  %.0f s left", left);
}

void progress_show(uint64_t done, uint64_t total, bool bytes){
  char text[256], amount[32], left[32], track[BAR_MOST + 1];
  uint64_t now;
  if( !bar.shown ) return;
  now = now_ms();
  if( bar.drawn_ms && now - bar.drawn_ms < INTERVAL_MS ) return;
  bar.drawn_ms = now;
  if( bytes ) bytes_for_people(done, amount);
  else count_for_people(done, amount);
  if( total ){
    double part = done < total ? (double)done/(double)total : 1;
    size_t width = terminal_width(), most = width < 80 ? BAR_MOST*width/160 : BAR_MOST, full = (size_t)(part*(double)most);
    memset(track, '.', most);
    memset(track, '#', full);
    track[most] = 0;
    time_left(left, sizeof left, part, now - bar.begin_ms);
    snprintf(text, sizeof text, "%s  [%s] %3.0f %%  %s%s", bar.verb, track, 100*part, amount, left);
  }else{
    snprintf(text, sizeof text, "%s  %s  %llu s", bar.verb, amount, (unsigned long long)(now - bar.begin_ms)/1000);
  }
  draw(text);
}

int progress_callback(void *arg, const char *phase, uint64_t done, uint64_t total){
  snprintf(bar.verb, sizeof bar.verb, "%s: %s", (const char*)arg, phase);
  progress_show(done, total, false);
  return stop_asked()!=0;
}

/* ------------------------------------------------------------------------------------------------------------- ticking */
static void draw_time(void){
  char text[128];
  snprintf(text, sizeof text, "%s  %llu s", bar.verb, (unsigned long long)(now_ms() - bar.begin_ms)/1000);
  draw(text);
}

static void *tick(void *arg){
  struct timespec until;
  (void)arg;
  pthread_mutex_lock(&mutex);
  clock_gettime(CLOCK_MONOTONIC, &until);
  for(;;){
    until.tv_nsec += TICK_MS*1000000L;
    if( until.tv_nsec >= 1000000000L ){ until.tv_nsec -= 1000000000L; until.tv_sec++; }
    while( !bar.done && pthread_cond_timedwait(&ended, &mutex, &until)==0 ){}
    if( bar.done ) break;
    draw_time();
  }
  pthread_mutex_unlock(&mutex);
  return NULL;
}

void progress_tick_start(const arguments *a, const char *verb){
  pthread_condattr_t monotonic;
  progress_start(a, verb);
  if( !bar.shown ) return;
  draw_time();
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&ended, &monotonic);
  pthread_condattr_destroy(&monotonic);
  bar.done = false;
  bar.ticking = pthread_create(&bar.thread, NULL, tick, NULL)==0;
}

void progress_end(void){
  if( bar.ticking ){
    pthread_mutex_lock(&mutex);
    bar.done = true;
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&mutex);
    pthread_join(bar.thread, NULL);
    pthread_cond_destroy(&ended);
    bar.ticking = false;
  }
  if( bar.drawn && write(STDERR_FILENO, "\r\x1b[K", 4) < 0 ) bar.shown = false;
  bar.drawn = false;
  bar.drawn_ms = 0;
}
