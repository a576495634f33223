"""The compiled part of maph: the calls that are made often.  Bases for the package's own classes,
for nobody else's use."""

from typing import (
    Any,
    Callable,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    overload,
)

from .errors import Error
from .reader import Entry, Key, Value
from .transaction import Written

T = TypeVar("T")
C = TypeVar("C", bound="Cursor")
R = TypeVar("R", bound="Range")

class Gate:
    _handle: Optional[int]
    _busy: int
    @property
    def _views(self) -> int: ...

class View: ...

class Part:
    def _connect(
        self,
        gate: Gate,
        kind: int,
        store: object,
        token: object,
        lock: object,
        shared: bool,
        values: int,
        /,
    ) -> None: ...

class Reader(Part):
    def __getitem__(self, key: Key, /) -> bytes: ...
    def __contains__(self, key: object, /) -> bool: ...
    @overload
    def get(self, key: Key) -> Optional[bytes]: ...
    @overload
    def get(self, key: Key, default: T) -> Union[bytes, T]: ...
    def view(self, key: Key) -> memoryview: ...
    def entry(self, key: Key) -> Entry: ...

class ManyReader(Reader):
    def get_many(self, keys: Iterable[Key]) -> List[Optional[bytes]]: ...
    def view_many(self, keys: Iterable[Key]) -> List[Optional[memoryview]]: ...

class Writer(Reader):
    def __setitem__(self, key: Key, value: Value, /) -> None: ...
    def __delitem__(self, key: Key, /) -> None: ...
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
    ) -> Written: ...
    def delete(self, key: Key, *, if_version: Optional[int] = None) -> Written: ...

class Cursor(Part):
    def __iter__(self: C) -> C: ...
    def __next__(self) -> Entry: ...
    def _give(self, what: int, /) -> Iterator[Any]: ...

class Range(Part):
    def __iter__(self: R) -> R: ...
    def __next__(self) -> Entry: ...
    def previous(self) -> Optional[Entry]: ...

def find(library: int, /) -> None: ...
def connect(
    failure: Callable[[int, object], Error],
    not_found: Type[Error],
    entry: type,
    written: type,
    types: Tuple[str, ...],
    /,
) -> None: ...
