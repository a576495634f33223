"""The change feed: server-sent events, taken up again where they broke off.

Each event is one put or delete; the last of a transaction carries an event id, its version, and the
feed resumes after the last id it saw.  So a connection that ends in the middle of a transaction
brings that transaction again: every change comes at least once, in commit order, and none is left
out.
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass
from typing import Any, Callable, Dict, Generator, Iterator, List, Optional

from .connection import Transport
from .entry import Entry, Key, Value, as_bytes, whole
from .errors import BusyError, ConnectionLostError, MaphError, ServerError, from_problem
from .process import InProcess

SILENCE = 60.0  # seconds without a byte; the server's heartbeat comes more often
PAUSE, LONGEST_PAUSE = 0.5, 30.0


@dataclass(frozen=True)
class Change:
    """One put or delete, with the version of its transaction."""

    key: Key
    value: Optional[
        Value
    ]  #: None: a delete, a value too large for the feed, or none were asked for
    version: int
    deleted: bool
    last: bool  #: the last of its transaction
    entry: Entry


class Event:
    """One server-sent event."""

    __slots__ = ("name", "data", "id")

    def __init__(self, name: str, data: str, event_id: Optional[str]) -> None:
        self.name = name
        self.data = data
        self.id = event_id


def events(lines: Iterator[bytes], on_retry: Callable[[int], None]) -> Iterator[Event]:
    """Parse a stream of server-sent events (HTML, section 9.2) from its lines, which may end in CR.
     An unfinished event is dropped."""
    name, data, event_id = "", [], None  # type: str, List[str], Optional[str]
    for raw in lines:
        line = raw.rstrip(b"\r").decode("utf-8", "replace")
        if not line:
            if data or event_id is not None:
                yield Event(name or "message", "\n".join(data), event_id)
            name, data, event_id = "", [], None
            continue
        label, _, text = line.partition(":")
        text = text[1:] if text.startswith(" ") else text
        if label == "data":
            data.append(text)
        elif label == "event":
            name = text
        elif label == "id" and "\0" not in text:
            event_id = text
        elif label == "retry" and text.isdigit():
            on_retry(int(text))


class Changes(InProcess):
    """An iterator of Change.  It waits for the next one, reconnects by itself, and ends when it is
    closed (from any thread).

        with store.changes(since=0) as changes:
            for change in changes:
                ...
        store.changes(since=changes.version)         # goes on later

    CompactedError: the changes asked for are no longer in the store's file; read all of it, then go
    on from its version.
    """

    def __init__(
        self,
        transport: Transport,
        path: str,
        since: int,
        prefix: Key,
        values: bool,
        reconnect: bool,
    ) -> None:
        self._transport = transport
        self._path = path
        self._query = {
            "prefix": as_bytes(prefix, "a prefix") or None,
            "values": 1 if values else None,
        }
        self._reconnect = reconnect
        self._closed = threading.Event()
        self._socket: Optional[socket.socket] = None
        self._pause = PAUSE
        #: since a connection last began; None: none began yet, and to fail then is an error
        self._failures: Optional[int] = None
        #: resume with this: the last transaction that came whole
        self.version = whole("since", since)
        self._iterator = self._run()

    def __iter__(self) -> Iterator[Change]:
        return self

    def __next__(self) -> Change:
        return next(self._iterator)

    def __enter__(self) -> "Changes":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the feed, also while another thread waits for its next change."""
        self._closed.set()
        self._wake()
        try:
            self._iterator.close()
        except ValueError:
            pass  # another thread waits in it, and wakes now

    def _connected(self, sock: socket.socket) -> None:
        self._socket = sock
        if self._closed.is_set():
            self._wake()

    def _wake(self) -> None:
        """End what a thread waits for on the connection, be it the answer's head or more of it."""
        if (sock := self._socket) is not None:
            try:
                socket.socket.shutdown(
                    sock, socket.SHUT_RDWR
                )  # of TLS too the connection below: the thread is in the layer above
            except OSError:
                pass  # it has ended by itself

    def _set_retry(self, milliseconds: int) -> None:
        self._pause = min(milliseconds / 1000, LONGEST_PAUSE)

    def _run(self) -> Generator[Change, None, None]:
        while not self._closed.is_set():
            pause = self._pause
            try:
                yield from self._connection()
            except MaphError as error:
                if self._closed.is_set():
                    return
                if self._failures is None or not self._reconnect or not _passes(error):
                    raise
                pause = (
                    error.retry_after
                    if isinstance(error, BusyError)
                    else min(self._pause * 2**self._failures, LONGEST_PAUSE)
                )
                self._failures += 1
            if not self._reconnect or self._closed.wait(pause):
                return

    def _connection(self) -> Iterator[Change]:
        """The changes of one connection, to its end."""
        stream = self._transport.stream(
            "GET",
            self._path,
            "text/event-stream",
            query={"since": self.version, **self._query},
            timeout=SILENCE,
            connected=self._connected,
        )
        self._failures = 0
        try:
            for event in events(stream.lines(), self._set_retry):
                change = _change(event, stream.request)
                if change is not None:
                    yield change
                if event.id is not None and event.id.isdigit():
                    self.version = int(event.id)
        finally:
            self._socket = None
            stream.close()


def _passes(error: MaphError) -> bool:
    """Whether it may be well again soon: nobody answers, or a proxy says that nobody does."""
    return (
        isinstance(error, (ConnectionLostError, BusyError))
        or isinstance(error, ServerError)
        and error.status in (502, 504)
    )


def _change(event: Event, request: str) -> Optional[Change]:
    """None: an event that is not a change, such as one that only says how far the feed is."""
    if not event.data:
        return None
    member: Dict[str, Any] = json.loads(event.data)
    if event.name == "problem":
        raise from_problem(member, request, int(member.get("status", 500)), {})
    deleted = member.get("op") == "delete"
    if event.name != "message" or not deleted and member.get("op") != "put":
        return None
    entry = Entry.from_json(member)
    return Change(
        entry.key,
        entry.value if "value" in member else None,
        entry.version,
        deleted,
        member.get("last") is True,
        entry,
    )
