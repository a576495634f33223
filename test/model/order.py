#!/usr/bin/env python3
"""order.py - how runs of keys are published and merged (core/order/write.c), and what a reader
makes of them (core/calls/range.c): an explicit search.

The file is a row of cells, each a transaction of one new key, a leaf, a list of runs, an epoch or
a pad.  Cells past `end` keep what they held when a recovery gave them back: memory that is used
again.  Two writers take turns; each commits, appends runs and merges them, one step of store at a
time, and may be killed before any of them.  A merge goes on while others commit and append.  At a
loss of power each cell since the last flush may be lost, and `order` be any value that it had
since.  Recovery is done by a library that keeps the order, or by one that knows nothing of it.
Readers take `committed`, then `order`, then the list, then all that it leads to, and the log since,
while writers go on.

    order.py BOUNDS [FAULT]    small or large.  Prints the number of states and "sound", or the
                               steps to a violation

What must hold: a reader sees each key that was committed at its snapshot once, and no other, and
no entry leads to anything but that key's record.  A FAULT leaves one rule out; the search must then
find a violation (test/core_order_model.test):
  blind-merge      a merged run is shown though its inputs are not in the list any more
  uncommitted      a run has what is not committed yet
  early-list       a list is shown before its last leaf is written
  no-life          a reader does not ask whose life a list is of
  renew-unchecked  recovery does not look whether the leaves of the old list are whole
  no-snapshot      a reader does not pass over what is newer than its snapshot
  no-least         a reader does not pass over what its kept tail and the runs both have
"""
import sys
from collections import namedtuple

from search import search

# Keys, merges, kills, losses of power, reads.
BOUNDS = {
    "small": ((2, 0, 1, 0, 2), (2, 1, 1, 0, 1), (2, 0, 0, 1, 1), (3, 2, 0, 0, 1)),
    "large": ((3, 1, 1, 0, 2), (3, 0, 0, 1, 1), (2, 1, 0, 1, 1)),
}

# Cells are tuples: ("put", key), ("leaf", entries), ("list", to, life, leaves), ("epoch", life),
# PAD, NOTHING; an entry is (key, place).
PAD, NOTHING = ("pad",), ("nothing",)

# A writer's session: what it is to do next, ("cover"|"fill", cell, then) or ("show", place), or
# None.
# merge: (inputs, place of the merged leaf or None), kept between sessions.
Writer = namedtuple("Writer", "todo merge")
# at: "none", "snapshot", "order", "list"; what it took; tail: where its kept tail begins, or None.
Reader = namedtuple("Reader", "at snapshot life order list tail")
State = namedtuple(
    "State",
    "cells end committed order life flushed orders turn writers reader " "merges kills power reads",
)
NO_READER = Reader("none", 0, 0, 0, None, None)


def with_cell(cells, at, cell):
    cells = cells + (NOTHING,) * (at + 1 - len(cells))
    return cells[:at] + (cell,) + cells[at + 1 :]


def new_keys(cells, start, end):
    return tuple((cells[i][1], i) for i in range(start, end) if cells[i][0] == "put")


