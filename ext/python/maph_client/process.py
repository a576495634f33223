"""What stays in the process that made it: pickled or copied, it says what to do instead."""

from __future__ import annotations

from typing import NoReturn


class InProcess:
    """Connections of this process, or what goes by them.  TypeError where it is pickled or
    copied: it may hold a token too."""

    __slots__ = ()

    def _elsewhere(self) -> str:
        """What gives another process its own."""
        return "make it there, from a MaphClient of that process"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} belongs to the process that made it, and cannot be pickled "
            f"or copied: {self._elsewhere()}"
        )
