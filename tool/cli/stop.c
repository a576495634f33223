/*
** stop.c - signals, and how the program ends by one.
**
** The first SIGINT, SIGTERM or SIGHUP only leaves word: the command sees it at its next step, drops its transaction, removes its temporary file,
** closes the store and the program ends as that signal would have ended it.  A second one ends it at once; a transaction that was
** open then is dropped by whoever writes next.
**
** SIGPIPE and SIGXFSZ are ignored: a reader that is gone and a file-size limit are errors of a call.
**
** SIGBUS is what touching a page raises after a stranger shortened the mapped file.  The handler puts a page of zeros there, so
** that the command reads something that fails its checksum, and leaves word: bytes taken from then on are never written out.
*/
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>
#include "cli.h"

static const int asking[] = { SIGINT, SIGTERM, SIGHUP };
static volatile sig_atomic_t asked;
static _Atomic(const char*) removed;
static atomic_bool cut_short;
static uintptr_t page_mask;

static void on_stop(int number){
  if( asked ){
    const char *path = atomic_load(&removed);
    if( path ) unlink(path);
    signal(number, SIG_DFL);
    raise(number);
  }
  asked = number;
}

static void on_sigbus(int number, siginfo_t *info, void *context){
  int saved = errno;
  void *page = (void*)((uintptr_t)info->si_addr & ~page_mask);
  (void)context;
  if( info->si_code!=BUS_ADRERR
   || mmap(page, page_mask + 1, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS|MAP_FIXED, -1, 0)==MAP_FAILED ){
    signal(number, SIG_DFL);
  }
  atomic_store(&cut_short, true);
  errno = saved;
}

void stop_start(void){
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_stop;                      /* without SA_RESTART: waiting calls return */
  for(size_t i = 0; i < sizeof asking/sizeof asking[0]; i++){
    if( sigaction(asking[i], NULL, &before)==0 && before.sa_handler==SIG_IGN ) continue;      /* nohup, a background job */
    sigaction(asking[i], &action, NULL);
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
  page_mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, NULL);
}

int stop_asked(void){ return asked; }

void stop_removes(const char *path){ atomic_store(&removed, path); }

/* Signals are let in only while poll waits, so that none arrives between looking and waiting. */
bool stop_wait_readable(int fd){
  struct pollfd p = { .fd = fd, .events = POLLIN };
  sigset_t stopping, before;
  sigemptyset(&stopping);
  for(size_t i = 0; i < sizeof asking/sizeof asking[0]; i++) sigaddset(&stopping, asking[i]);
  sigprocmask(SIG_BLOCK, &stopping, &before);
  while( !asked && ppoll(&p, 1, NULL, &before) < 0 && errno==EINTR ){}
  sigprocmask(SIG_SETMASK, &before, NULL);
  return !asked;
}

int stop_status(int status){
  if( asked && status!=DONE ){
    signal(asked, SIG_DFL);
    raise(asked);
  }
  return status;
}

bool file_cut_short(void){ return atomic_load(&cut_short); }
