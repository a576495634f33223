#!/usr/bin/env python3
"""trust.py - may the live words be believed?  An explicit search over the table of
core/writer/trust.c.

The table is read from the source, so that the model and the code cannot part.  A state is one file
(its header, log and index, as the page cache and as the disk have them), what the kernel knows of
its inode, two writers and a reader.  The writers reach the file by different paths: each has a lock
file of its own, and the second one is shown a boot id of its own that no reboot changes.  Steps:
open, the parts of a commit, close, kill; the parts of a recovery; power loss, a volume taken away
under its writer, an eviction from memory, a copy in two moments, and such a copy put over the same
inode or beside it.

    trust.py TABLE [FAULT]     prints the number of states and "sound", or the steps to a violation

A FAULT leaves one rule out; the search must then find a violation (test/core_trust_slow.test):
  living      recovery does not ask whether a writer lives
  boot        the boot id alone decides, the hint is not looked at
  content     what lies past `prepared` is no evidence
  root-first  recovery shows its index before that is filled
  no-mark     recovery does not say that it began
  no-exclusion  who opens and who recovers do not wait for each other
"""
import re
import sys
from collections import namedtuple

from search import search


# A header: clean, boot, place and hinted as in format.h; committed and prepared count records.
Header = namedtuple("Header", "clean boot place mount hinted lock committed prepared")
# The rest of the file: the log's records (their versions), and how many of them the index leads to;
# index -1: not to be believed.  beside: the same for an index that nobody was shown yet, or None.
Body = namedtuple("Body", "log index")
# Commits, losses of power, evictions and copies, recoveries: each search has its share of them.
BOUNDS = ((1, 1, 0, 1), (1, 0, 1, 1), (2, 1, 0, 1), (1, 1, 1, 1))

# A writer: at None, open, appended, published, marked, walked, built, shown, judged.
Writer = namedtuple("Writer", "at vouched")
State = namedtuple(
    "State",
    "header body disk_header disk_log disk_index boot inode mount hint "
    "a b reader copy acknowledged durable given epochs power events recoveries",
)


def read_table(path):
    """The rows of `rows[]`: conditions in order of `questions[]`, then the verdict."""
    text = open(path).read()
    names = re.search(r"questions\[QUESTIONS\]\)\(.*?\) = \{(.*?)\};", text, re.S).group(1)
    names = re.findall(r"\w+", names)
    table = re.search(r"\brows\[\] = \{(.*?)\n\};", text, re.S).group(1)
    rows = []
    for cells, answer in re.findall(r"^\s*\{ \{ (.*?) \}, TRUST_(\w+) \}", table, re.M):
        rows.append((dict(zip(names, cells.split(", "))), answer))
    return rows


def verdict(rows, evidence):
    for cells, answer in rows:
        if all(cell == "ANY" or evidence[name] == (cell == "YES") for name, cell in cells.items()):
            return answer
    raise SystemExit("the table has no row for %s" % evidence)


