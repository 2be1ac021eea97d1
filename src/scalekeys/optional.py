"""Optional dependencies: imported when asked for, with one sentence when missing."""

from importlib import import_module
from types import ModuleType

from scalekeys.errors import CheckpointError, MissingExtraError


def require(module: str, *, extra: str, package: str | None = None) -> ModuleType:
    """Import an optional module.

    `module`: name of the module.
    `package`: what a user lacks without the extra; by default the package of the module.
    `extra`: the extra of scalekeys that brings it.
    Raises MissingExtraError if it is not installed; CheckpointError if it is installed and does not load.

    >>> require("no_such_module", extra="timm")
    Traceback (most recent call last):
        ...
    scalekeys.errors.MissingExtraError: no_such_module is not installed; pip install 'scalekeys[timm]' brings it
    """
    package = package or module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == package:
            raise MissingExtraError(f"{package} is not installed; pip install 'scalekeys[{extra}]' brings it") from None
        raise CheckpointError(f"{package} is installed but needs {error.name}, which is not; install that") from error
    except Exception as error:
        raise CheckpointError(
            f"{package} is installed but does not load ({first_line(error)}); "
            f"check that its versions fit together, or give a file of weights instead"
        ) from error


def in_short(error: BaseException) -> str:
    r"""Return the kind of an error of another library, and the first line of what it says.

    >>> in_short(ValueError("bad size\nsee the manual"))
    'ValueError: bad size'
    """
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"


def first_line(error: object) -> str:
    r"""Return the first line of what an error of another library says, or its kind if it says nothing.

    >>> first_line(ValueError("bad size\nsee the manual")), first_line(MemoryError())
    ('bad size', 'MemoryError')
    """
    return str(error).strip().partition("\n")[0] or type(error).__name__
