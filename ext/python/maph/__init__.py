"""maph: a key-value store in one mmap file, read in this process without any server.

    import maph

    with maph.open("cache.maph") as store:
        store["hot_key"]                 # bytes
        store.view("hot_key")            # the same without a copy

The library's calls release the interpreter lock.  Errors are exceptions named after the library's
codes.
"""

from . import fast as _fast
from .changes import Change, Changes
from .cursor import Cursor, Range, ViewCursor, ViewRange
from .errors import *  # noqa: F401,F403
from .errors import __all__ as _errors
from .library import failure as _failure
from .library import lib as _lib
from .load import Load, load
from .reader import TYPES as _types
from .reader import Entry, Key, Rewrite, StoreStats, Value, ViewEntry
from .snapshot import Snapshot
from .store import Problem, Store, destroy, open, recover, replace
from .transaction import Transaction, Written

_fast.connect(_failure, NotFoundError, Entry, Written, _types)  # noqa: F405

__version__ = "0.1.0"
library_version = _lib.version
compiled = _fast.compiled  #: whether the calls that are made often are compiled, or go by ctypes
__all__ = [
    "Change",
    "Changes",
    "Cursor",
    "Entry",
    "Key",
    "Load",
    "Problem",
    "Range",
    "Rewrite",
    "Snapshot",
    "Store",
    "StoreStats",
    "Transaction",
    "Value",
    "ViewCursor",
    "ViewEntry",
    "ViewRange",
    "Written",
    "compiled",
    "destroy",
    "library_version",
    "load",
    "open",
    "recover",
    "replace",
]
__all__ += _errors
del _errors, _failure, _fast, _lib, _types
