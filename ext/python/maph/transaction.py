"""Many operations that others see whole, or not at all; and what every write says of its value."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import contextmanager
from ctypes import byref, c_int64, string_at
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Iterator,
    NamedTuple,
    Optional,
    Tuple,
)

from . import fast, library
from .cursor import Range
from .errors import Error, NotFoundError
from .gate import Opened
from .library import Condition, Input, Outcome, OutcomePointer, lib, seconds, whole
from .reader import NOTFOUND, TYPES, Key, Reader, Value, as_bytes, as_input
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .store import Store

DURABILITY = {None: 0, "off": 1, "normal": 2, "full": 3}
LATEST = 2**63 - 1
ALWAYS, IF_ABSENT, IF_PRESENT, IF_VERSION = range(4)


class Written(NamedTuple):
    """What a write did: the version it wrote, and whether the key was there before."""

    version: int
    existed: bool

    @property
    def created(self) -> bool:
        """Of a put: the key was not there before."""
        return not self.existed


def durability_code(name: Optional[str]) -> int:
    try:
        return DURABILITY[name]
    except (KeyError, TypeError):
        raise ValueError(f"durability is off, normal or full, not {name!r}") from None


def condition(
    if_version: Optional[int], if_absent: bool, if_present: bool
) -> Tuple[Condition, Outcome]:
    if (if_version is not None) + bool(if_absent) + bool(if_present) > 1:
        raise ValueError("one of if_version, if_absent, if_present")
    outcome = Outcome()
    when = (
        IF_VERSION
        if if_version is not None
        else IF_ABSENT
        if if_absent
        else IF_PRESENT
        if if_present
        else ALWAYS
    )
    return (
        Condition(
            when=when, version=whole("if_version", if_version or 0), outcome=OutcomePointer(outcome)
        ),
        outcome,
    )


def describe(
    one: Condition,
    value: Any,
    ttl: Optional[float],
    expires_at: Optional[int],
    kind: Optional[str],
    media_type: str,
) -> None:
    if ttl is not None and expires_at is not None:
        raise ValueError("ttl or expires_at, not both")
    if kind is not None and kind not in TYPES:
        raise ValueError(f"type is one of {', '.join(TYPES)}, not {kind!r}")
    if ttl is not None:
        late = time.time() * 1000 + seconds("ttl", ttl) * 1000
        expires_at = int(min(late, LATEST)) if late > 0 else 1
    elif expires_at is not None and not isinstance(expires_at, int):
        raise TypeError(
            f"expires_at is a whole number of milliseconds, not {type_name(expires_at)}; "
            "int(1000 * seconds) is one"
        )
    one.expires = (
        0 if expires_at is None else min(max(expires_at, 1), LATEST)
    )  # 0 is never, and negative ones would be as good
    one.type = (
        TYPES.index(kind) if kind else TYPES.index("text" if isinstance(value, str) else "blob")
    )
    if not isinstance(media_type, str):
        raise TypeError(f"content_type is a str, not {type_name(media_type)}")
    raw = media_type.encode("latin-1")
    one.media_type = Input(raw, len(raw))


def type_name(data: object) -> str:
    return type(data).__name__


def one_name(content_type: Optional[str], media_type: Optional[str]) -> str:
    """Which of the two names for it was used."""
    if content_type and media_type and content_type != media_type:
        raise ValueError("content_type and media_type are one thing: give one of them")
    return content_type or media_type or ""


class Writer(Reader):
    """put and delete, alike for a store and a transaction."""

    _lib_put_if: Callable[..., int]
    _lib_delete_if: Callable[..., int]
    _lib_increment: Callable[..., int]

    def put(
        self,
        key: Key,
        value: Value,
        *,
        ttl: Optional[float] = None,
        expires_at: Optional[int] = None,
        type: Optional[str] = None,
        content_type: Optional[str] = None,
        media_type: Optional[str] = None,
        if_version: Optional[int] = None,
        if_absent: bool = False,
        if_present: bool = False,
    ) -> Written:
        """Store a value.  ttl: seconds to live, expires_at: milliseconds since 1970.  type: what
        SQL and HTTP shall take it for; text for a str, blob for bytes.  content_type: what HTTP
        answers as such; media_type is its other name.
        if_version: else ConflictError; if_absent: else ExistsError; if_present: else NotFoundError;
        `version` of the error is the one found.
        """
        name, bytes_of_value = as_input(key), as_bytes(value)
        one, outcome = condition(if_version, if_absent, if_present)
        describe(one, value, ttl, expires_at, type, one_name(content_type, media_type))
        return self._write(
            lambda to: self._lib_put_if(to, name, Input(bytes_of_value, len(bytes_of_value)), one),
            outcome,
        )

    def increment(
        self,
        key: Key,
        by: int = 1,
        *,
        ttl: Optional[float] = None,
        expires_at: Optional[int] = None,
    ) -> int:
        """Add to the whole number of 64 bits that the value spells, and answer the sum.  A missing
        key counts from 0.  The expiry stays if none is given.  MismatchError: the value is no such
        number, or the sum would be none."""
        if not isinstance(by, int):
            raise TypeError(f"by is a whole number, not {type_name(by)}")
        if not -(1 << 63) <= by < 1 << 63:
            raise ValueError(f"by is a whole number of 64 bits, not {by}")
        name, total = as_input(key), c_int64()
        one, outcome = condition(None, False, False)
        describe(one, "", ttl, expires_at, None, "")
        self._write(
            lambda to: self._lib_increment(to, name, c_int64(by), one, byref(total)), outcome
        )
        return total.value

    def delete(self, key: Key, *, if_version: Optional[int] = None) -> Written:
        """Remove a key.  NotFoundError when there is none; if_version: else ConflictError."""
        name = as_input(key)
        one, outcome = condition(if_version, False, False)
        return self._write(lambda to: self._lib_delete_if(to, name, one), outcome, key)

    def _write(
        self, function: Callable[[int], int], outcome: Outcome, deleted: Optional[Key] = None
    ) -> Written:
        call = object()
        with self._turn():
            try:
                rc = function(self._enter(call))
                if rc == NOTFOUND and deleted is not None:
                    raise NotFoundError(deleted)
                if rc:
                    error = self._fail(rc)
                    assert isinstance(error, Error)
                    error.version = outcome.version or None
                    raise error
                return Written(outcome.version, bool(outcome.existed))
            finally:
                self._gate.leave(call)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.put(key, value)

    def __delitem__(self, key: Key) -> None:
        self.delete(key)


class Transaction(fast.Writer, Writer):
    """Holds the store's writer lock until it ends.  As a context manager it commits at the end, and
    aborts after an exception.

    with store.transaction() as transaction:
        transaction["a"] = "1"
        del transaction["b"]
    """

    _lib_get = staticmethod(lib.maph_txn_get)
    _lib_get_entry = staticmethod(lib.maph_txn_get_entry)
    _lib_put_if = staticmethod(lib.maph_txn_put_if)
    _lib_delete_if = staticmethod(lib.maph_txn_delete_if)
    _lib_increment = staticmethod(lib.maph_txn_increment)

    def __init__(self, store: "Store", durability: Optional[str]) -> None:
        self._store, self._gate = store, store._gate
        self._lock = threading.RLock()
        self._savepoints = itertools.count()
        level = durability_code(durability)
        self._token = Opened(lib.maph_txn_abort)
        self._gate.open(
            self._token, lambda handle, result: int(lib.maph_txn_begin(handle, level, result))
        )
        self._connect(
            self._gate,
            fast.TRANSACTION,
            store,
            self._token,
            self._lock,
            False,
            fast.COPIED_VIEWED,
        )

    def _owner(self) -> object:
        return self._store

    def _turn(self) -> ContextManager[Any]:
        return self._gate.turn(self._lock)

    def _enter(self, call: object) -> int:
        self._gate.enter(call)
        return self._gate.pointer(self._token, "transaction")

    def _window(self, address: Optional[int], size: int) -> memoryview:
        """A copy: what the transaction has written is overwritten once it is undone."""
        return memoryview(string_at(address, size) if address and size else b"")

    def _check(self, function: Callable[..., int], *arguments: Any) -> None:
        call = object()
        with self._turn():
            try:
                rc = function(self._enter(call), *arguments)
                if rc:
                    raise self._fail(rc)
            finally:
                self._gate.leave(call)

    def at(self, version: int) -> None:
        """Where versions are given: what is written from now on, and the commit, are at this one.
        ConflictError: it does not lie above those before."""
        self._check(lib.maph_txn_at, whole("version", version))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is done inside is undone when an exception leaves it."""
        n = next(self._savepoints)
        self._check(lib.maph_txn_savepoint, n)
        try:
            yield
        except BaseException:
            self._check(lib.maph_txn_rollback_to, n)
            raise
        finally:
            self._check(lib.maph_txn_release, n)

    def snapshot(self) -> Snapshot:
        """The store as the transaction sees it now; stays readable after the commit."""

        def opener(_: int, result: Any) -> int:
            return int(
                lib.maph_txn_snapshot(self._gate.pointer(self._token, "transaction"), result)
            )

        with self._gate.turn(self._lock):
            return Snapshot(self._store, opener, self._lock)

    def _range(self, bounds: library.Range, views: bool) -> Range:
        with self.snapshot() as now:
            return now._range(bounds, views)

    @property
    def version(self) -> int:
        """What its entries have once committed.  Where versions are given, what at() said, or 0."""
        return self._ask(lib.maph_txn_version)

    def commit(self) -> None:
        """Everyone sees it when this returns; after a failure nothing of it is visible.  Either way
        the transaction is over."""
        call = object()
        with self._turn():
            try:
                self._enter(call)
                rc = self._gate.end(self._token, lib.maph_txn_commit)
                if rc:
                    raise self._fail(rc)
            finally:
                self._gate.leave(call)

    def abort(self) -> None:
        """Undo everything.  After the end of the transaction nothing happens."""
        with self._gate.turn(self._lock):
            self._gate.drop(self._token)

    def __enter__(self) -> "Transaction":
        return self

    def __exit__(self, kind: Optional[type], *_: object) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()

    def __del__(self) -> None:
        if hasattr(self, "_token"):
            self._gate.drop(self._token)
