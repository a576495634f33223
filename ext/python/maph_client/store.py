"""A store on a server, as a mutable mapping.

Iteration goes by pages, in the order of the keys' bytes: every key that stays is seen once,
whatever is written or rewritten meanwhile.  `export` is one snapshot instead.
"""

from __future__ import annotations

import json
from itertools import chain, islice
from typing import (
    Any,
    Callable,
    Dict,
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    List,
    Mapping,
    MutableMapping,
    Optional,
    Protocol,
    Tuple,
    TypeVar,
    Union,
    ValuesView,
    overload,
)
from urllib.parse import quote

from . import batch as batches
from . import jobs
from .changes import Changes
from .connection import Answer, Transport
from .entry import (
    Entry,
    Key,
    Value,
    as_bytes,
    as_key,
    as_value,
    conditions,
    content_type_of,
    key_bytes,
    member_bytes,
    one_name,
    whole,
    whole_seconds,
)
from .errors import ImportFailedError, KeyNotFoundError, PreconditionFailedError
from .process import InProcess
from .stats import StoreStats

K = TypeVar("K", bound=Key)
V = TypeVar("V", bound=Value, covariant=True)
T = TypeVar("T")
NOTHING = object()  # no default was given
LONGEST_PATH = 32768  # a request line has to fit; keys beyond that travel in a batch
PAGE, SOME = 1000, 10
IMPORT_PIECE = 65536
NDJSON = "application/x-ndjson"
Importable = Union[Entry, Tuple[Key, Value], Mapping[str, object]]


class Pairs(Protocol[K, V]):
    """What dict.update takes beside an iterable of pairs: a mapping, or what is enough of one."""

    def keys(self) -> Iterable[K]: ...

    def __getitem__(self, key: K, /) -> V: ...


class PutResult:
    """What a put did: the `version` it wrote, and whether the key was `created` or replaced."""

    __slots__ = ("version", "created")

    def __init__(self, version: int, created: bool) -> None:
        self.version = version
        self.created = created

    @property
    def existed(self) -> bool:
        """The key was there before: not created."""
        return not self.created

    def __repr__(self) -> str:
        return f"PutResult(version={self.version}, created={self.created})"


