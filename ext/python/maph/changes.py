"""Puts and deletes in commit order, as any process commits them."""

from __future__ import annotations

import threading
import time
from ctypes import byref
from typing import TYPE_CHECKING, Iterator, NamedTuple, Optional

from . import library
from .gate import Opened
from .library import failure, lib, seconds, whole
from .process import InProcess
from .reader import NOTFOUND, Entry, as_entry, copy

if TYPE_CHECKING:
    from .store import Store

STEP = 0.1  # seconds of one wait in the library: how soon close() and Ctrl-C are seen


class Change(NamedTuple):
    """One put, or a delete, whose entry has the key and the version alone."""

    entry: Entry
    deleted: bool
    last: bool  #: of its transaction: a place to resume from

    @property
    def key(self) -> bytes:
        """The entry's."""
        return self.entry.key

    @property
    def value(self) -> Optional[bytes]:
        """The entry's; None: a delete."""
        return None if self.deleted else self.entry.value

    @property
    def version(self) -> int:
        """Of its transaction."""
        return self.entry.version


class Changes(InProcess, Iterator[Change]):
    """Waits for the next change up to `timeout` seconds, without end when it is None; StopIteration
    when none came, and more may come later.

    CompactedError: a rewrite dropped part of what was asked for.
    """

    def __init__(self, store: "Store", since: int, timeout: Optional[float]) -> None:
        self._store, self._gate = store, store._gate
        self._lock = threading.Lock()
        self.timeout = None if timeout is None else seconds("timeout", timeout)
        after = whole("since", since)
        self._token = Opened(lib.maph_changes_close)
        self._gate.open(
            self._token, lambda handle, result: int(lib.maph_changes_open(handle, after, result))
        )

    def __iter__(self) -> "Changes":
        return self

    def __next__(self) -> Change:
        ends = None if self.timeout is None else time.monotonic() + self.timeout
        while True:
            left = STEP if ends is None else min(STEP, max(0.0, ends - time.monotonic()))
            found = self._next(int(left * 1000))
            if found is not None:
                return found
            if ends is not None and time.monotonic() >= ends:
                raise StopIteration

    def _next(self, timeout_ms: int) -> Optional[Change]:
        found, call = library.Change(), object()
        with self._gate.turn(self._lock):
            try:
                handle = self._gate.enter(call)
                rc = lib.maph_changes_next(
                    self._gate.pointer(self._token, "feed of changes"), timeout_ms, byref(found)
                )
                if rc == NOTFOUND:
                    return None
                if rc:
                    raise failure(rc, handle)
                return Change(
                    as_entry(found.entry, copy(found.entry.value)),
                    bool(found.deleted),
                    bool(found.last),
                )
            finally:
                self._gate.leave(call)

    @property
    def version(self) -> int:
        """Resume with this: the last transaction that was returned whole."""
        call = object()
        with self._gate.turn(self._lock):
            try:
                self._gate.enter(call)
                return int(
                    lib.maph_changes_version(self._gate.pointer(self._token, "feed of changes"))
                )
            finally:
                self._gate.leave(call)

    def close(self) -> None:
        """End the feed.  The second time nothing happens."""
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)
