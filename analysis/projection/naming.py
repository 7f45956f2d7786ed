"""What a map is called: method, dimensions, target and alignment in one name, as in ``atlas-3d-without-sinks``."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.errors import UserError
from analysis.projection import PROJECTIONS


@dataclass(frozen=True)
class MapKind:
    """Which map of a run is meant.

    Attributes:
        method: A name in `PROJECTIONS`.
        dims: 2 or 3.
        target: ``attention``, or ``without_sinks``.
        aligned: Each head starts towards the head before it; see `analysis.projection.fit.fit_heads`.
    """

    method: str
    dims: int = 2
    target: str = "attention"
    aligned: bool = False

    @property
    def name(self) -> str:
        """``atlas-2d``, ``atlas-3d-without-sinks-aligned``."""
        endings = ["without-sinks"] * (self.target == "without_sinks") + ["aligned"] * self.aligned
        return "-".join([self.method, f"{self.dims}d", *endings])

    @classmethod
    def parse(cls, text: str) -> MapKind:
        """The map of a name; what the name leaves out is as in the attributes' defaults.

        Args:
            text: ``METHOD[-2d|-3d][-without-sinks][-aligned]``, the endings in this order.

        Raises:
            UnknownName: No such method.
            UserError: A method that cannot be aligned.
        """
        rest, aligned = _without(text, "-aligned")
        rest, apart = _without(rest, "-without-sinks")
        rest, deep = _without(rest, "-3d")
        rest, _ = _without(rest, "-2d") if not deep else (rest, False)
        kind = cls(rest, 3 if deep else 2, "without_sinks" if apart else "attention", aligned)
        kind.check()
        return kind

    def check(self) -> None:
        """Raise where there is no such method, or where it cannot be aligned."""
        if self.aligned and not PROJECTIONS[self.method].can_be_aligned:
            able = ", ".join(name for name in PROJECTIONS if PROJECTIONS[name].can_be_aligned)
            raise UserError(f"The map {self.method!r} cannot be aligned; these can: {able}.")
        PROJECTIONS[self.method]


def _without(text: str, ending: str) -> tuple[str, bool]:
    return text.removesuffix(ending), text.endswith(ending)
