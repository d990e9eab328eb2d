"""What checks the shapes and types of arrays that functions declare, while tests run.

pytest's option `--jaxtyping-packages` names it, see pyproject.toml.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked at each call if it declares an array.

    Others are mypy's: beartype refuses `Self` in a method whose class it does not see whole.
    """
    is_of_arrays = "jaxtyping" in repr(getattr(function, "__annotations__", ""))
    return beartype(function) if is_of_arrays else function
