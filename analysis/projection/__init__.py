"""The joint query-key map: one method a file, all behind one registry.

To add a method, add a file here with::

    @projection("name", dims=(2, 3), description="one sentence")
    def name(problem, dims, seed, **parameters) -> Layout: ...

It then shows up in the command line, the page and the contract tests with no other edit. Heavy libraries
(numba, scikit-learn, umap) are imported inside the functions that need them; compiled kernels live in
`analysis.projection.kernels`, which the registry does not load.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis.errors import UserError
from analysis.projection.problem import HeadProblem, Layout
from analysis.registry import Registry

__all__ = ["PROJECTIONS", "HeadProblem", "Layout", "Projection", "projection"]


@dataclass(frozen=True)
class Projection:
    """A registered method.

    Attributes:
        function: ``(problem, dims, seed, **parameters) -> Layout``.
        name: The name in the registry.
        dims: The numbers of dimensions it can draw.
        description: One sentence for help texts.
        concurrent: Several heads may be fitted at once, in threads.
        neighbours_only: It never looks at the attention, so its map is the same for every target.
        settle: ``(problem, layout, seed) -> Layout``: a last touch where points were placed beside a fitted sample.
        constants: What it runs with under a target, where the signature does not say it.
    """

    function: Callable[..., Layout]
    name: str
    dims: tuple[int, ...] = (2, 3)
    description: str = ""
    concurrent: bool = True
    neighbours_only: bool = False
    settle: Callable[..., Layout] | None = None
    constants: Callable[[str], dict[str, Any]] | None = None

    @property
    def can_be_aligned(self) -> bool:
        """It takes ``towards``, the map of a neighbouring head to start near."""
        return "towards" in inspect.signature(self.function).parameters

    def parameters(self, target: str = "attention") -> dict[str, Any]:
        """Everything the method runs with when nothing is changed, as plain values, to be stored with the map."""
        arguments = inspect.signature(self.function).parameters.values()
        defaults = {a.name: a.default for a in arguments if isinstance(a.default, int | float | str | bool)}
        return {**defaults, **(self.constants(target) if self.constants else {})}

    def __call__(self, problem: HeadProblem, dims: int = 2, seed: int = 0, **parameters: Any) -> Layout:
        """Lay out one head.

        Args:
            problem: Vectors and attention of the head.
            dims: 2 or 3.
            seed: The same seed gives the same map, bit for bit.
            **parameters: What the method understands; see its docstring.

        Raises:
            UserError: `dims` is not one of the method's.
        """
        if dims not in self.dims:
            known = " or ".join(str(number) for number in self.dims)
            raise UserError(f"The map {self.name!r} has {known} dimensions, not {dims}; choose --dims {known}.")
        return self.function(problem, dims, seed, **parameters)


PROJECTIONS: Registry[Projection] = Registry("projection", "analysis.projection")
projection = PROJECTIONS.registering(Projection)
