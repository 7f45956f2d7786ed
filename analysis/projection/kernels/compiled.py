"""The one numba decorator of the project: without the GIL, and cached on disk where that is possible."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile on first call, for use from several threads.

    ``fastmath`` lets sums be vectorised; the order of operations is fixed when compiling, so results stay
    bit-identical on one machine. The machine code is kept beside the source or in the user's cache; where neither
    can be written it is made anew in every process.
    """
    function = inspect.unwrap(function)  # without the shape checks that tests put round every function
    options = dict(nogil=True, fastmath=True, boundscheck=False, error_model="numpy")
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "cannot cache function": no writable place for it
        return numba.njit(**options)(function)
