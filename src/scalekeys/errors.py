"""One base class for everything a user can do wrong, and a handful of leaves.

Every message says what was given, what is allowed and what to do. The command line prints it as one line and exits
with status 1; a library user catches :class:`ScaleKeysError`.
"""


class ScaleKeysError(Exception):
    """Base class of every error that scalekeys raises on purpose."""


class CheckpointError(ScaleKeysError):
    """A source of weights is missing, damaged, unsafe or holds no depthwise filters."""


class FilterError(ScaleKeysError, ValueError):
    """Filters have a shape, a type or a value that the operation cannot use."""


class DataError(ScaleKeysError):
    """Images or their labels are missing, damaged, or not those of the network."""


class ModelError(ScaleKeysError, ValueError):
    """A fit was asked for with a model, criterion or option that does not exist or makes no sense."""


class MissingExtraError(ScaleKeysError, ImportError):
    """An optional dependency is not installed; the message says which ``pip install`` brings it."""


class OutputError(ScaleKeysError):
    """A result cannot be written where the user asked for it."""


class AtlasError(ScaleKeysError):
    """An atlas is missing, busy or made by a newer version, or is asked what it cannot answer."""


class RecipeError(ScaleKeysError, ValueError):
    """A recipe of a training, or the data that it names, cannot be used."""


class TrainingError(ScaleKeysError):
    """A training went wrong and was stopped; what it saved before is intact."""
