"""make bench-python: the Python package beside Debian's python3-lmdb, both compiled.

The same keys and values in both, in memory; each reads the same keys in slices by turns, so that
what else the machine does meets both.  A figure is the median of the slices.
"""

import os
import random
import statistics
import sys
import tempfile
import time

import maph

SLICES, READS, TOGETHER = 31, 20000, 100
# the keys of READS gets lie in no cache of the processor, or all of them do
SIZES = (1000, 1000000)


def both(folder, count):
    """A store and a transaction of LMDB that hold `count` keys, and the keys."""
    keys, value = [b"key/%08d" % n for n in range(count)], bytes(100)
    path = os.path.join(folder, "%d.maph" % count)
    with maph.load(path) as load:
        for key in keys:
            load[key] = value
    other = lmdb.open(os.path.join(folder, "%d.lmdb" % count), map_size=1 << 33)
    with other.begin(write=True) as transaction:
        for key in keys:
            transaction.put(key, value)
    return maph.open(path), other.begin(), keys


def works(store, transaction):
    """Of each work its name, and what does it here and there with a list of keys."""
    cursor = transaction.cursor()

    def get(keys):
        for key in keys:
            store[key]

    def other_get(keys):
        for key in keys:
            transaction.get(key)

    def get_many(keys):
        for n in range(0, len(keys), TOGETHER):
            store.get_many(keys[n : n + TOGETHER])

    def other_get_many(keys):
        for n in range(0, len(keys), TOGETHER):
            cursor.getmulti(keys[n : n + TOGETHER])

    def ranges(keys):
        for key in keys[::TOGETHER]:
            for _ in store.range(key, limit=TOGETHER):
                pass

    def other_ranges(keys):
        for key in keys[::TOGETHER]:
            cursor.set_range(key)
            for _ in zip(range(TOGETHER), cursor):
                pass

    passes = max(1, READS // len(store))

    def items(keys):
        for _ in range(passes):
            for _ in zip(keys, store.items()):
                pass

    def other_items(keys):
        for _ in range(passes):
            for _ in zip(keys, transaction.cursor()):
                pass

    return (
        ("store[key], txn.get(key)", get, other_get),
        ("get_many, getmulti of %d" % TOGETHER, get_many, other_get_many),
        ("ranges of %d, an entry" % TOGETHER, ranges, other_ranges),
        ("items(), an entry", items, other_items),
    )


def took(work, keys):
    began = time.perf_counter()
    work(keys)
    return (time.perf_counter() - began) * 1e9 / len(keys)


def compare(folder, count):
    store, transaction, keys = both(folder, count)
    order = keys * (READS // count + 1)
    random.Random(1).shuffle(order)
    order += order
    for name, here, there in works(store, transaction):
        times = {here: [], there: []}
        for n in range(SLICES):
            start = n * READS % (len(order) // 2)
            for work in (here, there) if n % 2 else (there, here):
                times[work].append(took(work, order[start : start + READS]))
        ours, theirs = (statistics.median(times[work]) for work in (here, there))
        print("%8d  %-26s %8.0f %8.0f %7.2f" % (count, name, ours, theirs, ours / theirs))


try:
    import lmdb
except ImportError:
    sys.exit("no lmdb: apt-get install python3-lmdb")
if not maph.compiled:
    sys.exit("nothing is compiled: apt-get install python3-dev, then ./configure and make")
with tempfile.TemporaryDirectory(prefix="maph-bench.", dir="/dev/shm") as folder:
    print("    keys  nanoseconds                    maph     lmdb   ratio")
    for count in SIZES:
        compare(folder, count)
