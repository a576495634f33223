"""What can be read through a store, a snapshot and a transaction alike."""

from __future__ import annotations

import uuid
from ctypes import c_char_p, c_size_t, c_void_p, sizeof, string_at
from ctypes import cast as as_type
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    List,
    Literal,
    NamedTuple,
    Optional,
    Tuple,
    Type,
    TypedDict,
    TypeVar,
    Union,
    ValuesView,
    cast,
    overload,
)

from . import fast, library
from .errors import NotFoundError
from .gate import Gate
from .library import Input, Slice, failure, whole
from .process import InProcess

if TYPE_CHECKING:
    from .cursor import Cursor, Range, ViewCursor, ViewRange

Key = Union[str, bytes, bytearray, memoryview]
Value = Union[str, bytes, bytearray, memoryview]
T = TypeVar("T")
NOTFOUND = NotFoundError.code
AFTER_FROM, UP_TO, REVERSE = 1, 2, 4  # MAPH_RANGE_*
VERSIONS = ("own", "given")
TYPES = ("blob", "text", "json", "integer", "real", "null")


class Entry(NamedTuple):
    """A key and its value with what the store knows of them."""

    key: bytes
    value: bytes  #: where views were asked for a memoryview, see ViewEntry
    version: int  #: of the transaction that put it
    expires_at: Optional[int]  #: milliseconds since 1970; None: never
    type: str  #: blob, text, json, integer, real or null: what the writer said it was
    media_type: str
    key_is_text: Optional[bool]  #: what SQL said of the key; None: nobody said

    @property
    def content_type(self) -> str:
        """media_type by the name that puts have for it, as in maph_client."""
        return self.media_type

    def __copy__(self) -> "Entry":
        return self

    def __reduce__(self) -> Tuple[Type["Entry"], Tuple[object, ...]]:
        if isinstance(self.value, memoryview):
            raise TypeError(
                "the entry's value is a view of this process's memory, which cannot be pickled: "
                "entry._replace(value=bytes(entry.value)) can"
            )
        return Entry, tuple(self)


if TYPE_CHECKING:

    class ViewEntry(NamedTuple):
        """An Entry whose value is a memoryview, for type checkers: it is an Entry."""

        key: bytes
        value: memoryview
        version: int
        expires_at: Optional[int]
        type: str
        media_type: str
        key_is_text: Optional[bool]

        @property
        def content_type(self) -> str:
            """media_type by the name that puts have for it, as in maph_client."""
            return self.media_type

else:
    ViewEntry = Entry


class StoreStats(TypedDict):
    """Figures of a store or snapshot, a dict: the members of maph_stats in maph.h."""

    records: int  #: live keys
    live_bytes: int
    dead_bytes: int  #: what compact gives back
    index_bytes: int
    used_bytes: int
    file_bytes: int
    version: int  #: of the last transaction
    generation: int  #: how often the file was rewritten, from 1
    flushed_bytes: int
    segments: int
    load_factor: float
    uuid: str
    poisoned: int  #: a flush failed: no more writing
    oldest_version: int  #: changes since this version can be read
    perfect_hash: int  #: 0 none, 1 pilot, 2 cmph
    direct: int
    frozen_keys: int
    moved_keys: int
    later_keys: int
    frozen_bytes: int
    perfect_bits: float
    order_bytes: int  #: of the order of keys; in index_bytes too
    order_runs: int
    versions: str  #: own or given


class Rewrite(TypedDict):
    """What compact, optimize or backup did, a dict: the members of maph_rewrite in maph.h."""

    bytes_before: int
    bytes_after: int
    records: int
    swept: int  #: expired entries deleted first
    caught_up: int  #: transactions that came meanwhile
    frozen_keys: int
    perfect_hash: int  #: 0 none, 1 pilot, 2 cmph
    direct: int
    perfect_bits: float
    took_ns: int
    pause_ns: int  #: how long writers were locked out
    memory_bytes: int
    note: str


