/*
** rate.c - option.rate requests a second for each client: for each token, or for each address where
** no good token came.
**
** The generic cell rate algorithm: a client's account is the time at which it has used up what it
** was given.  A request moves that time on by 1/rate, and is refused when it lies a second or more
** ahead of the clock, so a second's worth may come at once. Accounts are slots of a fixed table,
** found by a keyed hash, so memory is bounded and nobody can aim at a slot.  An account whose time
** is past says nothing and is free for the next; where none of the few slots for a hash is free,
** its emptiest is shared.
*/
#include <pthread.h>
#include <sys/random.h>
#include "access/auth.h"
#include "access/rate.h"
#include "base/clock.h"
#include "base/options.h"
#include "http/reply.h"

enum { SLOTS = 4096, TRIES = 8 };
#define SECOND_US 1000000u
static struct account { uint64_t who, used_until_us; } accounts[SLOTS]; /* accounts_mutex */
static pthread_mutex_t accounts_mutex = PTHREAD_MUTEX_INITIALIZER;
static uint64_t seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void) {
  if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0) seed = now_us();
}

static uint64_t hash(const char *text) {
  uint64_t h = seed;
  while (*text) {
    h = (h ^ (unsigned char)*text++) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  return h;
}

static struct account *account_of(uint64_t who, uint64_t now) {
  struct account *emptiest = NULL;
  for (unsigned i = 0; i < TRIES; i++) {
    struct account *account = &accounts[(who + i) % SLOTS];
    if (account->who == who) return account;
    if (emptiest == NULL || account->used_until_us < emptiest->used_until_us) emptiest = account;
  }
  if (emptiest->used_until_us <= now) emptiest->who = who;
  return emptiest;
}

static bool take(uint64_t who) {
  uint64_t now = now_us();
  struct account *account;
  bool allowed;
  pthread_mutex_lock(&accounts_mutex);
  account = account_of(who, now);
  if (account->used_until_us < now) account->used_until_us = now;
  allowed = account->used_until_us < now + SECOND_US;
  if (allowed) account->used_until_us += SECOND_US / option.rate;
  pthread_mutex_unlock(&accounts_mutex);
  return allowed;
}

bool rate_allows(request *request) {
  if (option.rate == 0 || request->counted) return true;
  request->counted = true;
  pthread_once(&seed_once, make_seed);
  if (take(hash(auth_knows(request) ? auth_token(request) : request->remote))) return true;
  reply_problem(request, 429, "too_many_requests",
                "at most %llu requests a second are taken from one client",
                (unsigned long long)option.rate);
  return false;
}
