"""What of this package is compiled, if it is.

The package is whole without: each class here stands before a Python class with the same methods,
to which it leaves what is not the plain case (compiled/compiled.h).  Where nothing is compiled the
classes are empty.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Optional

from .library import lib

STORE, SNAPSHOT, TRANSACTION = range(3)  # kinds of what is read
COPIED, VIEWED, COPIED_VIEWED = range(3)  # how values are shown
ENTRIES, KEYS, VALUES, PAIRS = range(4)  # what a cursor gives


class Gate:
    """What compiled calls look at of a gate."""

    _handle: Optional[int]
    _busy = 0  # compiled calls under way that let other threads run
    _views = 0  # compiled views that are alive


class Part:
    """What compiled calls know of a store, or of what is open of it."""

    def _connect(
        self,
        gate: Gate,
        kind: int,
        store: object,
        token: object,
        lock: object,
        shared: bool,
        values: int,
    ) -> None:
        pass


class Reader(Part):
    """Reads of one key."""


class ManyReader(Reader):
    """Reads of many keys."""


class Writer(Reader):
    """Plain puts and deletes."""


class Cursor(Part):
    """The steps of a cursor."""


class Range(Part):
    """The steps of a range."""


def connect(*_: object) -> None:
    pass


def _load() -> Any:
    """The module, or None: it is not built, or not for this interpreter.  One without the
    interpreter lock would switch it on for this module; ctypes needs none."""
    if "t" in getattr(sys, "abiflags", ""):
        return None
    try:
        from . import _maph

        _maph.find(lib.handle)
    except ImportError:
        return None
    return _maph


_found = _load()
compiled: bool = _found is not None
if not TYPE_CHECKING and _found is not None:
    Gate, Reader, ManyReader = _found.Gate, _found.Reader, _found.ManyReader
    Writer, Cursor, Range = _found.Writer, _found.Cursor, _found.Range
    connect = _found.connect
