"""Who may call the library when.

maph_close and maph_refresh need the handle to themselves, and memory that was handed out must outlive them.  A Gate sees to both:

(1) Every call of the library happens between enter() and leave().  enter() marks the call before it looks at the handle, exclusive() takes the
    handle away before it looks at the marks; so either the call sees no handle, or exclusive() sees the mark and waits.
(2) Snapshots, cursors, transactions and feeds are in `opened` for as long as the library has them; whoever takes one out closes it.
(3) A view of the file holds a Pin; while one lives, exclusive() refuses with BufferError.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager
from ctypes import c_ubyte
from typing import Any, Callable, Deque, Dict, Iterator, Optional, Tuple

from .errors import BusyError, MisuseError

Window = c_ubyte * 0xFFFFFFFF      # one type for every view; a view is cut to its value's size
GRACE = 5.0                        # seconds that exclusive() waits for the calls of other threads


class Pin:
    """Held by every view; holds the store, which so cannot be closed under it."""

    __slots__ = ("store", "__weakref__")

    def __init__(self, store: object) -> None:
        self.store = store


class Gate:
    def __init__(self, handle: int) -> None:
        self._handle: Optional[int] = handle
        self._gone = False
        self._calls: Deque[None] = deque()
        self._lock = threading.RLock()
        self._pin_lock = threading.Lock()
        self._pin: Callable[[], Optional[Pin]] = lambda: None
        self.opened: Dict[object, Tuple[Callable[[int], Any], int]] = {}

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
                    raise MisuseError("the store is closed")

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
                        raise BufferError(f"cannot {what} the store: memoryviews of it are alive")
                yield handle
            finally:
                if not self._gone:
                    self._handle = handle

    def _wait(self, what: str) -> None:
        patience = time.monotonic() + GRACE
        while self._calls:
            if time.monotonic() > patience:
                raise BusyError(f"cannot {what} the store: another thread is in a call on it")
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
            raise MisuseError(f"the {what} is closed")
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