class Model:
    def __init__(self, fault, keys):
        self.fault, self.keys = fault, keys

    # -------------------------------------------------------------------------------- what is read
    def load(self, s, place, life):
        """The list there, for a snapshot of that life: (to, leaves)."""
        cell = s.cells[place] if place < len(s.cells) else NOTHING
        if place == 0 or cell[0] != "list":
            return (1, ())
        if self.fault != "no-life" and life > cell[2]:
            return (1, ())
        return (cell[1], cell[3])

    def answer(self, s, r):
        """None, or what is wrong with what the reader sees."""
        to, leaves = r.list
        seen = []
        for leaf in leaves:
            cell = s.cells[leaf]
            if cell[0] != "leaf":
                return "a run is where none is"
            seen += cell[1]
        start = min(to if r.tail is None else r.tail, r.snapshot)
        least = 0 if self.fault == "no-least" else to
        seen += [e for e in new_keys(s.cells, start, r.snapshot) if e[1] >= least]
        for key, place in seen:
            if s.cells[place] != ("put", key):
                return "an entry leads elsewhere"
        if self.fault != "no-snapshot":
            seen = [e for e in seen if e[1] < r.snapshot]
        if len(set(seen)) != len(seen):
            return "a key is seen twice"
        if sorted(seen) != sorted(new_keys(s.cells, 1, r.snapshot)):
            return "a key is missed, or one seen that the snapshot does not have"
        return None

    def violation(self, s):
        return self.answer(s, s.reader) if s.reader.at == "list" else None

    # --------------------------------------------------------------------------------------- steps
    def steps(self, s):
        for who in (0, 1):
            if s.turn == who:
                yield from self.go_on(s, who)
            elif s.turn is None:
                yield from self.begin(s, who)
        if s.turn is not None and s.kills > 0:
            yield "the writer is killed", self.killed(s)._replace(kills=s.kills - 1)
        yield from self.read(s)
        if s.power > 0:
            yield from self.lose_power(s._replace(power=s.power - 1))

    def put(self, s, who, todo, **more):
        w = s.writers[who]._replace(todo=todo)
        writers = (w, s.writers[1]) if who == 0 else (s.writers[0], w)
        return s._replace(writers=writers, turn=who if todo else None, **more)

    def killed(self, s):
        """Whoever comes next covers what was not committed; extents stay what they are."""
        cells = s.cells
        for i in range(s.committed, s.end):
            if cells[i][0] == "put":
                cells = with_cell(cells, i, PAD)
        writers = list(s.writers)
        writers[s.turn] = Writer(None, None)
        return s._replace(cells=cells, turn=None, writers=tuple(writers))

    def begin(self, s, who):
        name = "AB"[who] + " "
        there = [e[0] for e in new_keys(s.cells, 1, s.end)]
        free = [k for k in range(self.keys) if k not in there]
        if free:
            cells = with_cell(s.cells, s.end, ("put", free[0]))
            yield name + "begins a put", self.put(s, who, ("commit",), cells=cells, end=s.end + 1)
        to, leaves = self.load(s, s.order, s.life)
        limit = s.end if self.fault == "uncommitted" else s.committed
        entries = new_keys(s.cells, to, limit)
        if entries:
            yield name + "begins a run", self.put(
                s, who, ("cover", ("leaf", tuple(sorted(entries))), ("run", limit))
            )
        merge = s.writers[who].merge
        if merge is None and len(leaves) >= 2 and s.merges > 0:
            yield name + "begins a merge", self.with_merge(s, who, (leaves[-2:], None))._replace(
                merges=s.merges - 1
            )
        if merge is not None:
            yield from self.merge_on(s, who, name, merge, to, leaves)

    def merge_on(self, s, who, name, merge, to, leaves):
        """A slice: first the merged leaf, then, in another session, the list that has it."""
        inputs, leaf = merge
        i = [n for n in range(len(leaves)) if leaves[n : n + len(inputs)] == inputs]
        if self.fault != "blind-merge" and not i:
            yield name + "drops its merge", self.with_merge(s, who, None)
        elif leaf is None:
            entries = sum((s.cells[n][1] for n in inputs), ())
            merged = ("leaf", tuple(sorted(entries)))
            yield name + "merges", self.put(s, who, ("cover", merged, ("merged",)))
        else:
            first = i[0] if i else max(len(leaves) - len(inputs), 0)
            now = leaves[:first] + (leaf,) + leaves[first + len(inputs) :]
            done = self.with_merge(s, who, None)
            listed = ("cover", ("list", to, s.life, now), ("show",))
            yield name + "lists its merge", self.put(done, who, listed)

    def with_merge(self, s, who, merge):
        writers = list(s.writers)
        writers[who] = writers[who]._replace(merge=merge)
        return s._replace(writers=tuple(writers))

    def go_on(self, s, who):
        """The next store of a session."""
        name, todo = "AB"[who] + " ", s.writers[who].todo
        if todo[0] == "commit":
            yield name + "commits", self.put(s, who, None, committed=s.end)
            if self.fault == "uncommitted":  # its run is begun before
                entries = new_keys(s.cells, self.load(s, s.order, s.life)[0], s.end)
                yield name + "begins a run", self.put(
                    s, who, ("cover", ("leaf", tuple(sorted(entries))), ("run", s.end))
                )
        elif todo[0] == "cover":  # `end` covers it, and its bytes are what lay there
            cells = s.cells if s.end < len(s.cells) else with_cell(s.cells, s.end, NOTHING)
            after = s._replace(cells=cells, end=s.end + 1)
            fill = ("fill",) + todo[1:] + (s.end,)
            yield name + "covers a " + todo[1][0], self.put(after, who, fill)
        elif todo[0] == "fill":
            _, cell, then, place = todo
            if self.fault == "early-list" and then[0] == "run":
                yield name + "leaves it for later", self.filled(s, who, then, place, cell)
                return
            filled = s._replace(cells=with_cell(s.cells, place, cell))
            yield name + "fills it", self.filled(filled, who, then, place)
        elif todo[0] == "show":
            orders = s.orders | {todo[1]}
            late = ("fill", todo[2], ("end",), todo[3]) if len(todo) > 2 else None
            yield name + "shows it", self.put(s, who, late, order=todo[1], orders=orders)

    def filled(self, s, who, then, place, late=None):
        """What follows a cell that is there, or is to come after all else."""
        if then[0] == "end":
            return self.put(s, who, None)
        if then[0] == "show":
            return self.put(s, who, ("show", place) + then[1:])
        if then[0] == "merged":
            return self.put(self.with_merge(s, who, (s.writers[who].merge[0], place)), who, None)
        _, leaves = self.load(s, s.order, s.life)
        show = ("show", late, place) if late else ("show",)
        return self.put(s, who, ("cover", ("list", then[1], s.life, leaves + (place,)), show))

    def read(self, s):
        r = s.reader
        if r.at == "none" and s.reads > 0:
            taken = r._replace(at="snapshot", snapshot=s.committed, life=s.life)
            yield "a reader takes its snapshot", s._replace(reads=s.reads - 1, reader=taken)
        elif r.at == "snapshot":
            yield "it loads `order`", s._replace(reader=r._replace(at="order", order=s.order))
        elif r.at == "order":
            taken = self.load(s, r.order, r.life)
            tail = r.tail if r.tail is not None and r.tail <= taken[0] else taken[0]
            reader = r._replace(at="list", list=taken, tail=tail)
            yield "it loads the list", s._replace(reader=reader)
        elif r.at == "list":
            done = NO_READER._replace(tail=r.tail) if s.reads else NO_READER
            yield "it is done", s._replace(reader=done)

    # --------------------------------------------------------------------------------------- power
    def lose_power(self, s):
        if s.turn is not None:
            s = self.killed(s)
        s = s._replace(writers=(Writer(None, None),) * 2, reader=NO_READER)
        yield "all is flushed", s._replace(flushed=s.end, orders=frozenset({s.order}))
        lossy = range(s.flushed, s.end)
        for mask in range(1 << len(lossy)):
            cells = s.cells
            for bit, i in enumerate(lossy):
                if mask >> bit & 1:
                    cells = with_cell(cells, i, NOTHING)
            for order in s.orders:
                for keeps in (True, False):
                    who = "the order is kept" if keeps else "a library that knows no order recovers"
                    left = s._replace(cells=cells, order=order)
                    yield "the power fails, " + who, self.recover(left, keeps)

    def recover(self, s, keeps):
        """The log ends with its last whole transaction, with the extents behind that can be passed
        over; an epoch follows, and then what a library that keeps the order makes of the list."""
        at = 1
        while at < s.end and s.cells[at] != NOTHING:
            at += 1
        limit = max([1] + [i + 1 for i in range(1, at) if s.cells[i][0] in ("put", "epoch")])
        life = s.life + 1
        cells, end, order = with_cell(s.cells, at, ("epoch", life)), at + 1, s.order
        if keeps:
            cells, end, order = self.renew(s._replace(cells=cells, end=end), limit, life)
        return s._replace(
            cells=cells,
            end=end,
            order=order,
            life=life,
            committed=at + 1,
            flushed=end,
            orders=frozenset({order}),
        )

    def renew(self, s, limit, life):
        cell = s.cells[s.order] if 0 < s.order < len(s.cells) else NOTHING
        if cell[0] != "list" or cell[2] + 1 != life:
            return s.cells, s.end, 0
        if cell[1] > limit:
            return s.cells, s.end, 0
        whole = all(n < s.end and s.cells[n][0] == "leaf" for n in cell[3])
        if self.fault != "renew-unchecked" and not whole:
            return s.cells, s.end, 0
        cells = with_cell(s.cells, s.end, ("list", cell[1], life, cell[3]))
        return cells, s.end + 1, s.end


def search_within(fault, keys, merges, kills, power, reads):
    model = Model(fault, keys)
    start = State(
        (PAD,),
        1,
        1,
        0,
        0,
        1,
        frozenset({0}),
        None,
        (Writer(None, None),) * 2,
        NO_READER,
        merges,
        kills,
        power,
        reads,
    )
    return search(model, start)


def main():
    states = 0
    for bounds in BOUNDS[sys.argv[1]]:
        n, bad, trace = search_within(sys.argv[2] if len(sys.argv) > 2 else "", *bounds)
        states += n
        if bad:
            print("\n".join(trace + ["VIOLATION: " + bad]))
            return
    print("%d states" % states)
    print("sound")


if __name__ == "__main__":
    main()
