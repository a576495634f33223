"""The store as of one commit, for as long as the snapshot is open."""

from __future__ import annotations

import threading
from ctypes import byref, string_at
from typing import TYPE_CHECKING, Any, Callable, ContextManager, Mapping, Optional

from . import fast, library
from .cursor import Cursor, Range
from .gate import Opened
from .library import Stats, lib
from .reader import Key, ManyReader, StoreStats, as_stats

if TYPE_CHECKING:
    from .store import Store


class Snapshot(fast.ManyReader, ManyReader, Mapping[Key, bytes]):
    """A mapping that does not change.  It holds up no writer.  Views read through it pin the store,
    as all do; those of a transaction's snapshot are copies."""

    _lib_get = staticmethod(lib.maph_snapshot_get)
    _lib_get_entry = staticmethod(lib.maph_snapshot_get_entry)
    _lib_get_many = staticmethod(lib.maph_snapshot_get_many)
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(
        self, store: "Store", opener: Callable[[int, object], int], lock: Optional[threading.RLock]
    ) -> None:
        """`opener(handle, result)` makes it; `lock` is of the transaction that the snapshot is
        of."""
        self._store, self._gate = store, store._gate
        self._lock = lock or threading.RLock()
        self._settled = lock is None  # what a transaction has written so far may be undone
        self._token = Opened(lib.maph_snapshot_close)
        self._gate.open(self._token, opener)
        self._views = fast.VIEWED if self._settled else fast.COPIED_VIEWED
        self._connect(
            self._gate,
            fast.SNAPSHOT,
            store,
            self._token,
            self._lock,
            self._settled,
            self._views,
        )

    def _owner(self) -> object:
        return self._store

    def _turn(self) -> ContextManager[Any]:
        return self._gate.turn(self._lock)

    def _enter(self, call: object) -> int:
        self._gate.enter(call)
        return self._gate.pointer(self._token, "snapshot")

    def _window(self, address: Optional[int], size: int) -> memoryview:
        return (
            super()._window(address, size)
            if self._settled
            else memoryview(string_at(address, size) if address and size else b"")
        )

    def _cursor(self, prefix: Key, views: bool) -> Cursor:
        return Cursor(self._store, self, prefix, views)

    def _range(self, bounds: library.Range, views: bool) -> Range:
        return Range(self._store, self, bounds, views)

    @property
    def version(self) -> int:
        """Of the last transaction that it shows."""
        return self._ask(lib.maph_snapshot_version)

    def __len__(self) -> int:
        """Live keys, expired ones included."""
        return self._ask(lib.maph_snapshot_records)

    def stats(self) -> StoreStats:
        """As Store.stats(): records, live_bytes and version are the snapshot's."""
        stats = Stats()
        rc = self._ask(lambda snapshot: int(lib.maph_snapshot_stat(snapshot, byref(stats))))
        if rc != 0:
            raise self._fail(rc)
        return as_stats(stats)

    def close(self) -> None:
        """Let go of it; what is open of it stays.  The second time nothing happens."""
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)
