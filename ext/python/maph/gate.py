"""Who may call the library when.

maph_close and maph_refresh need the handle to themselves, and memory that was handed out must outlive them.  A Gate sees to both:

(1) Every call of the library happens between enter() and leave().  enter() marks the call before it looks at the handle, exclusive() takes the
    handle away before it looks at the marks; so either the call sees no handle, or exclusive() sees the mark and waits.
(2) Snapshots, cursors, transactions and feeds are in `opened` for as long as the library has them; whoever takes one out closes it.
(3) A view of the file holds a Pin; while one lives, exclusive() refuses with BufferError.
(4) A handle does not cross fork(), nor do the threads that left marks and hold locks: in the child the gate is shut, and nobody waits.  Views go on.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager, nullcontext
from ctypes import c_ubyte
from typing import Any, Callable, ContextManager, Deque, Dict, Iterator, Optional, Tuple

from .errors import BusyError, MisuseError

Window = c_ubyte * 0xFFFFFFFF      # one type for every view; a view is cut to its value's size
GRACE = 5.0                        # seconds that exclusive() waits for the calls of other threads


class Pin:
    """Held by every view; holds the store, which so cannot be closed under it."""

    __slots__ = ("store", "__weakref__")

    def __init__(self, store: object) -> None:
        self.store = store


class Gate:
    def __init__(self, handle: int, path: str) -> None:
        self._handle: Optional[int] = handle
        self._path = path
        self._gone = False
        self.foreign = False                        #: this process is a child of the one that opened the store
        self._calls: Deque[None] = deque()
        self._lock = threading.RLock()
        self._pin_lock = threading.Lock()
        self._pin: Callable[[], Optional[Pin]] = lambda: None
        self.opened: Dict[object, Tuple[Callable[[int], Any], int]] = {}
        gates.add(self)

    def forked(self) -> None:
        """In the child, before anything else."""
        self._handle = None      # what it maps stays mapped until the child ends
        self.foreign = True
        self._calls, self._lock, self._pin_lock = deque(), threading.RLock(), threading.Lock()

    def turn(self, lock: "threading.Lock | threading.RLock") -> ContextManager[Any]:
        """A lock that one of ours has; in the child whoever held it is not there to release it."""
        return nullcontext() if self.foreign else lock

    @property
    def closed(self) -> bool:
        with self._lock:
            return self._handle is None

    def enter(self) -> int:
        """The handle, which stays until leave().  MisuseError when it is closed."""
        while True:
            self._calls.append(None)
            handle = self._handle
            if handle is not None:
                return handle
            self._calls.pop()
            with self._lock:      # another thread refreshes: wait
                if self._handle is None:
                    raise MisuseError(f"{self._path}: " + ("a store does not cross fork(): open it in the child" if self.foreign else "the store is closed: open it again"))

    def leave(self) -> None:
        self._calls.pop()

    @contextmanager
    def exclusive(self, what: str) -> Iterator[Optional[int]]:
        """The handle with nobody else in a call; None when it is closed already."""
        with self._lock:
            handle, self._handle = self._handle, None
            try:
                if handle is not None:
                    self._wait(what)
                    if self._pin() is not None:
                        raise BufferError(f"{self._path}: cannot {what} the store: memoryviews of it are alive; release and delete them first")
                yield handle
            finally:
                if not self._gone:
                    self._handle = handle

    def _wait(self, what: str) -> None:
        patience = time.monotonic() + GRACE
        while self._calls:
            if time.monotonic() > patience:
                raise BusyError(f"{self._path}: cannot {what} the store: another thread is in a call on it; wait for the thread first")
            time.sleep(0.0005)

    def forget(self) -> None:
        """Inside exclusive(): the handle is gone for good."""
        self._gone = True

    # ------------------------------------------------------------------------------------------- what the library has open
    def add(self, closer: Callable[[int], Any], pointer: int) -> object:
        token = object()
        self.opened[token] = (closer, pointer)
        return token

    def pointer(self, token: object, what: str) -> int:
        """Between enter() and leave()."""
        found = self.opened.get(token)
        if found is None:
            raise MisuseError(f"{self._path}: the {what} is closed")
        return found[1]

    def drop(self, token: object, closer: Optional[Callable[[int], Any]] = None) -> Any:
        """Close one; the second time, or when the store is closed, nothing.  `closer` replaces the usual one."""
        try:
            self.enter()
        except MisuseError:
            return None
        try:
            found = self.opened.pop(token, None)
            return (closer or found[0])(found[1]) if found else None
        finally:
            self.leave()

    # ------------------------------------------------------------------------------------------------------------ views
    def view(self, store: object, address: Optional[int], size: int) -> memoryview:
        """Between enter() and leave(): the bytes where they lie, read-only."""
        if not size or not address:
            return memoryview(b"")
        with self._pin_lock:
            pin = self._pin()
            if pin is None:
                pin = Pin(store)
                self._pin = weakref.ref(pin)
        window = Window.from_address(address)
        window.pin = pin  # type: ignore[attr-defined]
        return memoryview(window)[:size].cast("B").toreadonly()


gates: "weakref.WeakSet[Gate]" = weakref.WeakSet()


def _forked() -> None:
    for gate in gates:
        gate.forked()


os.register_at_fork(after_in_child=_forked)
