/*
** keys.h - a bucket's keys and maph's: which stand for which.
**
** A bucket's key is the end of a NATS subject, $KV.BUCKET.KEY, and clients of a bucket take
** letters, digits, - _ / = and . alone, with no . at either end and no two of them in a row.
** maph's keys are any bytes.
**
** plain     a key is itself.  What does not fit cannot be put.
** escaped   each byte but letters, digits, - _ / and . is =XX, two upper-case hexadecimal digits,
**           and so is a . that comes first, last or behind another.  Each key has one form, and
**           each form one key: what is read and would not be written so stands for no key.
**
** Keys that begin alike have forms that begin alike, but for a . at the end of the beginning: a
** filter by subject works in both.
*/
#ifndef MAPH_NATS_KEYS_H
#define MAPH_NATS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include "maph.h"

typedef enum key_mode { KEYS_PLAIN, KEYS_ESCAPED } key_mode;

/* nats-server closes the connection that sends a longer control line than 4096 bytes; the line has
** the bucket's name, the key, and room for the rest. */
enum { KEYS_LINE = 3900, KEYS_BUCKET = 252 };

/* May a bucket be named so: letters, digits, - and _, at most KEYS_BUCKET? */
bool keys_bucket_valid(maph_slice name);
/* How long the form of a key may be in that bucket. */
size_t keys_longest(maph_slice bucket);

/* The form of `key` in the bucket, written to `form`.  NULL, or a sentence about why it has
** none. */
const char *keys_encode(key_mode mode, maph_slice bucket, maph_slice key, char form[KEYS_LINE],
                        size_t *size);

/* The key that a form stands for, written to `key`, which has room for the form and may be it.
** False: for none.  In plain mode that is only the empty one: others than clients of buckets may
** have written to the subject, and what they wrote is there. */
bool keys_decode(key_mode mode, maph_slice form, char *key, size_t *size);

/* Is the form of a key among those that a filter names: * for a part between dots, > for all parts
** that follow? */
bool keys_among(const char *filter, maph_slice form);

#endif
