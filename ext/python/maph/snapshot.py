"""The store as of one commit, for as long as the snapshot is open."""

from __future__ import annotations

import threading
from ctypes import byref, c_void_p, string_at
from typing import TYPE_CHECKING, Any, Callable, Mapping, Optional

from .cursor import Cursor
from .library import failure, lib
from .reader import Key, ManyReader

if TYPE_CHECKING:
    from .store import Store


class Snapshot(ManyReader, Mapping[Any, bytes]):
    """A mapping that does not change.  It holds up no writer.  Views read through it pin the store, as all do; those of a transaction's snapshot are copies."""

    _lib_get = staticmethod(lib.maph_snapshot_get)
    _lib_get_entry = staticmethod(lib.maph_snapshot_get_entry)
    _lib_get_many = staticmethod(lib.maph_snapshot_get_many)
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, store: "Store", opener: Callable[[int, Any], int], lock: Optional[threading.RLock]) -> None:
        """`opener(handle, result)` makes it; `lock` is of the transaction that the snapshot is of."""
        self._store, self._gate = store, store._gate
        self._lock = lock or threading.RLock()
        self._settled = lock is None           # what a transaction has written so far may be undone
        opened = c_void_p()
        handle = self._gate.enter()
        try:
            rc = opener(handle, byref(opened))
            if rc:
                raise failure(rc, handle)
            self._token = self._gate.add(lib.maph_snapshot_close, opened.value or 0)
        finally:
            self._gate.leave()

    def _owner(self) -> object:
        return self._store

    def _enter(self) -> int:
        if self._gate.foreign:
            self._gate.enter()      # says so
        self._lock.acquire()
        try:
            self._gate.enter()
            try:
                return self._gate.pointer(self._token, "snapshot")
            except BaseException:
                self._gate.leave()
                raise
        except BaseException:
            self._lock.release()
            raise

    def _leave(self) -> None:
        self._gate.leave()
        self._lock.release()

    def _window(self, address: Optional[int], size: int) -> memoryview:
        return super()._window(address, size) if self._settled else memoryview(string_at(address, size) if address and size else b"")

    def cursor(self, prefix: Key = b"", *, views: bool = False) -> Cursor:
        """Its entries whose key begins with prefix."""
        return Cursor(self._store, self, prefix, views)

    @property
    def version(self) -> int:
        pointer = self._enter()
        try:
            return int(lib.maph_snapshot_version(pointer))
        finally:
            self._leave()

    def __len__(self) -> int:
        """Live keys, expired ones included."""
        pointer = self._enter()
        try:
            return int(lib.maph_snapshot_records(pointer))
        finally:
            self._leave()

    def close(self) -> None:
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self) -> "Snapshot":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)
