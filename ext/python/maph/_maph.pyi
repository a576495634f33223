"""The compiled part of maph: the calls that are made often.  Bases for the package's own classes,
for nobody else's use."""

from typing import Any, Callable, Optional, Tuple, Type

from .errors import Error

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
    def __getitem__(self, key: Any, /) -> bytes: ...
    def __contains__(self, key: object, /) -> bool: ...
    def get(self, key: Any, default: Any = None) -> Any: ...
    def view(self, key: Any) -> memoryview: ...
    def entry(self, key: Any) -> Any: ...

class ManyReader(Reader):
    def get_many(self, keys: Any) -> Any: ...
    def view_many(self, keys: Any) -> Any: ...

class Writer(Reader):
    def __setitem__(self, key: Any, value: Any, /) -> None: ...
    def __delitem__(self, key: Any, /) -> None: ...
    def put(
        self,
        key: Any,
        value: Any,
        *,
        ttl: Optional[float] = None,
        expires_at: Optional[int] = None,
        type: Optional[str] = None,
        media_type: str = "",
        if_version: Optional[int] = None,
        if_absent: bool = False,
        if_present: bool = False,
    ) -> Any: ...
    def delete(self, key: Any, *, if_version: Optional[int] = None) -> Any: ...

class Cursor(Part):
    def __iter__(self) -> Cursor: ...
    def __next__(self) -> Any: ...
    def _without_values(self) -> Any: ...

class Range(Part):
    def __iter__(self) -> Range: ...
    def __next__(self) -> Any: ...
    def previous(self) -> Any: ...

def find(library: int, /) -> None: ...
def connect(
    failure: Callable[[int, Any], Error],
    not_found: Type[Error],
    entry: type,
    written: type,
    types: Tuple[str, ...],
    /,
) -> None: ...
