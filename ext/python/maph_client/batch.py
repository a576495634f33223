"""Many operations in one request; if any of them writes, all are one transaction: everything or
nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Optional

from .entry import (
    LATEST,
    Entry,
    Key,
    Value,
    ascii_or_bytes,
    conditions,
    content_type_of,
    key_bytes,
    one_name,
    put_member,
    whole,
    whole_seconds,
)
from .errors import MaphError
from .process import InProcess

if TYPE_CHECKING:
    from .store import MaphStore

TYPES = ("blob", "text", "json", "integer", "real", "null")
OPERATIONS_MAX = 10000
BYTES_MAX = (
    2 * 1024 * 1024
)  # of characters: JSON makes up to six bytes of one, and the server takes 16 MiB


@dataclass(frozen=True)
class Result:
    """Of one operation.  status: 200 found or replaced, 201 created, 204 deleted, 404 no such
    key."""

    status: int
    version: Optional[int] = None
    entry: Optional[Entry] = None  #: of a get that found something

    @property
    def found(self) -> bool:
        """Whether there was such a key; of a put, that it was done."""
        return self.status < 400


def operation(
    op: str,
    key: Key,
    *,
    if_version: Optional[int] = None,
    if_absent: bool = False,
    if_present: bool = False,
) -> Dict[str, Any]:
    conditions(if_version, if_absent, if_present)
    member: Dict[str, Any] = {"op": op}
    key_bytes(key)
    put_member(member, "key", "key_encoding", key, "a key")
    if if_version is not None:
        member["if_version"] = if_version
    if if_absent:
        member["if_absent"] = True
    if if_present:
        member["if_present"] = True
    return member


def put_operation(
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
) -> Dict[str, Any]:
    if ttl is not None and expires_at is not None:
        raise ValueError("ttl or expires_at, not both")
    if type is not None and type not in TYPES:
        raise ValueError(f"type is one of {', '.join(TYPES)}, not {type!r}")
    member = operation(
        "put", key, if_version=if_version, if_absent=if_absent, if_present=if_present
    )
    put_member(member, "value", "encoding", value)
    if ttl is not None:
        member["ttl"] = whole_seconds(ttl)
    if expires_at is not None:
        # 0 is never there, and a time that has passed is gone at once
        member["expires_at"] = min(max(1, whole("expires_at", expires_at, -LATEST)), LATEST)
    content_type = one_name(content_type, media_type)
    if content_type is None and type is None and isinstance(value, str):
        content_type = content_type_of(value)
    if content_type is not None:
        put_member(member, "media_type", "media_type_encoding", ascii_or_bytes(content_type))
        if isinstance(value, str) and "json" in content_type:
            member["type"] = "json"
    if type is not None:
        member["type"] = type
    return member


def result(member: Dict[str, Any], request: str) -> Result:
    status = int(member["status"])
    entry = Entry.from_json(member) if "value" in member else None
    if status >= 400 and status != 404:
        raise MaphError(
            f"one operation failed with status {status}",
            request=request,
            status=status,
            code=str(member.get("code", "")),
            problem=member,
        )
    return Result(status, member.get("version"), entry)


class Batch(InProcess):
    """Collects operations; commit() sends them.  As a context manager it commits at the end, and
    not at all after an exception.

    with store.batch() as batch:
        batch.put("a", "1", if_absent=True)
        batch.delete("b")
    batch.results[0].version
    """

    def __init__(self, store: "MaphStore", sync: Optional[str]) -> None:
        self._store = store
        self._sync = sync
        self._operations: List[Dict[str, Any]] = []
        self.results: List[Result] = []

    def __len__(self) -> int:
        return len(self._operations)

    def get(self, key: Key) -> "Batch":
        """Read a key, as the operations before leave it: the entry of its result.  It can be called
        on the batch that is returned, as put and delete can."""
        self._operations.append(operation("get", key))
        return self

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
    ) -> "Batch":
        """Store a value; all as in MaphStore.put."""
        self._operations.append(
            put_operation(
                key,
                value,
                ttl=ttl,
                expires_at=expires_at,
                type=type,
                content_type=content_type,
                media_type=media_type,
                if_version=if_version,
                if_absent=if_absent,
                if_present=if_present,
            )
        )
        return self

    def delete(
        self, key: Key, *, if_version: Optional[int] = None, if_present: bool = False
    ) -> "Batch":
        """Remove a key; the status of its result is 404 where there is none.  if_version,
        if_present: else PreconditionFailedError."""
        self._operations.append(
            operation("delete", key, if_version=if_version, if_present=if_present)
        )
        return self

    def commit(self) -> List[Result]:
        """Send them: a result for each, in order.  PreconditionFailedError when a condition did not
        hold, and then nothing was written.
        After an exception the operations are there as before: another commit() tries again."""
        operations, self._operations = self._operations, []
        try:
            self.results = self._store._run(operations, self._sync) if operations else []
        except BaseException:
            self._operations = operations + self._operations
            raise
        return self.results

    def __enter__(self) -> "Batch":
        return self

    def __exit__(self, kind: Optional[type], *_: object) -> None:
        if kind is None:
            self.commit()


def run(store: "MaphStore", operations: List[Dict[str, Any]], sync: Optional[str]) -> List[Result]:
    """One request."""
    body = json.dumps({"operations": operations}, ensure_ascii=False).encode("utf-8")
    repeatable = all(one["op"] == "get" for one in operations)
    answer = store._request(
        "POST",
        "/batch",
        query={"sync": sync},
        headers={"Content-Type": "application/json"},
        body=body,
        repeatable=repeatable,
    )
    return [result(one, answer.request) for one in answer.json()["results"]]


def size(member: Dict[str, Any]) -> int:
    """About how many bytes an operation takes in a request."""
    return 64 + len(member["key"]) + len(member.get("value", ""))


def pieces(operations: List[Dict[str, Any]]) -> "List[List[Dict[str, Any]]]":
    """Operations that need not be one transaction, in requests of a moderate size."""
    all_pieces: List[List[Dict[str, Any]]] = []
    bytes_left = 0
    for one in operations:
        needed = size(one)
        if needed > bytes_left or len(all_pieces[-1]) == OPERATIONS_MAX:
            all_pieces.append([])
            bytes_left = BYTES_MAX
        all_pieces[-1].append(one)
        bytes_left -= needed
    return all_pieces