class MaphStore(InProcess, MutableMapping[Key, Value]):
    """One store.  MaphClient makes it; any number of threads may use it."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._path = store_path(name)
        self.name = name

    def _elsewhere(self) -> str:
        return f"make it there: MaphClient({self._transport.url!r}).store({self.name!r})"

    def __repr__(self) -> str:
        return f"<maph store {self.name!r} at {self._transport.url}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaphStore) and (self._transport.url, self.name) == (
            other._transport.url,
            other.name,
        )

    def __hash__(self) -> int:
        return hash((self._transport.url, self.name))

    def __bool__(self) -> bool:
        return True

    def _request(self, method: str, path: str, **more: Any) -> Answer:
        return self._transport.request(method, self._path + path, **more)

    def _run(
        self, operations: List[Dict[str, Any]], sync: Optional[str] = None
    ) -> List[batches.Result]:
        return batches.run(self, operations, sync)

    # -------------------------------------------------------------------------------------- one key
    def entry(self, key: Key) -> Entry:
        """The value with its version, type, media type and expiry.  KeyNotFoundError."""
        path = _key_path(key)
        if path is None:
            return self._get_long(key)
        answer = self._request("GET", path, repeatable=True)
        headers = answer.headers
        kind, media = headers.get("Maph-Type", ""), headers.get("Content-Type", "")
        expires = headers.get("Maph-Expires-At")
        return Entry(
            key=key,
            value=as_value(answer.body, kind, media),
            version=answer.version,
            type=kind,
            media_type=media,
            expires_at=int(expires) if expires else None,
        )

    def _get_long(self, key: Key) -> Entry:
        entry = self._run([batches.operation("get", key)])[0].entry
        if entry is None:
            raise KeyNotFoundError(
                f"there is no such key in {self.name}", status=404, code="key_not_found"
            )
        return entry

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
        sync: Optional[str] = None,
    ) -> PutResult:
        """Store a value.  ttl: seconds to live, which the server counts whole: rounded up.
        expires_at: milliseconds since 1970.  type: blob, text, json, integer, real or null, what
        SQL shall take it for; None: what content_type and value say.  content_type: what HTTP
        answers as such; media_type is its other name.
        if_version, if_absent, if_present: else PreconditionFailedError, and nothing is written.
        sync: off, normal or full (on disk before this returns); None: as the server was told.
        With expires_at or type it goes as a batch of one, with the limits of a batch."""
        path = _key_path(key)
        if path is None or expires_at is not None or type is not None:
            one = self._run(
                [
                    batches.put_operation(
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
                ],
                sync,
            )[0]
            return PutResult(one.version or 0, one.status == 201)
        raw = as_bytes(value)
        headers = _conditions(if_version, if_absent, if_present)
        kind = one_name(content_type, media_type) or content_type_of(value)
        if kind:
            headers["Content-Type"] = kind
        answer = self._request(
            "PUT",
            path,
            query={"ttl": whole_seconds(ttl), "sync": sync},
            headers=headers,
            body=raw,
        )
        return PutResult(answer.version, answer.status == 201)

    def increment(
        self, key: Key, by: int = 1, *, ttl: Optional[float] = None, sync: Optional[str] = None
    ) -> int:
        """Add to the whole number of 64 bits that the value spells, and return the sum; of any
        number of clients that count at once none is lost.  A missing key counts from 0.  The
        expiry stays without a ttl.  BadRequestError (not_a_number, overflow): the value is no such
        number, or the sum would be none.  It is never sent twice: after ConnectionLostError it may
        have counted or not."""
        answer = self._request(
            "POST",
            _short_path(key, "increment") + "/increment",
            query={"by": whole("by", by, -(1 << 63)), "ttl": whole_seconds(ttl), "sync": sync},
        )
        total = answer.json()["value"]
        return int(total)

    def merge(
        self, key: Key, patch: object, *, ttl: Optional[float] = None, sync: Optional[str] = None
    ) -> PutResult:
        """Change members of a JSON value by a merge patch (RFC 7396), given as what json.dumps()
        takes: None takes a member away.  A missing key is made.  BadRequestError (not_json): the
        value is no JSON."""
        answer = self._request(
            "PATCH",
            _short_path(key, "merge"),
            query={"ttl": whole_seconds(ttl), "sync": sync},
            headers={"Content-Type": "application/merge-patch+json"},
            body=json.dumps(patch, allow_nan=False).encode(),
        )
        return PutResult(answer.version, answer.status == 201)

    def delete(
        self, key: Key, *, if_version: Optional[int] = None, sync: Optional[str] = None
    ) -> None:
        """Remove a key.  KeyNotFoundError; with if_version PreconditionFailedError."""
        path = _key_path(key)
        if path is not None:
            self._request(
                "DELETE", path, query={"sync": sync}, headers=_conditions(if_version, False, False)
            ).expect(204)
        elif not self._run([batches.operation("delete", key, if_version=if_version)], sync)[
            0
        ].found:
            raise KeyNotFoundError(
                f"there is no such key in {self.name}", status=404, code="key_not_found"
            )

    def __getitem__(self, key: Key) -> Value:
        return self.entry(key).value

    def __setitem__(self, key: Key, value: Value) -> None:
        self.put(key, value)

    def __delitem__(self, key: Key) -> None:
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        if isinstance(key, (bytearray, memoryview)):
            key = bytes(key)
        if not isinstance(key, (str, bytes)):
            return False
        path = _key_path(key)
        try:
            if path is None:
                self._get_long(key)
            # 304 when it is there, and unlike HEAD it says which is missing, the key or the store
            else:
                self._request("GET", path, headers={"If-None-Match": "*"}, repeatable=True).expect(
                    304
                )
        except KeyNotFoundError:
            return False
        return True

    @overload
    def pop(self, key: Key) -> Value: ...

    @overload
    def pop(self, key: Key, default: T) -> Union[Value, T]: ...

    def pop(self, key: Key, default: object = NOTHING) -> object:
        """Take a key out: of several that try at once, one gets the value."""
        while True:
            try:
                found = self.entry(key)
                self.delete(key, if_version=found.version)
                return found.value
            except KeyNotFoundError:
                if default is NOTHING:
                    raise
                return default
            except PreconditionFailedError:
                continue

    def popitem(self) -> Tuple[Key, Value]:
        """Take some entry out: of several that try at once, each gets another.  KeyError when there
        is none."""
        while members := self._page(False, SOME)["keys"]:
            for key in map(_member_key, members):
                try:
                    return key, self.pop(key)
                except KeyNotFoundError:
                    pass  # another was faster
        raise KeyError(f"the store {self.name} is empty")

    def setdefault(  # type: ignore[override]  # whose values may be None
        self, key: Key, default: Value = ""
    ) -> Value:
        """The value, after putting `default` when there was none."""
        while True:
            try:
                return self[key]
            except KeyNotFoundError:
                pass
            try:
                self.put(key, default, if_absent=True)
                return default
            except PreconditionFailedError:
                continue

    def modify(
        self,
        key: Key,
        change: Callable[[Optional[Value]], Value],
        *,
        ttl: Optional[float] = None,
        expires_at: Optional[int] = None,
        type: Optional[str] = None,
        content_type: Optional[str] = None,
        media_type: Optional[str] = None,
        sync: Optional[str] = None,
    ) -> PutResult:
        """Put change(value), value None when the key is missing, and call it again whenever
        somebody else wrote in between.  The rest is as in put."""
        options: Dict[str, Any] = {
            "ttl": ttl,
            "expires_at": expires_at,
            "type": type,
            "content_type": content_type,
            "media_type": media_type,
            "sync": sync,
        }
        while True:
            try:
                found: Optional[Entry] = self.entry(key)
            except KeyNotFoundError:
                found = None
            value = change(found.value if found else None)
            try:
                if found:
                    return self.put(key, value, if_version=found.version, **options)
                return self.put(key, value, if_absent=True, **options)
            except PreconditionFailedError:
                continue

    # ------------------------------------------------------------------------------------ many keys
    def batch(self, *, sync: Optional[str] = None) -> batches.Batch:
        """Operations that are one transaction: `with store.batch() as batch: ...`."""
        return batches.Batch(self, sync)

    def get_many(self, keys: Iterable[Key]) -> Dict[Key, Value]:
        """The values of those keys that are there; up to 10,000 keys are of one snapshot."""
        found: Dict[Key, Value] = {}
        source = iter(keys)
        while piece := list(islice(source, batches.OPERATIONS_MAX)):
            for key, one in zip(piece, self._run([batches.operation("get", key) for key in piece])):
                if one.entry is not None:
                    found[key] = one.entry.value
        return found

    def update(
        self,
        other: Union[Pairs[K, Value], Iterable[Tuple[Key, Value]]] = (),
        /,
        **more: Value,
    ) -> None:
        """Put many: a transaction for each few megabytes or 10,000 keys, not one for all (`batch`
        is that)."""
        source: Iterator[Tuple[Key, Value]] = chain(_pairs(other), more.items())
        while some := list(islice(source, PAGE)):
            for piece in batches.pieces(
                [
                    batches.put_operation(key, value)
                    for key, value in some
                    if not self._put_large(key, value)
                ]
            ):
                self._run(piece)

    def _put_large(self, key: Key, value: Value) -> bool:
        """What a batch should not carry goes by itself."""
        if (
            not isinstance(value, (str, bytes, bytearray, memoryview))
            or len(value) <= batches.BYTES_MAX
            or _key_path(key) is None
        ):
            return False
        self.put(key, value)
        return True

    def clear(self) -> None:
        """Delete every key there is, by transactions of up to a thousand."""
        while members := self._page(False, PAGE)["keys"]:
            self._run([batches.operation("delete", _member_key(member)) for member in members])

    def start_delete_range(
        self, prefix: Key = "", *, from_: Key = "", to: Key = "", sync: Optional[str] = None
    ) -> jobs.Job:
        """Begin to delete the entries whose keys are bounded as in scan, and do not wait for it.
        Of the job, info["deleted"] is how many are gone.  ValueError without any bound: clear()
        deletes every key."""
        query = _bounds(prefix, from_, to)
        if not any(query.values()):
            raise ValueError("prefix, from_ or to says which keys; clear() deletes every key")
        query["sync"] = sync
        return jobs.start(self._transport, "DELETE", f"{self._path}/keys", query)

    def delete_range(
        self,
        prefix: Key = "",
        *,
        from_: Key = "",
        to: Key = "",
        sync: Optional[str] = None,
        progress: Optional[jobs.Progress] = None,
    ) -> int:
        """Delete the entries that are there now and whose keys are bounded as in scan, by
        transactions of a thousand.  How many.  JobFailedError when it was stopped on the way: the
        same again deletes the rest."""
        job = self.start_delete_range(prefix, from_=from_, to=to, sync=sync)
        return int(job.wait(progress)["deleted"])

    # ------------------------------------------------------------------------------------ iteration
    def __len__(self) -> int:
        """Live keys; expired ones count until something overwrites or sweeps them."""
        return self.stats().size

    def __iter__(self) -> Iterator[Key]:
        return (_member_key(member) for member in self._members("", False))

    def scan(
        self, prefix: Key = "", *, from_: Key = "", to: Key = "", reverse: bool = False
    ) -> Iterator[Entry]:
        """Entries whose key begins with prefix, in the order of the keys' bytes, page by page:
        from the key from_ on, before the key to, or with reverse the other way round."""
        for member in self._members(prefix, True, from_, to, reverse):
            if not member.get("value_omitted"):
                yield Entry.from_json(member)
                continue
            try:
                yield self.entry(_member_key(member))
            except KeyNotFoundError:
                pass

    def scan_keys(
        self, prefix: Key = "", *, from_: Key = "", to: Key = "", reverse: bool = False
    ) -> Iterator[Key]:
        """The keys that begin with prefix, bounded and ordered as in scan."""
        members = self._members(prefix, False, from_, to, reverse)
        return (_member_key(member) for member in members)

    def keys(self) -> KeysView[Key]:
        """The keys, in the order of their bytes: a view, as of any mapping."""
        return _Keys(self)

    def items(self) -> ItemsView[Key, Value]:
        """Keys with their values, in the order of the keys' bytes: a view, as of any mapping."""
        return _Items(self)

    def values(self) -> ValuesView[Value]:
        """The values, in the order of their keys' bytes: a view, as of any mapping."""
        return _Values(self)

    def _page(self, values: bool, limit: int, **query: Any) -> Dict[str, Any]:
        query.update(limit=limit, values=1 if values else None)
        page: Dict[str, Any] = self._request("GET", "/keys", query=query, repeatable=True).json()
        return page

    def _members(
        self, prefix: Key, values: bool, from_: Key = "", to: Key = "", reverse: bool = False
    ) -> Iterator[Dict[str, Any]]:
        query = _bounds(prefix, from_, to)
        query["reverse"] = 1 if reverse else None
        after: Optional[str] = None
        while True:
            page = self._page(values, PAGE, after=after, **query)
            yield from page["keys"]
            after = page["next"]
            if after is None:
                return

    # ---------------------------------------------------------------------- export, import, changes
    def export_lines(
        self,
        prefix: Key = "",
        *,
        sorted: bool = False,
        from_: Key = "",
        to: Key = "",
        reverse: bool = False,
    ) -> Iterator[bytes]:
        """The entries of one snapshot as lines of JSON, without their newline: to write into a
        file.  In the order of the keys' bytes where they are sorted, reversed or a part, bounded
        as in scan; else as they lie in the file, which is the fastest."""
        query = _bounds(prefix, from_, to)
        query["sorted"] = 1 if sorted else None
        query["reverse"] = 1 if reverse else None
        stream = self._transport.stream("GET", self._path + "/export", NDJSON, query=query)
        ended = False
        try:
            yield from stream.lines()
            ended = True
        finally:
            if not ended:
                stream.close()

    def export(
        self,
        prefix: Key = "",
        *,
        sorted: bool = False,
        from_: Key = "",
        to: Key = "",
        reverse: bool = False,
    ) -> Iterator[Entry]:
        """The entries of one snapshot, each exactly once, streamed, in the order of
        export_lines."""
        lines = self.export_lines(prefix, sorted=sorted, from_=from_, to=to, reverse=reverse)
        return (Entry.from_json(json.loads(line)) for line in lines)

    def import_lines(self, lines: Iterable[bytes], *, sync: Optional[str] = None) -> int:
        """Put what export_lines gave (a file opened in binary mode will do), streamed.  How many
        were put; ImportFailedError when some were refused."""
        answer = self._request(
            "POST",
            "/import",
            query={"sync": sync},
            headers={"Content-Type": NDJSON},
            body=_joined(lines),
        )
        summary = answer.json()
        if summary["failed"]:
            first = summary["errors"][0]
            raise ImportFailedError(
                f"{summary['failed']} lines refused, {summary['imported']} imported; line "
                f"{first['line']}: {first['detail']}",
                request=answer.request,
                code=first["code"],
                problem=summary,
            )
        return int(summary["imported"])

    def import_entries(self, entries: Iterable[Importable], *, sync: Optional[str] = None) -> int:
        """Put entries, (key, value) pairs or objects as JSON has them, streamed: by transactions of
        about a thousand, not one for all."""
        return self.import_lines(map(_line, entries), sync=sync)

    def changes(
        self,
        since: Optional[int] = None,
        *,
        prefix: Key = "",
        values: bool = True,
        reconnect: bool = True,
    ) -> Changes:
        """Puts and deletes as they are committed, after version `since`; None: from now on; 0: from
        the store's creation.  See Changes."""
        return Changes(
            self._transport,
            self._path + "/changes",
            self.stats().version if since is None else since,
            prefix,
            values,
            reconnect,
        )

    # ------------------------------------------------------------------------------------ the store
    def stats(self) -> StoreStats:
        """Its figures.  StoreNotFoundError."""
        return StoreStats.from_json(self._request("GET", "/stats", repeatable=True).json())

    def sync(self) -> None:
        """Everything written so far is on disk when this returns."""
        self._request("POST", "/sync").json()

    def start(self, what: str, **options: object) -> jobs.Job:
        """Begin optimize, compact, backup or check, and do not wait for it."""
        return jobs.start(self._transport, "POST", f"{self._path}/{what}", options)

    def optimize(self, progress: Optional[jobs.Progress] = None) -> jobs.JobInfo:
        """Freeze a perfect hash over all keys: faster reads, a smaller index.  The store stays
        writable.  What the server did."""
        return self.start("optimize").wait(progress)

    def compact(self, progress: Optional[jobs.Progress] = None) -> jobs.JobInfo:
        """Give back the room of what was overwritten and deleted."""
        return self.start("compact").wait(progress)

    def backup(
        self, name: Optional[str] = None, progress: Optional[jobs.Progress] = None
    ) -> jobs.JobInfo:
        """A compact, verified copy in the server's folder for backups; the answer's "file" is its
        name.  StoreExistsError."""
        return self.start("backup", name=name).wait(progress)

    def check(self, progress: Optional[jobs.Progress] = None) -> jobs.JobInfo:
        """Walk the whole file: {"success", "problems", "report", ...}."""
        return self.start("check").wait(progress)