class Model:
    def __init__(self, rows, fault, owners, commits):
        self.rows, self.fault, self.owners, self.commits = rows, fault, owners, commits
        self.known = {}

    def evidence(self, s, who):
        h, b, fault = s.header, s.body, self.fault
        others = [w for name, w in (("a", s.a), ("b", s.b)) if name != who]
        shown = self.boot_shown(s, who)
        known = h.boot != 0 and shown != 0
        return {
            "living": fault != "living" and any(w.vouched for w in others),
            "fits": fault == "content" or (h.committed <= len(b.log) and len(b.log) <= h.prepared),
            "clean": h.clean == "clean",
            "here": h.place == s.inode,
            "hint": fault != "boot" and s.hint,
            "hinted": fault != "boot" and h.hinted,
            "ours": h.lock == who,
            "same": known and h.boot == shown and (fault == "boot" or h.mount == s.mount),
            "other": fault != "boot" and known and h.boot != shown,
        }

    def boot_shown(self, s, who):
        """A container's id is no file of proc: it says nothing."""
        return 0 if who == "b" and self.owners else s.boot

    def judge(self, s, who):
        evidence = self.evidence(s, who)
        key = tuple(evidence.values())
        if key not in self.known:
            self.known[key] = verdict(self.rows, evidence)
        return self.known[key]

    # ------------------------------------------------------------------------------ what must hold
    def right(self, s):
        """What a reader that looks now is answered."""
        h, b = s.header, s.body
        if h.committed > len(b.log) or b.index < h.committed or b.index > h.prepared:
            return "a reader is led astray"
        if s.acknowledged > h.committed:
            return "an acknowledged commit is not seen"
        return None

    def violation(self, s):
        if s.a.vouched and s.b.vouched:
            return "two writers with different lock files"
        if s.reader or s.a.vouched or s.b.vouched:
            return self.right(s)
        if len(set(s.given)) != len(s.given):
            return "a version was given twice"
        return None

    # ------------------------------------------------------------------------------ steps
    def steps(self, s):
        for who in ("a", "b"):
            yield from self.writer_steps(s, who)
        if not s.reader and s.recoveries >= 0:
            if self.judge(s, "reader") in ("BELIEVE", "FINISH", "REFUSE"):
                yield "reader opens", s._replace(reader=True)
        else:
            yield "reader closes", s._replace(reader=False)
        yield from self.events(s)

    def recovering(self, s):
        return [w for w in (s.a, s.b) if w.at in ("walked", "marked", "built", "shown")]

    def writer_steps(self, s, who):
        w = getattr(s, who)
        put = lambda state, at, vouched=w.vouched: state._replace(**{who: Writer(at, vouched)})
        if w.at is None:
            if self.recovering(s) and self.fault != "no-exclusion":
                return  # the opening is one at a time
            answer = self.judge(s, who)
            if answer in ("BELIEVE", "FINISH") and self.fault == "no-exclusion":
                yield who + " judges", put(s, "judged")
            elif answer in ("BELIEVE", "FINISH"):
                yield who + " opens", put(
                    self.touch(s, header=s.header._replace(lock=who)), "open", True
                )
            elif answer == "RECOVER" and s.recoveries > 0:
                yield who + " is to recover", put(s._replace(recoveries=s.recoveries - 1), "walked")
            return
        yield who + " is killed", put(s, None, False)
        if w.at in ("walked", "marked", "built", "shown"):
            yield from self.recovery_steps(s, who, w, put)
        elif w.at == "judged":
            yield who + " vouches", put(s, "open", True)
        elif w.at == "open":
            yield from self.open_steps(s, who, put)
        elif w.at == "decided":
            body = s.body._replace(index=s.body.index + 1)
            yield who + " publishes", put(self.touch(s, body=body), "published")
        elif w.at == "published":
            h = s.header._replace(committed=s.header.prepared)
            done = self.touch(s, header=h)._replace(acknowledged=h.committed)
            yield who + " makes it visible", put(done, "open")

    def open_steps(self, s, who, put):
        h, b = s.header, s.body
        if h.clean != "dirty":
            marked = h._replace(
                clean="dirty",
                boot=self.boot_shown(s, who),
                mount=s.mount,
                place=s.inode,
                hinted=self.owners,
            )
            # the header is flushed before anything else is stored
            opened = s._replace(hint=self.owners, header=marked, disk_header=marked)
            yield who + " marks it dirty", put(opened, "open")
            return
        if h.prepared > h.committed:  # of a writer that died
            if len(b.log) >= h.prepared:
                body = b._replace(index=max(b.index, h.prepared))
                finished = h._replace(committed=h.prepared)
                yield who + " finishes", self.touch(s, header=finished, body=body)
            else:
                yield who + " discards", self.touch(s, header=h._replace(prepared=h.committed))
            return
        if len(b.log) < self.commits:
            version = b.log[-1] if b.log else (0, 0)
            version = (version[0], version[1] + 1)
            if version[0] < s.epochs:  # the epoch record gave it
                version = (s.epochs, 0)
            prepared = self.touch(s, header=h._replace(prepared=h.committed + 1))
            decided = self.touch(prepared, body=b._replace(log=b.log + (version,)))
            yield who + " prepares", put(prepared, "open")
            yield who + " decides", put(decided._replace(given=s.given + (version,)), "decided")
        if not (s.a.vouched and s.b.vouched):
            closed = h._replace(clean="clean")
            yield who + " closes", put(
                s._replace(
                    header=closed,
                    disk_header=closed,
                    disk_log=len(b.log),
                    disk_index=True,
                    durable=len(b.log),
                    hint=False,
                ),
                None,
                False,
            )

    def recovery_steps(self, s, who, w, put):
        h, b = s.header, s.body
        if w.at == "walked":
            marked = h if self.fault == "no-mark" else h._replace(clean="dirty", place=0)
            index = 0 if self.fault == "root-first" else b.index
            yield who + " marks the recovery", put(
                s._replace(header=marked, disk_header=marked, body=b._replace(index=index)),
                "marked",
            )
        elif w.at == "marked":  # the new index lies beside
            yield who + " builds", put(self.touch(s, body=b), "built")
        elif w.at == "built":  # root, then committed: both lead right
            shown = h._replace(committed=len(b.log), prepared=len(b.log))
            body = b._replace(index=len(b.log))
            yield who + " shows", put(
                self.touch(s, header=shown, body=body)._replace(
                    epochs=s.epochs + 1, acknowledged=len(b.log)
                ),
                "shown",
            )
        else:
            done = h._replace(
                clean="dirty",
                boot=self.boot_shown(s, who),
                mount=s.mount,
                place=s.inode,
                hinted=self.owners,
                lock=who,
            )
            yield who + " has recovered", put(
                self.touch(s, header=done)._replace(hint=self.owners, disk_log=len(b.log)),
                "open",
                True,
            )

    def touch(self, s, header=None, body=None):
        """Store into the cache: the disk may have any version since the last flush."""
        if header is not None and header != s.header:
            s = s._replace(header=header)
        if body is not None and body != s.body:
            if body.index != s.body.index:
                s = s._replace(disk_index=False)
            s = s._replace(body=body)
        return s

    def events(self, s):
        nobody = s.a.at is None and s.b.at is None and not s.reader
        if s.power > 0:  # everyone dies, memory is lost
            lost = [("the power fails", s.boot + 1), ("the volume is taken away", s.boot)]
            for where, boot in lost:
                for header in {s.disk_header, s.header}:
                    for kept in range(s.disk_log, len(s.body.log) + 1):
                        index = s.body.index if s.disk_index else -1
                        yield where, s._replace(
                            header=header,
                            body=Body(s.body.log[:kept], index),
                            disk_header=header,
                            disk_log=kept,
                            boot=boot,
                            mount=s.mount + 1,
                            hint=False,
                            a=Writer(None, False),
                            b=Writer(None, False),
                            reader=False,
                            copy=None,
                            acknowledged=0,
                            given=s.given,
                            power=s.power - 1,
                        )
        if nobody and s.hint and s.events > 0:
            yield "it is evicted", s._replace(
                hint=False,
                disk_header=s.header,
                disk_log=len(s.body.log),
                disk_index=True,
                events=s.events - 1,
            )
        if s.events > 0 and s.copy is None and not self.right(s):
            yield "a copy begins", s._replace(copy=(s.header, None), events=s.events - 1)
        if s.copy is not None and s.copy[1] is None and s.body.index <= len(s.body.log):
            yield "the copy ends", s._replace(copy=(s.copy[0], s.body))
        if s.copy is not None and s.copy[1] is not None and nobody:
            header, body = s.copy
            for where, inode, hint in (
                ("over the same inode", s.inode, s.hint),
                ("as another file", s.inode + 1, False),
            ):
                yield "the copy is put " + where, s._replace(
                    header=header,
                    body=body,
                    disk_header=header,
                    disk_log=len(body.log),
                    disk_index=True,
                    inode=inode,
                    hint=hint,
                    copy=None,
                    acknowledged=min(header.committed, len(body.log)),
                    given=body.log,
                )


def search_within(rows, fault, owners, commits, power, events, recoveries):
    model = Model(rows, fault, owners, commits)
    h = Header("clean", 0, 0, 0, False, "a", 0, 0)
    start = State(
        h,
        Body((), 0),
        h,
        0,
        True,
        1,
        1,
        1,
        False,
        Writer(None, False),
        Writer(None, False),
        False,
        None,
        0,
        0,
        (),
        0,
        power,
        events,
        recoveries,
    )
    return search(model, start)


def main():
    rows = read_table(sys.argv[1])
    fault = sys.argv[2] if len(sys.argv) > 2 else ""
    states = 0
    for bounds in BOUNDS:
        for owners in (True, False):
            n, bad, trace = search_within(rows, fault, owners, *bounds)
            states += n
            if bad:
                print("\n".join(trace + ["VIOLATION: " + bad]))
                return
    print("%d states" % states)
    print("sound")


if __name__ == "__main__":
    main()
