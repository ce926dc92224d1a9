"""Whether a description can be shown as what it is declared to be.

Owns the port. Leaves which texts have to be judged, and what follows, to `core.checks.description`, and rendering to
`store.description_process`.
"""

from __future__ import annotations

from typing import Protocol


class Descriptions(Protocol):
    """Judges descriptions in reStructuredText.

    Guarantees: the text is hostile, and neither time nor memory of the server depend on what it says; a text that was
    judged lately is not rendered again.
    """

    async def renders(self, text: str) -> bool | None:
        """Whether `text` is valid; None when that could not be found out within bounds. Never raises."""

    async def close(self) -> None:
        """Release everything."""
