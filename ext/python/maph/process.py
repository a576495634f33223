"""What stays in the process that made it: pickled or copied, it says what to do instead."""

from __future__ import annotations

from typing import NoReturn


class InProcess:
    """A store, or what is open of one: memory and locks of this process.  TypeError where it is
    pickled or copied."""

    __slots__ = ()

    def _elsewhere(self) -> str:
        """What gives another process its own."""
        gate = getattr(self, "_gate", None)
        place = repr(gate._path) if gate is not None else "path"
        return f"pass the store's path, and maph.open({place}) there"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} belongs to the process that made it, and cannot be pickled "
            f"or copied: {self._elsewhere()}"
        )
