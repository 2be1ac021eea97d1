"""The tolerances of the test suite, by dtype, in one table, and the dtypes and devices that tests run on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """How far a result may be from the truth.

    ``relative`` is held by single numbers that come without cancellation, whatever their size; ``absolute`` by numbers
    of order 1 and below that may come with it.
    """

    relative: float
    absolute: float


TOLERANCES = {
    torch.float32: Tolerance(relative=1e-6, absolute=5e-7),
    torch.float64: Tolerance(relative=1e-12, absolute=1e-14),
}
PUBLISHED_4_DECIMALS = 5.1e-5
"""Half a unit in the last of four printed decimals, and a little for its rounding."""

DTYPES = tuple(TOLERANCES)
DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def assert_close(actual: Tensor, expected: Tensor | np.ndarray, *, absolute: float | None = None) -> None:
    """Compare with the tolerances of the dtype of `actual`; `expected` is brought to that dtype and device."""
    tolerance = TOLERANCES[actual.dtype]
    torch.testing.assert_close(
        actual,
        torch.as_tensor(expected).to(actual),
        rtol=tolerance.relative,
        atol=tolerance.absolute if absolute is None else absolute,
        equal_nan=True,
    )