def as_bytes(data: Any) -> bytes:
    """Text goes into a store as UTF-8."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        try:
            return data.encode("utf-8")
        except UnicodeEncodeError as error:
            error.reason = (
                "half a surrogate pair is no text; os.fsencode() makes bytes of the name of a file"
            )
            raise
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(
        f"keys and values are str or bytes, not {type(data).__name__}; json.dumps() makes a str "
        "of most things"
    )


def as_input(data: Any) -> Input:
    raw = as_bytes(data)
    return Input(raw, len(raw))


def copy(piece: Slice) -> bytes:
    return string_at(piece.data, piece.size) if piece.size else b""


def as_entry(found: library.Entry, value: Any) -> Entry:
    key_type = found.key_type
    return Entry(
        copy(found.key),
        value,
        found.version,
        found.expires or None,
        TYPES[found.type] if 0 <= found.type < len(TYPES) else "blob",
        copy(found.media_type).decode("latin-1"),
        None if key_type == 0 else key_type == 1,
    )


def as_bound(key: Optional[Key]) -> Input:
    return Input(None, 0) if key is None else as_input(key)


def as_range(
    from_: Optional[Key],
    to: Optional[Key],
    prefix: Key,
    flags: int,
    limit: Optional[int],
) -> library.Range:
    """As the library takes it.  For the library a limit of 0 is none; here it means no entry at
    all, as do the keys before the empty one."""
    if limit is not None and not isinstance(limit, int):
        raise TypeError(f"limit is a whole number or None, not {type(limit).__name__}")
    if limit == 0:
        to, flags = b"", flags & ~UP_TO
    bounds = library.Range(
        size=sizeof(library.Range),
        to=as_bound(to),
        prefix=as_input(prefix),
        limit=whole("limit", limit or 0),
        flags=flags,
    )
    setattr(bounds, "from", as_bound(from_))
    return bounds


def members(struct: Any) -> Dict[str, Any]:
    return {name: getattr(struct, name) for name, *_ in struct._fields_}


def as_stats(stats: library.Stats) -> StoreStats:
    result = members(stats)
    result["uuid"] = str(uuid.UUID(bytes=bytes(result["uuid"])))
    result["versions"] = VERSIONS[result["versions"]]
    return cast(StoreStats, result)


class Reader(InProcess):
    """_enter(call) gives the pointer that the functions named here take, until the gate's
    leave(call); see Gate.enter.  All of it in one's turn."""

    _gate: Gate
    _lib_get: Callable[..., int]
    _lib_get_entry: Callable[..., int]

    def _owner(self) -> object:
        """What a view keeps alive: the store."""
        raise NotImplementedError

    def _turn(self) -> ContextManager[Any]:
        raise NotImplementedError

    def _enter(self, call: object) -> int:
        raise NotImplementedError

    def _fail(self, rc: int) -> Exception:
        return failure(rc, None)

    def _ask(self, function: Callable[[int], int]) -> int:
        call = object()
        with self._turn():
            try:
                return int(function(self._enter(call)))
            finally:
                self._gate.leave(call)

    def _window(self, address: Optional[int], size: int) -> memoryview:
        """Between _enter() and leave(): those bytes for as long as anybody looks at them."""
        return self._gate.view(self._owner(), address, size)

    def __getitem__(self, key: Key) -> bytes:
        name, value, call = as_input(key), Slice(), object()
        with self._turn():
            try:
                rc = self._lib_get(self._enter(call), name, value)
                if rc == 0:
                    return string_at(value.data, value.size) if value.size else b""
                if rc == NOTFOUND:
                    raise NotFoundError(key)
                raise self._fail(rc)
            finally:
                self._gate.leave(call)

    @overload
    def get(self, key: Key) -> Optional[bytes]: ...

    @overload
    def get(self, key: Key, default: T) -> Union[bytes, T]: ...

    def get(self, key: Key, default: object = None) -> object:
        """The bytes stored under key, or default."""
        try:
            return self[key]
        except NotFoundError:
            return default

    def __contains__(self, key: object) -> bool:
        return (
            isinstance(key, (str, bytes, bytearray, memoryview))
            and self._find(key, lambda *_: True) is not None
        )

    def view(self, key: Key) -> memoryview:
        """The same bytes without a copy: a read-only memoryview of the mapped file.  While it, or a
        slice of it, is alive, the store can be neither refreshed nor closed: BufferError.  Of a
        transaction, it is a copy.  NotFoundError.
        """
        found = self._find(key, self._window)
        if found is None:
            raise NotFoundError(key)
        return found

    def _find(self, key: Key, make: Callable[[Optional[int], int], T]) -> Optional[T]:
        name, value, call = as_input(key), Slice(), object()
        with self._turn():
            try:
                rc = self._lib_get(self._enter(call), name, value)
                if rc == 0:
                    return make(value.data, value.size)
                if rc == NOTFOUND:
                    return None
                raise self._fail(rc)
            finally:
                self._gate.leave(call)

    def entry(self, key: Key) -> Entry:
        """The value with its version, type and expiry.  NotFoundError."""
        name, found, call = as_input(key), library.Entry(), object()
        with self._turn():
            try:
                rc = self._lib_get_entry(self._enter(call), name, found)
                if rc == NOTFOUND:
                    raise NotFoundError(key)
                if rc:
                    raise self._fail(rc)
                return as_entry(found, copy(found.value))
            finally:
                self._gate.leave(call)

    @overload
    def range(
        self,
        from_: Optional[Key] = ...,
        to: Optional[Key] = ...,
        *,
        prefix: Key = ...,
        include_from: bool = ...,
        include_to: bool = ...,
        reverse: bool = ...,
        limit: Optional[int] = ...,
        views: Literal[False] = ...,
    ) -> "Range": ...

    @overload
    def range(
        self,
        from_: Optional[Key] = ...,
        to: Optional[Key] = ...,
        *,
        prefix: Key = ...,
        include_from: bool = ...,
        include_to: bool = ...,
        reverse: bool = ...,
        limit: Optional[int] = ...,
        views: Literal[True],
    ) -> "ViewRange": ...

    @overload
    def range(
        self,
        from_: Optional[Key] = ...,
        to: Optional[Key] = ...,
        *,
        prefix: Key = ...,
        include_from: bool = ...,
        include_to: bool = ...,
        reverse: bool = ...,
        limit: Optional[int] = ...,
        views: bool,
    ) -> "Union[Range, ViewRange]": ...

    def range(
        self,
        from_: Optional[Key] = None,
        to: Optional[Key] = None,
        *,
        prefix: Key = b"",
        include_from: bool = True,
        include_to: bool = False,
        reverse: bool = False,
        limit: Optional[int] = None,
        views: bool = False,
    ) -> "Union[Range, ViewRange]":
        """The live entries from the key from_ to the key to, in the order of the keys' bytes; None
        is no bound.  reverse: from the last to the first; the bounds stay as they are.

        Only what is returned is read.  It is as of now; of a transaction, with what the
        transaction has written.  limit: so many at most.  views: values are memoryviews, as view()
        gives them."""
        flags = (
            (0 if include_from else AFTER_FROM)
            | (UP_TO if include_to else 0)
            | (REVERSE if reverse else 0)
        )
        return self._range(as_range(from_, to, prefix, flags, limit), views)

    @overload
    def prefix(
        self,
        prefix: Key,
        *,
        reverse: bool = ...,
        limit: Optional[int] = ...,
        views: Literal[False] = ...,
    ) -> "Range": ...

    @overload
    def prefix(
        self,
        prefix: Key,
        *,
        reverse: bool = ...,
        limit: Optional[int] = ...,
        views: Literal[True],
    ) -> "ViewRange": ...

    @overload
    def prefix(
        self, prefix: Key, *, reverse: bool = ..., limit: Optional[int] = ..., views: bool
    ) -> "Union[Range, ViewRange]": ...

    def prefix(
        self,
        prefix: Key,
        *,
        reverse: bool = False,
        limit: Optional[int] = None,
        views: bool = False,
    ) -> "Union[Range, ViewRange]":
        """The live entries whose key begins with prefix, in the order of the keys' bytes; see
        range."""
        flags = REVERSE if reverse else 0
        return self._range(as_range(None, None, prefix, flags, limit), views)

    def _range(self, bounds: library.Range, views: bool) -> "Range":
        raise NotImplementedError


