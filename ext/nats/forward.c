/*
** forward.c - a write that maph-server hands to maph-replica relay (forward.h).
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include "nats/forward.h"

static const char magic[8] = { 'm', 'a', 'p', 'h', 'f', 'w', 'd', '1' };

typedef struct question_head {
  char magic[8];
  uint32_t what, type;
  uint64_t deadline_ms, sent_ms, expires;
  char identity[FORWARD_IDENTITY];
  forward_tags match, none_match;
  uint32_t bucket_size, filter_size, key_size, media_size;
  uint64_t value_size;
} question_head;

typedef struct answer_head {
  char magic[8];
  uint32_t outcome, existed;
  uint64_t revision, expires;
  uint32_t type, sentence_size, media_size, unused;
  uint64_t value_size;
} answer_head;

uint64_t forward_ticks(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void forward_identity(char room[FORWARD_IDENTITY]) {
  unsigned char bytes[16];
  int n;
  if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) abort();
  n = snprintf(room, FORWARD_IDENTITY, "maph-");
  for (size_t i = 0; i < sizeof bytes; i++) n += snprintf(room + n, 3, "%02x", bytes[i]);
}

/* ------------------------------------------------------------------------------------- the wire */
static bool wait_for(int fd, short what, uint64_t until) {
  struct pollfd one = { .fd = fd, .events = what };
  for (;;) {
    uint64_t now = forward_ticks();
    int n = poll(&one, 1, now < until ? (int)(until - now < 60000 ? until - now : 60000) : 0);
    if (n == 1) return true;
    if ((n < 0 && errno != EINTR) || forward_ticks() >= until) return false;
  }
}

static const char silent[] = "it did not answer in time";
static const char hung_up[] = "it hung up";

/* All of these, which are changed. */
static const char *send_all(int fd, struct iovec *parts, size_t count, uint64_t until) {
  struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
  while (message.msg_iovlen > 0) {
    ssize_t n;
    if (!wait_for(fd, POLLOUT, until)) return silent;
    n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return hung_up;
    for (; message.msg_iovlen > 0 && (size_t)n >= message.msg_iov->iov_len; message.msg_iovlen--)
      n -= (ssize_t)(message.msg_iov++)->iov_len;
    if (message.msg_iovlen == 0) break;
    message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
    message.msg_iov->iov_len -= (size_t)n;
  }
  return NULL;
}

static const char *receive_all(int fd, void *to, size_t size, uint64_t until) {
  for (size_t done = 0; done < size;) {
    ssize_t n;
    if (!wait_for(fd, POLLIN, until)) return silent;
    n = recv(fd, (char *)to + done, size - done, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n <= 0) return hung_up;
    done += (size_t)n;
  }
  return NULL;
}

static struct iovec part(const void *bytes, size_t size) {
  return (struct iovec){ (void *)bytes, size };
}
static struct iovec text(maph_slice bytes) { return part(bytes.data, bytes.size); }

static const char *check_magic(const char *is) {
  if (memcmp(is, magic, sizeof magic) == 0) return NULL;
  return memcmp(is, magic, sizeof magic - 1) == 0
             ? "it speaks another version of the protocol: maph-server and maph-replica must be of "
               "one release"
             : "it speaks another protocol";
}

/* The next `size` bytes of what was received. */
static maph_slice take(const char **at, size_t size) {
  maph_slice bytes = maph_bytes(*at, size);
  *at += size;
  return bytes;
}

/* Used as text with an end. */
static bool has_zero(maph_slice bytes) {
  return bytes.size > 0 && memchr(bytes.data, 0, bytes.size) != NULL;
}

/* --------------------------------------------------------------------------------- the question */
const char *forward_send_question(int fd, const forward_question *question, uint64_t until) {
  question_head head = { .what = question->what,
                         .type = (uint32_t)question->type,
                         .deadline_ms = question->deadline_ms,
                         .sent_ms = question->sent_ms,
                         .expires = question->expires,
                         .match = question->match,
                         .none_match = question->none_match,
                         .bucket_size = (uint32_t)question->bucket.size,
                         .filter_size = (uint32_t)question->filter.size,
                         .key_size = (uint32_t)question->key.size,
                         .media_size = (uint32_t)question->media_type.size,
                         .value_size = question->value.size };
  struct iovec parts[] = { part(&head, sizeof head),   text(question->bucket),
                           text(question->filter),     text(question->key),
                           text(question->media_type), text(question->value) };
  memcpy(head.magic, magic, sizeof magic);
  memcpy(head.identity, question->identity, sizeof head.identity);
  return send_all(fd, parts, sizeof parts / sizeof parts[0], until);
}

static bool tags_fit(const forward_tags *tags) {
  return tags->present <= 1 && tags->any <= 1 && tags->count <= FORWARD_TAGS
         && (tags->present || (!tags->any && tags->count == 0));
}

