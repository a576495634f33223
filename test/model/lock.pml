/* lock.pml - the bias handshake of core/lock.c: byte lock, `bias`, `busy`, death of any process at any step, revocation that may time out.
**
**   spin -DN=2 -DENTRIES=4 -a lock.pml && gcc -O2 -DSAFETY -o pan pan.c && ./pan -m1000000      must be silent
**
** Planted faults, which must be found: -DPLAIN `busy` stored, not claimed by compare-and-swap; -DHALF claimed so, but a dead owner's plainly
** cleared; -DNOFENCE the biased writer's store of `busy` late, as in a store buffer (with -DPLAIN).
**
** N writers (1..N), each entering ENTRIES times, MAXDEATHS of them may die anywhere.  Sequential consistency of the words stands for their seq_cst
** operations.  What a dead writer leaves is finished by its successor's session, outside this model: `inside` drops on death.
** Live words are read in separate steps wherever the C code does.
*/
#ifndef N
#define N 3
#endif
#ifndef ENTRIES
#define ENTRIES 3
#endif
#ifndef MAXDEATHS
#define MAXDEATHS 1
#endif
byte lockb = 0;                /* holder of byte 0; the kernel clears it at death */
byte bias = 0, busy = 0;
bool alive[N+1] = true;        /* LOCK_IDENTITY + id is locked */
byte inside = 0;               /* writers between lock_take and lock_release */
byte deaths = 0;

#define MAYDIE if :: deaths<MAXDEATHS -> goto dead :: skip fi

proctype writer(byte me){
  byte b, left = ENTRIES;
  bool in = false;
again:
  if :: left==0 -> goto done :: else -> left-- fi;
  MAYDIE;
  /* ---- enter_biased */
  if :: bias!=me -> goto byte_lock :: else fi;
  MAYDIE;
#ifndef PLAIN
  if :: atomic { busy==0 -> busy = me } :: atomic { busy!=0 -> goto byte_lock } fi;
#else
# ifdef NOFENCE
  /* the store is still in the buffer while bias is loaded */
  if :: bias==me -> in = true; inside++; assert(inside==1); busy = me; goto work_biased :: else -> busy = me; busy = 0; goto byte_lock fi;
# else
  busy = me;
# endif
#endif
#ifndef NOFENCE
  MAYDIE;
  if :: atomic { bias==me -> in = true; inside++ } :: atomic { bias!=me } fi;
  assert(inside<=1);
  if :: in -> goto work_biased :: else fi;
  MAYDIE;
  busy = 0;
#endif
  /* ---- take_byte */
byte_lock:
  MAYDIE;
  if :: atomic { lockb==0 -> lockb = me }
     :: atomic { lockb!=0 -> goto again }          /* busy timeout */
  fi;
  MAYDIE;
  /* ---- revoke_bias */
  if :: bias!=0 -> MAYDIE; bias = 0 :: bias==0 fi;
wait:
  b = busy;
  MAYDIE;
  if :: b==0 || b==me -> skip
     :: b!=0 && b!=me && !alive[b] ->
          MAYDIE;
#ifndef PLAIN
# ifdef HALF
          busy = 0
# else
          atomic { if :: busy==b -> busy = 0 :: else fi }; goto wait
# endif
#else
          busy = 0
#endif
     :: b!=0 && b!=me && alive[b] -> goto wait
     :: b!=0 && b!=me && alive[b] -> lockb = 0; goto again    /* BUSY */
  fi;
  atomic { in = true; inside++ }
  assert(inside<=1);
  MAYDIE;
  /* ---- unlock_process, LOCKED_BYTE */
  if :: busy==0 -> MAYDIE; atomic { in = false; inside-- }    /* the work ends before bias is stored */
                   MAYDIE; bias = me
     :: atomic { in = false; inside-- }
  fi;
  MAYDIE;
  lockb = 0;
  goto again;
work_biased:
  MAYDIE;
  assert(inside<=1);
  MAYDIE;
  atomic { in = false; inside-- }
  MAYDIE;
  busy = 0;
  goto again;
dead:
  atomic {
    if :: deaths<MAXDEATHS -> deaths++ :: else -> goto done fi;
    alive[me] = false;
    if :: in -> in = false; inside-- :: else fi;
    if :: lockb==me -> lockb = 0 :: else fi
  }
done:
  skip
}
init { byte i; atomic { i = 1; do :: i<=N -> run writer(i); i++ :: else -> break od } }
