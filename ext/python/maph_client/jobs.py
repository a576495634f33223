"""Work that outlives its request: compact, optimize, backup and check run on the server, which
tells how far they are."""

from __future__ import annotations

import time
from typing import Callable, List, Mapping, Optional, TypedDict, cast

from .connection import Transport
from .errors import JobFailedError
from .process import InProcess

Progress = Callable[["Job"], object]
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5


class Rewrite(TypedDict, total=False):
    """What compact, optimize or backup did, a dict: `result` of a job."""

    bytes_before: int
    bytes_after: int
    records: int
    swept: int  #: expired entries deleted first
    caught_up: int  #: transactions that came meanwhile
    frozen_keys: int
    perfect_hash: str  #: none, pilot or cmph
    direct: bool
    perfect_bits: float
    took_ns: int
    pause_ns: int  #: how long writers were locked out
    memory_bytes: int
    note: str
    note_encoding: str  #: base64: the member before it is


class Problem(TypedDict, total=False):
    """What a check found, a dict: its place in the file, and a sentence."""

    offset: int
    sentence: str
    sentence_encoding: str


class JobInfo(TypedDict, total=False):
    """All that the server says of a job, a dict."""

    id: str
    kind: str  #: check, compact, optimize, backup or delete
    store: str
    state: str  #: running, done, failed or cancelled
    started_at: int  #: milliseconds since 1970
    finished_at: int
    phase: str
    done: int
    total: int
    file: str  #: the backup
    success: bool
    code: str
    detail: str
    detail_encoding: str
    deleted: int  #: of a deletion: how many entries are gone
    last_key: str  #: of a deletion: the last key it came to
    last_key_encoding: str
    problems: int
    report: List[Problem]
    result: Rewrite


class Job(InProcess):
    """A job as it was when last asked about: `state` is running, done, failed or cancelled; `info`
    is all that the server says."""

    def __init__(self, transport: Transport, info: Mapping[str, object]) -> None:
        self._transport = transport
        self.info = cast(JobInfo, dict(info))

    def _elsewhere(self) -> str:
        return f"MaphClient({self._transport.url!r}).jobs() there has it"

    def __repr__(self) -> str:
        return f"<maph job {self.id} {self.info.get('kind', '')}: {self.state}>"

    @property
    def id(self) -> str:
        """What the server calls it."""
        return str(self.info.get("id", ""))

    @property
    def state(self) -> str:
        """running, done, failed or cancelled: as of the last refresh()."""
        return str(self.info.get("state", "done"))

    def refresh(self) -> "Job":
        """Ask the server how far it is.  JobNotFoundError."""
        self.info = self._transport.request("GET", f"/jobs/{self.id}", repeatable=True).json()
        return self

    def cancel(self) -> None:
        """Ask the server to stop it, which leaves everything as it was, and what a deletion has
        not come to; wait() then raises JobFailedError."""
        self._transport.request("DELETE", f"/jobs/{self.id}")

    def wait(self, progress: Optional[Progress] = None) -> JobInfo:
        """Until it ended: what the server says of it.  JobFailedError when it failed; an exception
        of `progress` ends the wait alone."""
        pause = FIRST_PAUSE
        while self.state == "running":
            if progress:
                progress(self)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            self.refresh()
        if self.state != "done":
            raise JobFailedError(
                str(self.info.get("detail") or self.state),
                request=f"job {self.id} at {self._transport.url}",
                code=str(self.info.get("code", "")),
                problem=cast(Mapping[str, object], self.info),
            )
        return self.info


def start(transport: Transport, method: str, path: str, options: Mapping[str, object]) -> Job:
    """Begin what the request asks for."""
    return Job(transport, transport.request(method, path, query=options).json())
