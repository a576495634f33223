"""What goes over entries one by one: all of a store or snapshot, as they lie in the file, and
ranges of keys, in the order of their bytes."""

from __future__ import annotations

import threading
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Callable, Dict, Generic, Iterator, Optional, TypeVar, cast

from . import fast, library
from .gate import Opened
from .library import Slice, failure, lib, whole
from .process import InProcess
from .reader import NOTFOUND, Entry, Key, ViewEntry, as_entry, as_input, copy

if TYPE_CHECKING:
    from .snapshot import Snapshot
    from .store import Store


E = TypeVar("E", covariant=True)
Self = TypeVar("Self", bound="Steps[object]")
Opener = Callable[[int, Optional[int], object], int]


class Steps(InProcess, Iterator[E], Generic[E]):
    """What cursors and ranges have in common.  opener(handle, base, result) makes what the library
    has of it, where `base` is the snapshot's."""

    _what: str  # for sentences
    _lib_next: Callable[..., int]

    def __init__(
        self,
        store: "Store",
        snapshot: Optional["Snapshot"],
        views: bool,
        opener: Opener,
        closer: Callable[[object], object],
        lock: "threading.Lock | threading.RLock",
    ) -> None:
        self._store, self._gate, self._lock = store, store._gate, lock
        window = (snapshot or store)._window
        self._value: Callable[[Slice], Any] = (
            (lambda value: window(value.data, value.size)) if views else copy
        )

        def open_it(handle: int, result: Any) -> int:
            base = self._gate.pointer(snapshot._token, "snapshot") if snapshot is not None else None
            return int(opener(handle, base, result))

        self._token = Opened(closer)
        self._gate.open(self._token, open_it)

    def __iter__(self: Self) -> Self:
        return self

    def __next__(self) -> E:
        found = self._step(self._lib_next)
        if found is None:
            raise StopIteration
        return found

    def _step(self, function: Callable[..., int]) -> Optional[E]:
        """None at an end."""
        found, call = library.Entry(), object()
        with self._gate.turn(self._lock):
            try:
                handle = self._gate.enter(call)
                rc = function(self._gate.pointer(self._token, self._what), found)
                if rc == NOTFOUND:
                    return None
                if rc:
                    raise failure(rc, handle)
                return cast(E, as_entry(found, self._value(found.value)))
            finally:
                self._gate.leave(call)

    def _ask(self, function: Callable[[int], int]) -> int:
        call = object()
        with self._gate.turn(self._lock):
            try:
                self._gate.enter(call)
                return int(function(self._gate.pointer(self._token, self._what)))
            finally:
                self._gate.leave(call)

    def _seek(self, function: Callable[[int, Any], int], place: Any) -> None:
        call = object()
        with self._gate.turn(self._lock):
            try:
                handle = self._gate.enter(call)
                rc = function(self._gate.pointer(self._token, self._what), place)
                if rc:
                    raise failure(rc, handle)
            finally:
                self._gate.leave(call)

    def close(self) -> None:
        """Let go of it.  The second time nothing happens."""
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)


#: What a cursor gives, of an Entry.
GIVEN: Dict[int, Callable[[Any], Any]] = {
    fast.KEYS: itemgetter(0),
    fast.VALUES: itemgetter(1),
    fast.PAIRS: itemgetter(0, 1),
}


class PlainCursor(Steps[E]):
    """A cursor before any of it is compiled."""

    _what = "cursor"
    _lib_next = staticmethod(lib.maph_cursor_next)

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], prefix: Key, views: bool
    ) -> None:
        start = as_input(prefix)

        def opener(handle: int, base: Optional[int], result: Any) -> int:
            return int(lib.maph_cursor_open(handle, base, start, result))

        super().__init__(store, snapshot, views, opener, lib.maph_cursor_close, threading.Lock())

    def _give(self, what: int) -> Iterator[Any]:
        """Of each entry its key, its value, or a pair of them."""
        if what == fast.KEYS:
            self._value = lambda value: b""
        return map(GIVEN[what], self)

    def tell(self) -> int:
        """A place to go on from later: seek() on a new cursor, as long as the store is of the same
        generation."""
        return self._ask(lib.maph_cursor_tell)

    def seek(self, place: int) -> None:
        """Go on from there."""
        self._seek(lib.maph_cursor_seek, whole("place", place))


class PlainRange(Steps[E]):
    """A range before any of it is compiled."""

    _what = "range"
    _lib_next = staticmethod(lib.maph_range_next)

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], bounds: library.Range, views: bool
    ) -> None:
        def opener(handle: int, base: Optional[int], result: Any) -> int:
            return int(lib.maph_range_open(handle, base, bounds, result))

        # What a transaction shows is read in the turn of the transaction.
        shared = snapshot is None or snapshot._settled
        lock: "threading.Lock | threading.RLock" = (
            threading.Lock() if snapshot is None or shared else snapshot._lock
        )
        with store._gate.turn(lock):
            super().__init__(store, snapshot, views, opener, lib.maph_range_close, lock)

    def previous(self) -> Optional[E]:
        """The entry before the one last returned, or None before the first; then next() gives the
        first."""
        return self._step(lib.maph_range_prev)

    def seek(self, key: Key) -> None:
        """Go to a key, there or not: next() gives it or the first after it, previous() the one
        before it, in the range's direction and never outside of the range.  The limit counts from
        here."""
        self._seek(lib.maph_range_seek, as_input(key))

    def estimate(self) -> int:
        """About how many entries the range has, without its limit; at the cost of two seeks.
        Deleted and expired ones count until a rewrite."""
        return self._ask(lib.maph_range_estimate)


class Cursor(fast.Cursor, PlainCursor[Entry]):
    """An iterator of Entry, which keeps its snapshot though that is closed.  Used by one thread at
    a time it runs; several are made to take turns."""

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], prefix: Key, views: bool
    ) -> None:
        super().__init__(store, snapshot, prefix, views)
        self._connect(*_parts(self, snapshot, views))


class Range(fast.Range, PlainRange[Entry]):
    """An iterator of Entry, both ways: what range() and prefix() give.  It keeps its snapshot
    though that is closed.  A transaction's ends with the transaction's rollback: ConflictError."""

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], bounds: library.Range, views: bool
    ) -> None:
        super().__init__(store, snapshot, bounds, views)
        self._connect(*_parts(self, snapshot, views))


if TYPE_CHECKING:

    class ViewCursor(PlainCursor[ViewEntry]):
        """A Cursor whose values are memoryviews, for type checkers: it is a Cursor."""

    class ViewRange(PlainRange[ViewEntry]):
        """A Range whose values are memoryviews, for type checkers: it is a Range."""

else:
    ViewCursor, ViewRange = Cursor, Range


def _parts(steps: Steps[Entry], snapshot: Optional["Snapshot"], views: bool) -> Any:
    """What compiled steps need to know."""
    shown = snapshot._views if snapshot is not None else fast.VIEWED
    values = shown if views else fast.COPIED
    return steps._gate, fast.STORE, steps._store, steps._token, steps._lock, False, values
