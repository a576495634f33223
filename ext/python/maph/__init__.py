"""maph: a key-value store in one mmap file, read in this process without any server.

    import maph

    with maph.open("cache.maph") as store:
        store["hot_key"]                 # bytes
        store.view("hot_key")            # the same without a copy

The library's calls release the interpreter lock.  Errors are exceptions named after the library's
codes.
"""

from .changes import Change, Changes
from .cursor import Cursor
from .errors import *  # noqa: F401,F403
from .errors import __all__ as _errors
from .library import lib as _lib
from .reader import Entry, Key, Value
from .snapshot import Snapshot
from .store import Problem, Store, destroy, open, recover, replace
from .transaction import Transaction, Written

__version__ = "0.1.0"
library_version = _lib.version
__all__ = [
    "Change",
    "Changes",
    "Cursor",
    "Entry",
    "Key",
    "Problem",
    "Snapshot",
    "Store",
    "Transaction",
    "Value",
    "Written",
    "destroy",
    "library_version",
    "open",
    "recover",
    "replace",
]
__all__ += _errors
del _errors, _lib
