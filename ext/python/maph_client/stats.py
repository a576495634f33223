"""Figures of a store."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, Mapping


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
    raw: Dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_json(cls, member: Mapping[str, Any]) -> "StoreStats":
        known = {one.name for one in fields(cls)} - {"error", "raw"}
        error = member.get("error") or {}
        return cls(
            **{name: value for name, value in member.items() if name in known},
            error=str(error.get("detail", "")),
            raw=dict(member),
        )
