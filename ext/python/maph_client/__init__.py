"""maph over HTTP: stores on a maph-server as mappings.  Nothing but the standard library.

    from maph_client import MaphClient

    client = MaphClient("http://localhost:8080")
    cache = client.get_store("cache")
    cache["hot_key"] = "new_value"
"""

from .batch import Batch, Result
from .changes import Change, Changes
from .client import MaphClient
from .entry import Entry, Key, Value
from .errors import *  # noqa: F401,F403
from .errors import RefusedLine
from .errors import __all__ as _errors
from .jobs import Job, JobInfo, Problem, Rewrite
from .stats import Replica, StoreStats
from .store import MaphStore, PutResult

__version__ = "0.1.0"
__all__ = [
    "MaphClient",
    "MaphStore",
    "Batch",
    "Change",
    "Changes",
    "Entry",
    "Job",
    "JobInfo",
    "Key",
    "Problem",
    "PutResult",
    "RefusedLine",
    "Replica",
    "Result",
    "Rewrite",
    "StoreStats",
    "Value",
]
__all__ += _errors
