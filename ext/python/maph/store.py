"""A store: open, read, write, look after."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import nullcontext
from ctypes import byref, c_uint8, c_void_p, sizeof
from typing import (
    Any,
    Callable,
    ContextManager,
    Iterable,
    List,
    Mapping,
    MutableMapping,
    NamedTuple,
    Optional,
    Protocol,
    Tuple,
    TypeVar,
    Union,
    cast,
    overload,
)
from uuid import UUID

from . import fast, library
from .changes import Changes
from .cursor import Cursor, Range
from .errors import CorruptError, NotFoundError
from .gate import Gate
from .library import INT, ProgressFunction, ReportFunction, failure, lib, seconds, whole
from .reader import VERSIONS, Key, ManyReader, Rewrite, StoreStats, Value, as_stats, members
from .snapshot import Snapshot
from .transaction import Transaction, Writer, durability_code

ALONE = nullcontext()  # a store's calls need not take turns
MODES = {"r": 1, "w": 2, "c": 2 | 4, "x": 2 | 4 | 8}
ADVICE = {"normal": 0, "random": 1, "willneed": 2}
PERFECT_HASH = {None: 0, "pilot": 1, "cmph": 2}

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Progress = Callable[[str, int, int], object]
K = TypeVar("K", bound=Key)
V = TypeVar("V", bound=Value, covariant=True)
T = TypeVar("T")
NOTHING = object()  # no default was given


class Pairs(Protocol[K, V]):
    """What dict.update takes beside an iterable of pairs: a mapping, or what is enough of one."""

    def keys(self) -> Iterable[K]: ...

    def __getitem__(self, key: K, /) -> V: ...


class Problem(NamedTuple):
    """What a check or recovery found: its place in the file, and a sentence."""

    offset: int
    sentence: str


def milliseconds(what: str, number: float) -> int:
    """As much as an int of C holds, which is over three weeks."""
    return int(max(-INT, min(seconds(what, number) * 1000, INT)))


def versions_code(name: str) -> int:
    if name not in VERSIONS:
        raise ValueError(f"versions is own or given, not {name!r}")
    return VERSIONS.index(name)


def uuid_bytes(uuid: Optional[UUID]) -> Any:
    if uuid is not None and not isinstance(uuid, UUID):
        raise TypeError(f"uuid is a uuid.UUID, not {type(uuid).__name__}: uuid.UUID(text) is one")
    return (c_uint8 * 16)(*(uuid.bytes if uuid else ()))


def open(
    path: Path,
    mode: str = "r",
    *,
    durability: Optional[str] = None,
    busy_timeout: float = 5.0,
    expected_keys: int = 0,
    verify: bool = False,
    prefault: bool = False,
    lock_memory: bool = False,
    advice: str = "normal",
    huge_pages: bool = False,
    permissions: int = 0o644,
    perfect_hash: Optional[str] = None,
    auto_compact: int = 0,
    after_version: int = 0,
    versions: str = "own",
    uuid: Optional[UUID] = None,
) -> "Store":
    """Open the store at path.  mode: r to read, w to write too, c to make it if it is missing, x to
    make it, ExistsError if it is there.

    durability: off, normal or full.  busy_timeout: seconds that a write waits for another writer.
    verify: reads check checksums.
    versions: of a store that is made, own or given: by who writes, see Transaction.at.  uuid: of
    the source that numbers them.  The rest is maph_options in maph.h."""
    if mode not in MODES:
        raise ValueError(f"mode is r, w, c or x, not {mode!r}")
    if advice not in ADVICE or perfect_hash not in PERFECT_HASH:
        raise ValueError(
            "advice is normal, random or willneed; perfect_hash is None, pilot or cmph"
        )
    options = library.Options(
        size=sizeof(library.Options),
        durability=durability_code(durability),
        busy_timeout_ms=milliseconds("busy_timeout", busy_timeout),
        expected_keys=whole("expected_keys", expected_keys),
        verify=bool(verify),
        prefault=bool(prefault),
        lock_memory=bool(lock_memory),
        advice=ADVICE[advice],
        huge_pages=bool(huge_pages),
        mode=whole("permissions", permissions, INT),
        perfect_hash=PERFECT_HASH[perfect_hash],
        auto_compact=whole("auto_compact", auto_compact, INT),
        after_version=whole("after_version", after_version),
        versions=versions_code(versions),
        uuid=uuid_bytes(uuid),
    )
    handle, name = c_void_p(), os.fsencode(path)
    if b"\0" in name:
        raise ValueError("a path has no NUL byte")
    rc = lib.maph_open(name, MODES[mode], byref(options), byref(handle))
    if rc:
        raise failure(rc, None)
    return Store(handle.value or 0, os.fsdecode(name), mode)


class Store(fast.ManyReader, fast.Writer, Writer, ManyReader, MutableMapping[Key, bytes]):
    """A mutable mapping of bytes to bytes (str goes in as UTF-8, as in dbm).  Any thread may use
    it; close() and refresh() wait for the others' calls.

    What a read hands out as memoryview lies in the file itself, and never changes.
    """

    _lib_get = staticmethod(lib.maph_get)
    _lib_get_entry = staticmethod(lib.maph_get_entry)
    _lib_get_many = staticmethod(lib.maph_get_many)
    _lib_put_if = staticmethod(lib.maph_put_if)
    _lib_delete_if = staticmethod(lib.maph_delete_if)
    _lib_increment = staticmethod(lib.maph_increment)
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, handle: int, path: str, mode: str) -> None:
        self._gate = Gate(handle, path)
        self.path = path
        self.mode = mode
        self._connect(self._gate, fast.STORE, None, None, None, True, fast.VIEWED)

    def __repr__(self) -> str:
        return f"<maph store {self.path!r}{', closed' if self.closed else ''}>"

    def _owner(self) -> object:
        return self

    def _turn(self) -> ContextManager[Any]:
        return ALONE

    def _enter(self, call: object) -> int:
        return self._gate.enter(call)

    def _check(self, function: Callable[..., int], *arguments: Any) -> None:
        call = object()
        try:
            handle = self._gate.enter(call)
            rc = function(handle, *arguments)
            if rc:
                raise failure(rc, handle)
        finally:
            self._gate.leave(call)

    # ------------------------------------------------------------------------------- open and close
    @property
    def closed(self) -> bool:
        """Whether close() was called; in a child of fork() it is closed from the start."""
        return self._gate.closed

    def close(self) -> None:
        """Close it, and what is open of it; transactions are aborted.  BufferError while a
        memoryview of it is alive.  The second time nothing happens."""
        self._gate.exclusive("close", self._close)

    def _close(self, handle: Optional[int]) -> None:
        if handle is None:
            return
        for token in reversed(
            list(self._gate.opened)
        ):  # the youngest first: a cursor before its snapshot
            self._gate.end(token, token.closer)
        self._gate.gone = True
        rc = lib.maph_close(handle)
        if rc:
            raise failure(rc, None)

    def interrupt(self) -> None:
        """End what waits or takes long in other threads, through this store: those calls raise
        CancelledError, and nothing was changed."""
        call = object()
        try:
            lib.maph_interrupt(self._gate.enter(call))
        finally:
            self._gate.leave(call)

    def refresh(self) -> None:
        """Let go of what older reads pinned and look at the path again: another file there is moved
        to.  BufferError while a memoryview is alive."""
        self._gate.exclusive("refresh", self._refresh)

    def _refresh(self, handle: Optional[int]) -> None:
        rc = (
            lib.maph_refresh(handle) if handle is not None else self._gate.enter(None)
        )  # which says that it is closed
        if rc:
            raise failure(rc, handle)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_gate"):
            try:
                self.close()
            except BufferError:
                pass  # the interpreter ends, or a circle is broken, while a view is alive

    # -------------------------------------------------------------------------- reading and writing
    def _cursor(self, prefix: Key, views: bool) -> Cursor:
        return Cursor(self, None, prefix, views)

    def _range(self, bounds: library.Range, views: bool) -> Range:
        return Range(self, None, bounds, views)

    def snapshot(self) -> Snapshot:
        """The store as it is now: `with store.snapshot() as s: ...`."""
        return Snapshot(self, lib.maph_snapshot_open, None)

    def transaction(self, durability: Optional[str] = None) -> Transaction:
        """Many operations as one: `with store.transaction() as t: ...`.  BusyError when another
        writer does not end."""
        return Transaction(self, durability)

    def changes(self, since: Optional[int] = None, *, timeout: Optional[float] = None) -> Changes:
        """Puts and deletes after version `since`; None: from now on; 0: from the store's
        creation."""
        return Changes(self, self.stats()["version"] if since is None else since, timeout)

    def __len__(self) -> int:
        """Live keys; expired ones count until something overwrites or sweeps them."""
        return int(self._stat().records)

    def update(
        self,
        other: Union[Pairs[K, Value], Iterable[Tuple[Key, Value]]] = (),
        /,
        **more: Value,
    ) -> None:
        """Put many, as one transaction."""
        with self.transaction() as transaction:
            for key, value in _pairs(other):
                transaction[key] = value
            for name, value in more.items():
                transaction[name] = value

    def clear(self) -> None:
        """Delete every key, as one transaction."""
        with self.transaction() as transaction, transaction.snapshot() as all_of_it:
            for key in all_of_it:
                del transaction[key]

    @overload
    def pop(self, key: Key) -> bytes: ...

    @overload
    def pop(self, key: Key, default: T) -> Union[bytes, T]: ...

    def pop(self, key: Key, default: object = NOTHING) -> object:
        """Take a key out, in a transaction: of several that try at once, one gets the value."""
        with self.transaction() as transaction:
            try:
                value = transaction[key]
                del transaction[key]
                return value
            except NotFoundError:
                if default is NOTHING:
                    raise
                return default

    def popitem(self) -> Tuple[bytes, bytes]:
        """Take some entry out, in a transaction: of several that try at once, each gets another.
        KeyError when there is none."""
        with (
            self.transaction() as transaction,
            transaction.snapshot() as all_of_it,
            all_of_it.cursor() as cursor,
        ):
            for entry in cursor:
                del transaction[entry.key]
                return entry.key, entry.value
        raise KeyError(f"{self.path} is empty")

    def setdefault(self, key: Key, default: Value = b"") -> bytes:
        """The value, after putting `default` when there was none."""
        with self.transaction() as transaction:
            if key not in transaction:
                transaction[key] = default
            return transaction[key]

    # -------------------------------------------------------------------------------- looking after
    def _stat(self) -> library.Stats:
        stats = library.Stats()
        self._check(lib.maph_stat, byref(stats))
        return stats

    def stats(self) -> StoreStats:
        """The members of maph_stats by name."""
        return as_stats(self._stat())

    def sync(self) -> None:
        """Everything committed so far is on disk when this returns."""
        self._check(lib.maph_sync)

    def compact(self, progress: Optional[Progress] = None) -> Rewrite:
        """Give back the room of what was overwritten and deleted.  progress(phase, done, total) is
        called now and then; True stops: CancelledError.
        The result is the members of maph_rewrite."""
        return self._rewrite(lib.maph_compact, (), progress)

    def optimize(self, progress: Optional[Progress] = None) -> Rewrite:
        """The same, and freeze a perfect hash over all keys.  The store stays writable."""
        return self._rewrite(lib.maph_optimize, (), progress)

    def backup(self, path: Path, progress: Optional[Progress] = None) -> Rewrite:
        """A compact, verified copy as a store of its own at path.  ExistsError when there is
        something."""
        return self._rewrite(lib.maph_backup, (os.fsencode(path),), progress)

    def _rewrite(
        self, function: Callable[..., int], arguments: Tuple[Any, ...], progress: Optional[Progress]
    ) -> Rewrite:
        raised: List[BaseException] = []

        def call(_: Any, phase: bytes, done: int, total: int) -> int:
            try:
                return bool(raised or progress and progress(phase.decode(), done, total))
            except BaseException as error:
                raised.append(error)
                return 1

        # Ctrl-C is mostly seen as `call` begins, before its try; what leaves it is handed to the
        # hook and lost.
        def hook(lost: "sys.UnraisableHookArgs") -> None:
            if (
                lost.exc_value
                and lost.exc_traceback
                and lost.exc_traceback.tb_frame.f_code is call.__code__
            ):
                raised.append(lost.exc_value)
            else:
                usual(lost)

        callback, usual = ProgressFunction(call), sys.unraisablehook
        in_main = threading.current_thread() is threading.main_thread()  # where signals are seen
        try:
            if in_main:
                sys.unraisablehook = hook
            self._check(function, *arguments, callback, None)
        except Exception:
            if not raised:
                raise
        finally:
            if in_main:
                sys.unraisablehook = usual
        if raised:
            raise raised[0]
        done = library.Rewrite()
        self._check(lib.maph_rewritten, byref(done))
        result = members(done)
        result["note"] = result["note"].decode("utf-8", "replace")
        return cast(Rewrite, result)

    def check(self) -> List[Problem]:
        """Walk everything: what is wrong with the file; nothing, hopefully."""
        problems, report = _reporter()
        try:
            self._check(lib.maph_check, report, None)
        except CorruptError:
            if not problems:
                raise
        return problems


def _pairs(other: Any) -> Iterable[Tuple[Key, Value]]:
    """As dict.update takes them."""
    pairs: Iterable[Tuple[Key, Value]] = other
    if isinstance(other, Mapping):
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())
    return pairs


def _reporter() -> Tuple[List[Problem], Any]:
    problems: List[Problem] = []

    def report(_: Any, offset: int, sentence: bytes) -> int:
        problems.append(Problem(offset, sentence.decode("utf-8", "replace")))
        return 0

    return problems, ReportFunction(report)


def recover(path: Path) -> List[Problem]:
    """Make the store at path usable again after a power loss, poisoning or damage; what was lost.
    A sound store: nothing to do."""
    problems, report = _reporter()
    rc = lib.maph_recover(os.fsencode(path), report, None)
    if rc:
        raise failure(rc, None)
    return problems


def replace(path: Path, with_: Path, *, busy_timeout: float = 5.0) -> None:
    """The store at with_ takes the name path, under the users of the store that has it."""
    wait = milliseconds("busy_timeout", busy_timeout)
    rc = lib.maph_replace(os.fsencode(path), os.fsencode(with_), wait)
    if rc:
        raise failure(rc, None)


def destroy(path: Path, *, busy_timeout: float = 5.0) -> None:
    """Remove the store at path; its users find it deleted at their next call."""
    rc = lib.maph_destroy(os.fsencode(path), milliseconds("busy_timeout", busy_timeout))
    if rc:
        raise failure(rc, None)
