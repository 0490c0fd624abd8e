"""Which encoding of a track a viewer is to get (WHEP extensions, section 4).

A stream lists the encodings of each kind by their rid, highest first; a track of one encoding has
no rid and one layer. A viewer's choice is kept in its session and checked here, before anything is
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class LayerError(Exception):
    """The layer that was asked for cannot be sent; the text says which there are."""


@dataclass(frozen=True, slots=True)
class LayerChoice:
    """``rid``: of the encoding; None leaves it to the server. Layers within an encoding (SVC) go
    to all viewers alike, so of ``spatial`` and ``temporal`` only 0 of a lone layer is known, and
    None, which is all of them."""

    rid: str | None = None
    spatial: int | None = None
    temporal: int | None = None

    def check(self, rids: Sequence[str]) -> None:
        """Raises :class:`LayerError` unless a track with these encodings has it."""
        if self.rid is not None and self.rid not in rids:
            known = ", ".join(rids) or "one layer without a rid"
            raise LayerError(f"There is no layer with rid {self.rid[:32]}; there is {known}.")
        if self.spatial not in (None, 0) or self.temporal not in (None, 0):
            raise LayerError("The stream's only spatialLayerId and temporalLayerId is 0.")


def rid_of(index: int | None, rids: Sequence[str]) -> str | None:
    """The name of the layer that a viewer gets; None while it gets none, and without simulcast."""
    return rids[index] if index is not None and index < len(rids) else None
