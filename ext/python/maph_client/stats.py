"""Figures of a store."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping, Optional, Set

from .entry import member_text


@dataclass(frozen=True)
class Replica:
    """What the follower of a replica tells of it.  `raw` holds everything the server said."""

    bucket: str = ""  #: of NATS, which takes the writes
    state: str = ""  #: stopped, connecting, syncing, following, rebuilding, disconnected, no bucket
    following: bool = False  #: it has a session with the bucket
    position: int = 0  #: the bucket's sequence that it is at; the store's version
    last_seq: int = 0  #: the bucket's last sequence, as far as known
    lag_messages: int = 0
    lag_seconds: Optional[float] = None  #: how old what it shows may be; None: not known
    heard_seconds: Optional[float] = None  #: since the server of NATS was last heard
    applied: int = 0
    sessions: int = 0
    losses_repaired: int = 0
    rebuilds: int = 0
    ghosts_removed: int = 0
    keys_left_out: int = 0
    transactions_torn: int = 0
    listings: int = 0
    last_error: str = ""
    raw: Dict[str, object] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, member: Mapping[str, object]) -> "Replica":
        """Of the member that the server's answer has for it."""
        known: Any = {name: member[name] for name in _names(cls) & set(member)}
        known.update((name, member_text(member, name)) for name in ("bucket", "last_error"))
        return cls(**known, raw=dict(member))


@dataclass(frozen=True)
class StoreStats:
    """`size` is the number of live keys, `bytes` that of the file.  `raw` holds everything the
    server said."""

    name: str
    size: int = 0
    load_factor: float = 0.0
    bytes: int = 0
    used_bytes: int = 0
    live_bytes: int = 0
    dead_bytes: int = 0
    index_bytes: int = 0
    version: int = 0
    generation: int = 0
    read_only: bool = False
    uuid: str = ""
    error: str = ""  #: why the server cannot open it (in list_stores)
    raw: Dict[str, object] = field(default_factory=dict, repr=False, compare=False)
    flushed_bytes: int = 0
    segments: int = 0
    poisoned: bool = False  #: a flush failed: no more writing
    oldest_version: int = 0  #: changes since this version can be read
    perfect_hash: str = ""  #: none, pilot or cmph
    direct: bool = False
    frozen_keys: int = 0
    moved_keys: int = 0
    later_keys: int = 0
    frozen_bytes: int = 0
    perfect_bits: float = 0.0
    order_bytes: int = 0  #: of the order of keys; in index_bytes too
    order_runs: int = 0
    versions: str = ""  #: own, or given: a replica, whose versions are those of its source
    forwarded: bool = False  #: of a replica: a write of one key is sent to its bucket
    replica: Optional[Replica] = None  #: what its follower tells, of a replica that has one

    @classmethod
    def from_json(cls, member: Mapping[str, object]) -> "StoreStats":
        """Of what the server answers for a store.  What this package does not know is in raw."""
        known: Any = {name: member[name] for name in _names(cls) & set(member)}
        error, replica = member.get("error"), member.get("replica")
        known["error"] = member_text(error, "detail") if isinstance(error, Mapping) else ""
        known["replica"] = Replica.from_json(replica) if isinstance(replica, Mapping) else None
        return cls(**known, raw=dict(member))

    @property
    def records(self) -> int:
        """size, by the name that maph has for it."""
        return self.size

    @property
    def file_bytes(self) -> int:
        """bytes, by the name that maph has for it."""
        return self.bytes


def _names(kind: Any) -> Set[str]:
    """What may come from the server of a class's fields."""
    return {one.name for one in fields(kind)} - {"raw"}