class ManyReader(Reader):
    """Stores and snapshots read many keys at once, and all of them."""

    _lib_get_many: Callable[..., int]

    def get_many(self, keys: Iterable[Key]) -> List[Optional[bytes]]:
        """The values of those keys, None for a missing one: one snapshot, and cache misses
        overlapped."""
        return self._many(keys, lambda address, size: string_at(address, size) if size else b"")

    def view_many(self, keys: Iterable[Key]) -> List[Optional[memoryview]]:
        """The same without a copy; see view."""
        return self._many(keys, self._window)

    def _many(self, keys: Iterable[Key], make: Callable[[int, int], T]) -> List[Optional[T]]:
        """The slices as plain words, since a ctypes struct for each takes longer than the read."""
        raws = [as_bytes(key) for key in keys]
        joined = b"".join(raws)
        at = as_type(c_char_p(joined), c_void_p).value or 0
        words: List[int] = []
        for raw in raws:
            words += (at, len(raw))
            at += len(raw)
        inputs, values, call = (c_size_t * len(words))(*words), (c_size_t * len(words))(), object()
        with self._turn():
            try:
                rc = self._lib_get_many(self._enter(call), len(raws), inputs, values)
                if rc:
                    raise self._fail(rc)
                found = list(values)
                return [
                    make(address, size) if address else None
                    for address, size in zip(found[::2], found[1::2])
                ]
            finally:
                self._gate.leave(call)

    @overload
    def cursor(self, prefix: Key = ..., *, views: Literal[False] = ...) -> "Cursor": ...

    @overload
    def cursor(self, prefix: Key = ..., *, views: Literal[True]) -> "ViewCursor": ...

    @overload
    def cursor(self, prefix: Key = ..., *, views: bool) -> "Union[Cursor, ViewCursor]": ...

    def cursor(
        self, prefix: Key = b"", *, views: bool = False
    ) -> "Union[Cursor, ViewCursor]":
        """The live entries whose key begins with prefix, as of now or of the snapshot, as they lie
        in the file: those put after the last rewrite in the order of their puts.  views: values are
        memoryviews, as view() gives them."""
        return self._cursor(prefix, views)

    def _cursor(self, prefix: Key, views: bool) -> "Cursor":
        raise NotImplementedError

    def __iter__(self) -> Iterator[bytes]:
        return self.cursor()._give(fast.KEYS)

    def __len__(self) -> int:
        raise NotImplementedError

    def keys(self) -> "KeysView[bytes]":
        """The keys, in the order of the file: a view, as of any mapping."""
        return _Keys(self)  # type: ignore[arg-type]

    def items(self) -> "ItemsView[bytes, bytes]":
        """Keys with their values, in the order of the file: a view, as of any mapping."""
        return _Items(self)  # type: ignore[arg-type]

    def values(self) -> "ValuesView[bytes]":
        """The values, in the order of the file: a view, as of any mapping."""
        return _Values(self)  # type: ignore[arg-type]


class _Keys(KeysView[bytes]):
    """As any keys view; __contains__ and __iter__ are the reader's."""


class _Items(ItemsView[bytes, bytes]):
    def __iter__(self) -> Iterator[Tuple[bytes, bytes]]:
        given: Iterator[Tuple[bytes, bytes]]
        given = self._mapping.cursor()._give(fast.PAIRS)  # type: ignore[attr-defined]
        return given


class _Values(ValuesView[bytes]):
    def __iter__(self) -> Iterator[bytes]:
        given: Iterator[bytes]
        given = self._mapping.cursor()._give(fast.VALUES)  # type: ignore[attr-defined]
        return given

    def __contains__(self, value: object) -> bool:
        return any(value == one for one in self)
