"""Who may call the library when.

maph_close and maph_refresh need the handle to themselves, and memory that was handed out must
outlive them.  A Gate sees to both, whenever a signal handler raises (Ctrl-C is KeyboardInterrupt):

(1) Every call of the library happens between enter() and leave().  enter() marks the call before it
    looks at the handle, exclusive() takes the handle away before it looks at the marks; so either
    the call sees no handle, or exclusive() sees the mark and waits.
(2) Snapshots, cursors, transactions and feeds are in `opened` from before the library has them
    until it has them no more.
(3) A view of the file holds a Pin; while one lives, exclusive() refuses with BufferError.
(4) A handle does not cross fork(), nor do the threads that left marks and hold locks: in the child
    the gate is shut, and nobody waits.  Views go on.
(5) Python lets a signal's handler raise where a function begins, where a loop goes round, and after
    a call, but not inside a function written in C. So what must not be torn apart is one call of C:
    a lock is taken by `with`, leave() is the set's own and the first thing in a `finally` whose
    `try` began before the mark, and what is taken out of `opened` is closed in the same call.
(6) Compiled calls (fast.py) do all of it as one call of C.  They hold the interpreter's lock from
    their look at the handle to their end, or count in `_busy` meanwhile; their views in `_views`.

What remains: a handler that raises as close(), abort(), commit() or __exit__() begins leaves things
as if it had not been called, to be called again. One that raises inside of __del__ is passed over
by Python, so that what was let go of at that moment instead of closed stays open until the store is
closed; one that raises as open() returns leaves the file mapped.  Python 3.10 lets handlers raise
as an `except` or `finally` begins too: where that is for an error, such as a missing key, the mark
can stay, and close() raises BusyError.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import nullcontext
from ctypes import byref, c_ubyte, c_void_p
from typing import Any, Callable, ContextManager, Dict, Optional, Set, TypeVar

from . import fast
from .errors import BusyError, MisuseError
from .library import failure

Window = c_ubyte * 0xFFFFFFFF  # one type for every view; a view is cut to its value's size
GRACE = 5.0  # seconds that exclusive() waits for the calls of other threads
T = TypeVar("T")


class Pin:
    """Held by every view; holds the store, which so cannot be closed under it."""

    __slots__ = ("store", "__weakref__")

    def __init__(self, store: object) -> None:
        self.store = store


class Opened:
    """Something that the library has open for us, and the function that closes it."""

    __slots__ = ("closer",)

    def __init__(self, closer: Callable[[Any], Any]) -> None:
        self.closer = closer


class Gate(fast.Gate):
    def __init__(self, handle: int, path: str) -> None:
        self._handle = handle
        self._path = path
        self.gone = False  #: set inside exclusive(): the handle will not come back
        self.foreign = False  #: this process is a child of the one that opened the store
        self._calls: Set[object] = set()
        self.leave = self._calls.discard
        self._lock = threading.RLock()
        self._pin_lock = threading.Lock()
        self._pin: Callable[[], Optional[Pin]] = lambda: None
        self.opened: Dict[Opened, c_void_p] = {}
        gates.add(self)

    def forked(self) -> None:
        """In the child, before anything else."""
        self._handle = None  # what it maps stays mapped until the child ends
        self.foreign = True
        self._calls, self._lock, self._pin_lock = set(), threading.RLock(), threading.Lock()
        self._busy = 0
        self.leave = self._calls.discard

    def turn(self, lock: "threading.Lock | threading.RLock") -> ContextManager[Any]:
        """A lock that one of ours has; in the child whoever held it is not there to release it."""
        return nullcontext() if self.foreign else lock

    @property
    def closed(self) -> bool:
        with self._lock:
            return self._handle is None

    def enter(self, call: object) -> int:
        """The handle, which stays until leave(call).  MisuseError when it is closed.

        call = object()
        try:
            handle = gate.enter(call)
            ...
        finally:
            gate.leave(call)
        """
        while True:
            self._calls.add(call)
            handle = self._handle
            if handle is not None:
                return handle
            self._calls.discard(call)
            with self._lock:  # another thread refreshes: wait
                if self._handle is None:
                    raise MisuseError(
                        f"{self._path}: "
                        + (
                            "a store does not cross fork(): open it in the child"
                            if self.foreign
                            else "the store is closed: open it again"
                        )
                    )

    def exclusive(self, what: str, work: Callable[[Optional[int]], T]) -> T:
        """work(handle) with nobody else in a call; None when it is closed already."""
        with self._lock:
            handle = self._handle
            try:
                self._handle = None
                if handle is not None:
                    self._wait(what)
                    if self._pin() is not None or self._views:
                        raise BufferError(
                            f"{self._path}: cannot {what} the store: memoryviews of it are alive; "
                            "release and delete them first"
                        )
                return work(handle)
            finally:
                if not self.gone:
                    self._handle = handle

    def _wait(self, what: str) -> None:
        patience = time.monotonic() + GRACE
        while self._calls or self._busy:
            if time.monotonic() > patience:
                raise BusyError(
                    f"{self._path}: cannot {what} the store: another thread is in a call on it; "
                    "wait for the thread first"
                )
            time.sleep(0.0005)

    # -------------------------------------------------------------------- what the library has open
    def open(self, token: Opened, opener: Callable[[int, Any], int]) -> None:
        """opener(handle, result) makes it; `result` is in `opened` while it is still empty, which
        every closer takes for nothing to close."""
        call, result = object(), c_void_p()
        try:
            handle = self.enter(call)
            self.opened[token] = result
            rc = opener(handle, byref(result))
            if rc:
                raise failure(rc, handle)
        except BaseException:
            self.end(token, token.closer)
            raise
        finally:
            self.leave(call)

    def end(self, token: Opened, closer: Callable[[Any], Any]) -> Any:
        """Between enter() and leave(), or inside exclusive(): take it out and close it, in one
        call."""
        try:
            return list(map(closer, map(self.opened.pop, (token,))))[0]
        except KeyError:
            return None

    def pointer(self, token: Opened, what: str) -> int:
        """Between enter() and leave()."""
        found = self.opened.get(token)
        if found is None or found.value is None:
            raise MisuseError(f"{self._path}: the {what} is closed")
        return found.value

    def drop(self, token: Opened, closer: Optional[Callable[[Any], Any]] = None) -> Any:
        """Close one; the second time, or when the store is closed, nothing.  `closer` replaces the
        usual one."""
        call = object()
        try:
            self.enter(call)
            return self.end(token, closer or token.closer)
        except MisuseError:
            return None
        finally:
            self.leave(call)

    # ---------------------------------------------------------------------------------------- views
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