class _Keys(KeysView[Key]):
    """As any keys view; __contains__ and __iter__ are the store's."""


class _Items(ItemsView[Key, Value]):
    _mapping: MaphStore

    def __iter__(self) -> Iterator[Tuple[Key, Value]]:
        return ((entry.key, entry.value) for entry in self._mapping.scan())


class _Values(ValuesView[Value]):
    _mapping: MaphStore

    def __iter__(self) -> Iterator[Value]:
        return (entry.value for entry in self._mapping.scan())

    def __contains__(self, value: object) -> bool:
        return any(value == one for one in self)


def _pairs(other: Any) -> Iterable[Tuple[Key, Value]]:
    """As dict.update takes them."""
    pairs: Iterable[Tuple[Key, Value]] = other
    if isinstance(other, Mapping):
        pairs = other.items()
    elif hasattr(other, "keys"):
        pairs = ((key, other[key]) for key in other.keys())
    return pairs


def store_path(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a store's name is a str, not {type(name).__name__}")
    return "/stores/" + quote(name, safe="")


def _bounds(prefix: Key, from_: Key, to: Key) -> Dict[str, Any]:
    """The query for a range of keys."""
    bounds = {"prefix": prefix, "from": from_, "to": to}
    return {
        name: None if key is None else as_bytes(key, f"the bound {name}") or None
        for name, key in bounds.items()
    }


def _key_path(key: Key) -> Optional[str]:
    """None: too long for a request line."""
    path = "/keys/" + quote(key_bytes(key), safe="")
    return path if len(path) <= LONGEST_PATH else None


def _short_path(key: Key, call: str) -> str:
    path = _key_path(key)
    if path is None:
        raise ValueError(f"the key is too long for {call}(), whose URL has it: use modify()")
    return path


def _conditions(if_version: Optional[int], if_absent: bool, if_present: bool) -> Dict[str, str]:
    conditions(if_version, if_absent, if_present)
    if if_version is not None:
        return {"If-Match": f'"{int(if_version)}"'}
    return {"If-None-Match": "*"} if if_absent else {"If-Match": "*"} if if_present else {}


def _member_key(member: Mapping[str, Any]) -> Key:
    return as_key(member_bytes(member, "key", "key_encoding"))


def _line(one: Importable) -> bytes:
    if isinstance(one, Entry):
        return one.to_line()
    if isinstance(one, Mapping):
        return json.dumps(dict(one), ensure_ascii=False).encode("utf-8")
    if not isinstance(one, (tuple, list)) or len(one) != 2:
        raise TypeError(
            "what is imported is an Entry, a pair of key and value, or an object as JSON has it, "
            f"not {type(one).__name__}"
        )
    key, value = one
    return Entry(
        key, value, media_type="" if isinstance(value, bytes) else content_type_of(value) or ""
    ).to_line()


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces worth a write each."""
    piece = bytearray()
    for line in lines:
        if isinstance(line, str):
            raise TypeError("a line is bytes, not str: open its file in binary mode")
        piece += line
        if not line.endswith(b"\n"):
            piece += b"\n"
        if len(piece) >= IMPORT_PIECE:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
