"""Every live entry of a store or snapshot, in the order they were last put."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Callable, Iterator, Optional

from . import fast, library
from .gate import Opened
from .library import Slice, failure, lib, whole
from .reader import NOTFOUND, Entry, Key, as_entry, as_input, copy

if TYPE_CHECKING:
    from .snapshot import Snapshot
    from .store import Store


class PlainCursor(Iterator[Entry]):
    """A cursor before any of it is compiled."""

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], prefix: Key, views: bool
    ) -> None:
        self._store, self._gate = store, store._gate
        self._lock = threading.Lock()
        window = (snapshot or store)._window
        self._value: Callable[[Slice], Any] = (
            (lambda value: window(value.data, value.size)) if views else copy
        )
        start = as_input(prefix)

        def opener(handle: int, result: Any) -> int:
            base = self._gate.pointer(snapshot._token, "snapshot") if snapshot is not None else None
            return int(lib.maph_cursor_open(handle, base, start, result))

        self._token = Opened(lib.maph_cursor_close)
        self._gate.open(self._token, opener)

    def _without_values(self) -> "PlainCursor":
        self._value = lambda value: b""
        return self

    def __iter__(self) -> "PlainCursor":
        return self

    def __next__(self) -> Entry:
        found, call = library.Entry(), object()
        with self._gate.turn(self._lock):
            try:
                handle = self._gate.enter(call)
                rc = lib.maph_cursor_next(self._gate.pointer(self._token, "cursor"), found)
                if rc == NOTFOUND:
                    raise StopIteration
                if rc:
                    raise failure(rc, handle)
                return as_entry(found, self._value(found.value))
            finally:
                self._gate.leave(call)

    def tell(self) -> int:
        """A place to go on from later: seek() on a new cursor, as long as the store is of the same
        generation."""
        call = object()
        with self._gate.turn(self._lock):
            try:
                self._gate.enter(call)
                return int(lib.maph_cursor_tell(self._gate.pointer(self._token, "cursor")))
            finally:
                self._gate.leave(call)

    def seek(self, place: int) -> None:
        call = object()
        with self._gate.turn(self._lock):
            try:
                handle = self._gate.enter(call)
                rc = lib.maph_cursor_seek(
                    self._gate.pointer(self._token, "cursor"), whole("place", place)
                )
                if rc:
                    raise failure(rc, handle)
            finally:
                self._gate.leave(call)

    def close(self) -> None:
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self) -> "PlainCursor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)


class Cursor(fast.Cursor, PlainCursor):
    """An iterator of Entry, which keeps its snapshot though that is closed.  Used by one thread at
    a time it runs; several are made to take turns."""

    def __init__(
        self, store: "Store", snapshot: Optional["Snapshot"], prefix: Key, views: bool
    ) -> None:
        super().__init__(store, snapshot, prefix, views)
        shown = snapshot._views if snapshot is not None else fast.VIEWED
        self._connect(
            self._gate,
            fast.STORE,
            store,
            self._token,
            self._lock,
            False,
            shown if views else fast.COPIED,
        )

    def __enter__(self) -> "Cursor":
        return self
