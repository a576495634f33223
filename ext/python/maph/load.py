"""A new store from many entries, made at once."""

from __future__ import annotations

import os
import threading
from ctypes import byref, c_void_p, sizeof
from types import TracebackType
from typing import Optional, Type
from uuid import UUID

from . import library
from .library import INT, Condition, Input, failure, lib, whole
from .process import InProcess
from .reader import Key, Value, as_bytes, as_input
from .store import PERFECT_HASH, Path, milliseconds, uuid_bytes, versions_code
from .transaction import describe, one_name


class Load(InProcess):
    """A store that nobody sees before finish(), and that is whole and on disk then.

    with maph.load("new.maph") as entries:
        entries.put("key", "value")

    The block's end finishes it; an exception leaves nothing.  Of a key that is put twice the last
    value counts."""

    def __init__(self, handle: int) -> None:
        self._handle: Optional[int] = handle
        self._mutex = threading.Lock()

    def _elsewhere(self) -> str:
        return "begin it with maph.load() there, and hand over the entries"

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
    ) -> None:
        """As Store.put, without conditions."""
        name, bytes_of_value, one = as_input(key), as_bytes(value), Condition()
        describe(one, value, ttl, expires_at, type, one_name(content_type, media_type))
        with self._mutex:
            size = len(bytes_of_value)
            rc = lib.maph_load_put(self._handle, name, Input(bytes_of_value, size), one)
            if rc:
                raise failure(rc, None)

    def at(self, version: int) -> None:
        """Where versions are given: what is put from now on, and the store in the end, are at this
        one.  ConflictError: it lies below one said before."""
        with self._mutex:
            rc = lib.maph_load_at(self._handle, whole("version", version))
            if rc:
                raise failure(rc, None)

    def __setitem__(self, key: Key, value: Value) -> None:
        self.put(key, value)

    def __len__(self) -> int:
        """Entries put so far."""
        with self._mutex:
            return int(lib.maph_load_entries(self._handle))

    def finish(self) -> None:
        """The store takes its name."""
        with self._mutex:
            handle, self._handle = self._handle, None
            rc = lib.maph_load_finish(handle)
            if rc:
                raise failure(rc, None)

    def abort(self) -> None:
        """Nothing stays.  Nothing happens where it has ended."""
        with self._mutex:
            handle, self._handle = self._handle, None
            lib.maph_load_abort(handle)

    def __enter__(self) -> "Load":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None and self._handle is not None:
            self.finish()
        else:
            self.abort()

    def __del__(self) -> None:
        self.abort()


def load(
    path: Path,
    *,
    optimize: bool = False,
    perfect_hash: Optional[str] = None,
    expected_keys: int = 0,
    memory_bytes: int = 0,
    busy_timeout: float = 5.0,
    permissions: int = 0o644,
    into_empty: bool = False,
    after_version: int = 0,
    versions: str = "own",
    uuid: Optional[UUID] = None,
) -> Load:
    """Begin a new store at path.  ExistsError when there is one.  With into_empty one is there that
    was not written to since it was made; ExistsError when it was.  versions and uuid: as in
    open, see Load.at.  The rest is maph_load_options in maph.h."""
    if perfect_hash not in PERFECT_HASH:
        raise ValueError("perfect_hash is None, pilot or cmph")
    options = library.LoadOptions(
        size=sizeof(library.LoadOptions),
        mode=whole("permissions", permissions, INT),
        busy_timeout_ms=milliseconds("busy_timeout", busy_timeout),
        expected_keys=whole("expected_keys", expected_keys),
        memory_bytes=whole("memory_bytes", memory_bytes),
        optimize=bool(optimize),
        perfect_hash=PERFECT_HASH[perfect_hash],
        into_empty=bool(into_empty),
        after_version=whole("after_version", after_version),
        versions=versions_code(versions),
        uuid=uuid_bytes(uuid),
    )
    handle, name = c_void_p(), os.fsencode(path)
    if b"\0" in name:
        raise ValueError("a path has no NUL byte")
    rc = lib.maph_load_begin(name, byref(options), byref(handle))
    if rc:
        raise failure(rc, None)
    return Load(handle.value or 0)