static bool question_fits(const question_head *head) {
  return head->what >= FORWARD_PUT && head->what <= FORWARD_GET && head->type <= MAPH_NULL
         && tags_fit(&head->match) && tags_fit(&head->none_match)
         && memchr(head->identity, 0, sizeof head->identity) != NULL && head->bucket_size > 0
         && head->bucket_size <= FORWARD_BUCKET && head->filter_size <= FORWARD_FILTER
         && head->key_size > 0 && head->key_size <= FORWARD_KEY
         && head->media_size <= FORWARD_MEDIA_TYPE && head->value_size <= FORWARD_VALUE
         && (head->what == FORWARD_PUT || head->value_size == 0);
}

const char *forward_receive_question(int fd, forward_question *question, uint64_t until) {
  question_head head;
  size_t size;
  const char *at, *wrong = receive_all(fd, &head, sizeof head, until);
  memset(question, 0, sizeof *question);
  if (wrong == NULL) wrong = check_magic(head.magic);
  if (wrong) return wrong;
  if (!question_fits(&head)) return "its question has no sense";
  size = (size_t)head.bucket_size + head.filter_size + head.key_size + head.media_size
         + (size_t)head.value_size;
  at = question->memory = malloc(size);
  if (at == NULL) return "out of memory";
  if ((wrong = receive_all(fd, question->memory, size, until)) != NULL) return wrong;
  question->what = (forward_what)head.what;
  question->type = (int)head.type;
  question->deadline_ms = head.deadline_ms;
  question->sent_ms = head.sent_ms;
  question->expires = head.expires;
  memcpy(question->identity, head.identity, sizeof head.identity);
  question->match = head.match;
  question->none_match = head.none_match;
  question->bucket = take(&at, head.bucket_size);
  question->filter = take(&at, head.filter_size);
  question->key = take(&at, head.key_size);
  question->media_type = take(&at, head.media_size);
  question->value = take(&at, (size_t)head.value_size);
  return has_zero(question->bucket) || has_zero(question->filter) || has_zero(question->media_type)
             ? "its question has no sense"
             : NULL;
}

/* ----------------------------------------------------------------------------------- the answer */
const char *forward_send_answer(int fd, const forward_answer *answer, uint64_t until) {
  answer_head head = { .outcome = answer->outcome,
                       .existed = answer->existed,
                       .revision = answer->revision,
                       .expires = answer->expires,
                       .type = (uint32_t)answer->type,
                       .sentence_size = (uint32_t)strlen(answer->sentence),
                       .media_size = (uint32_t)answer->media_type.size,
                       .value_size = answer->value.size };
  struct iovec parts[] = { part(&head, sizeof head),
                           part(answer->sentence, strlen(answer->sentence)),
                           text(answer->media_type), text(answer->value) };
  memcpy(head.magic, magic, sizeof magic);
  return send_all(fd, parts, sizeof parts / sizeof parts[0], until);
}

static bool answer_fits(const answer_head *head) {
  return head->outcome >= FORWARD_DONE && head->outcome < FORWARD_OUTCOMES && head->existed <= 1
         && head->type <= MAPH_NULL && head->sentence_size < FORWARD_SENTENCE
         && head->media_size <= FORWARD_MEDIA_TYPE && head->value_size <= FORWARD_VALUE;
}

const char *forward_receive_answer(int fd, forward_answer *answer, uint64_t until) {
  answer_head head;
  size_t size;
  const char *at, *wrong = receive_all(fd, &head, sizeof head, until);
  memset(answer, 0, sizeof *answer);
  if (wrong) return wrong;
  /* It did not understand the question either. */
  if ((wrong = check_magic(head.magic)) != NULL) {
    answer->outcome = FORWARD_UNAVAILABLE;
    snprintf(answer->sentence, sizeof answer->sentence, "maph-replica relay: %s", wrong);
    return NULL;
  }
  if (!answer_fits(&head)) return "its answer has no sense";
  wrong = receive_all(fd, answer->sentence, head.sentence_size, until);
  if (wrong) return wrong;
  size = head.media_size + (size_t)head.value_size;
  at = answer->memory = malloc(size + 1);
  if (at == NULL) return "out of memory";
  if ((wrong = receive_all(fd, answer->memory, size, until)) != NULL) return wrong;
  answer->outcome = (forward_outcome)head.outcome;
  answer->existed = head.existed != 0;
  answer->revision = head.revision;
  answer->expires = head.expires;
  answer->type = (int)head.type;
  answer->media_type = take(&at, head.media_size);
  answer->value = take(&at, (size_t)head.value_size);
  return NULL;
}

/* -------------------------------------------------------------------------------------- connect */
int forward_connect(const char *path, uint64_t until) {
  struct sockaddr_un to = { .sun_family = AF_UNIX };
  struct timespec pause = { .tv_nsec = 5000000 };
  int fd, error;
  if (strlen(path) >= sizeof to.sun_path) {
    errno = ENAMETOOLONG;
    return -1;
  }
  strcpy(to.sun_path, path);
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  while (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
    error = errno;
    if ((error == EAGAIN || error == EINTR) && forward_ticks() < until) {
      nanosleep(&pause, NULL);
      continue;
    }
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}
