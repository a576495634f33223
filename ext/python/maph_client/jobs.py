"""Work that outlives its request: compact, optimize, backup and check run on the server, which
tells how far they are."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, Mapping, Optional

from .connection import Transport
from .errors import JobFailedError

Progress = Callable[["Job"], None]
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5


class Job:
    """A job as it was when last asked about: `state` is running, done, failed or cancelled; `info`
    is all that the server says."""

    def __init__(self, transport: Transport, info: Mapping[str, Any]) -> None:
        self._transport = transport
        self.info: Dict[str, Any] = dict(info)

    def __repr__(self) -> str:
        return f"<maph job {self.id} {self.info.get('kind', '')}: {self.state}>"

    @property
    def id(self) -> str:
        return str(self.info.get("id", ""))

    @property
    def state(self) -> str:
        return str(self.info.get("state", "done"))

    def refresh(self) -> "Job":
        self.info = self._transport.request("GET", f"/jobs/{self.id}", repeatable=True).json()
        return self

    def cancel(self) -> None:
        """Ask the server to stop it, which leaves everything as it was, and what a deletion has
        not come to; wait() then raises JobFailedError."""
        self._transport.request("DELETE", f"/jobs/{self.id}")

    def wait(self, progress: Optional[Progress] = None) -> Dict[str, Any]:
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
                problem=self.info,
            )
        return self.info


def start(transport: Transport, method: str, path: str, options: Mapping[str, Any]) -> Job:
    """Begin what the request asks for."""
    return Job(transport, transport.request(method, path, query=options).json())
