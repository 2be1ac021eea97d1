"""Tensors of PyTorch in pickles: every function that puts one together, read as a description of the tensor."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from scalekeys.checkpoints.core.inventory import DISTRIBUTED, NESTED, Lazy
from scalekeys.checkpoints.core.refused import OF_UNKNOWN_CLASS, Refused
from scalekeys.checkpoints.formats.pickled.arrays import Array, Dtype
from scalekeys.checkpoints.formats.pickled.stand_ins import Name, as_key
from scalekeys.checkpoints.formats.stored.sources import Bytes
from scalekeys.checkpoints.formats.stored.tensors import (
    Quantised,
    Sparse,
    Stored,
    steps,
    stored,
    whole_lengths,
)

_SMALL = 1 << 22  # values of a tensor that may all be zero
_MOST_ZEROS = 1000  # of a larger one, for each value that is not
NO_VALUES = "it has no values in the file, as it was on the meta device; load the weights of the network before saving"

_DTYPES = {
    **dict.fromkeys(("Byte", "Untyped", "QUInt8"), torch.uint8),
    **dict.fromkeys(("Char", "QInt8"), torch.int8),
    **dict.fromkeys(("Int", "QInt32"), torch.int32),
    "Bool": torch.bool,
    "Short": torch.int16,
    "Long": torch.int64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Float": torch.float32,
    "Double": torch.float64,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
    "QUInt4x2": torch.quint4x2,
    "QUInt2x4": torch.quint2x4,
}
_PACKED = (torch.quint4x2, torch.quint2x4)
_LAYOUTS = {f"torch.{name}": getattr(torch, name) for name in ("sparse_coo", "sparse_csr", "sparse_csc")}


@dataclass(frozen=True, eq=False)
class Storage:
    """A storage as a pickle names it: its bytes, the type of its numbers, and where a view of it starts, in numbers."""

    content: Bytes
    dtype: torch.dtype
    start: int = 0
    swapped: bool = False


def storage_dtype(kind: Any) -> torch.dtype:
    """Return the type of the numbers of a kind of storage.

    Raises ValueError if there is no such kind.

    >>> storage_dtype(Name("torch", "HalfStorage"))
    torch.float16
    """
    name = kind.name if isinstance(kind, Name) else ""
    found = _DTYPES.get(name.removesuffix("Storage"))
    if found is None or not name.endswith("Storage"):
        raise ValueError(f"a storage of an unknown kind {name[:40]!r}")
    return found


def dtype_named(name: Any) -> torch.dtype | None:
    """Return a type that a pickle names, if it is one of torch.

    >>> dtype_named(Name("torch", "float16")), dtype_named(Name("torch", "load_it"))
    (torch.float16, None)
    """
    found = getattr(torch, name.name, None) if isinstance(name, Name) and name.module == "torch" else None
    return found if isinstance(found, torch.dtype) else None


def _tensor(
    storage: Any = None,
    offset: Any = 0,
    shape: Any = (),
    stride: Any = (),
    *rest: Any,
    dtype: torch.dtype | None = None,
) -> Any:
    if not isinstance(storage, Storage):
        return Refused(_shape(shape), "its storage is damaged")
    if storage.dtype in _PACKED:
        return Refused(_shape(shape), "several of its numbers share a byte; give the network before quantisation")
    if isinstance(rest[-1] if rest else None, dict) and (rest[-1].get("conj") or rest[-1].get("neg")):
        return Refused(_shape(shape), "it is stored conjugated or negated; save weight.resolve_conj().resolve_neg()")
    start = offset + storage.start if isinstance(offset, int) else offset
    kept = storage.dtype if dtype is None else dtype
    return stored(storage.content, kept, shape, stride, offset=start, swapped=storage.swapped)


def _tensor_of_type(
    storage: Any, offset: Any, shape: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, *rest: Any
) -> Any:
    found = dtype_named(dtype)
    if found is None:
        return Refused(_shape(shape), f"its type {getattr(dtype, 'name', '')[:40]!r} is not known")
    return _tensor(storage, offset, shape, stride, *rest, dtype=found)


def first(one: Any = None, *_: Any) -> Any:
    """Stand in for a function that gives its first argument, as far as its values are concerned."""
    return one


def _quantised(storage: Any, offset: Any, shape: Any, stride: Any, parameters: Any = (), *_: Any) -> Any:
    integers = _tensor(storage, offset, shape, stride)
    scheme, *rest = parameters if isinstance(parameters, tuple) else (None,)
    if not isinstance(integers, Stored):
        return integers
    name = scheme.name if isinstance(scheme, Name) else ""
    if name == "per_tensor_affine" and len(rest) == 2 and all(isinstance(one, int | float) for one in rest):
        return Quantised(integers, rest[0], rest[1])
    parts = [one if isinstance(one, Stored) else None for one in rest[:2]]
    if name.startswith("per_channel_affine") and len(rest) == 3 and all(parts) and rest[2] in range(len(shape)):
        sizes = {part.shape for part in parts if part}
        if sizes == {(integers.shape[rest[2]],)}:
            return Quantised(integers, parts[0], parts[1], rest[2])  # type: ignore[arg-type]
    return Refused(integers.shape, "its way of quantisation is not known; give the network before quantisation")


def _sparse(layout: Any = None, data: Any = (), *_: Any) -> Any:
    found = _LAYOUTS.get(str(layout))
    parts = [part for part in data if isinstance(part, Stored)] if isinstance(data, tuple) else []
    lengths = [one for one in data if isinstance(one, tuple)] if isinstance(data, tuple) else []
    shape = _shape(lengths[0]) if lengths else ()
    if found is None or len(parts) != (2 if found == torch.sparse_coo else 3) or not shape:
        return Refused(shape, f"its layout {str(layout)[:40]!r} is not read; make it dense first")
    if prod(shape) > max(_SMALL, _MOST_ZEROS * prod(parts[-1].shape)):
        return Refused(shape, "it stores next to no values for its shape; do not trust it, or make it dense first")
    return Sparse(found, tuple(parts), shape)


def _wrapped(kind: Any = None, _dtype: Any = None, shape: Any = (), *_: Any) -> Any:
    name = kind.name if isinstance(kind, Name) else "unknown"
    distributed = name in ("DTensor", "ShardedTensor")
    reason = (
        DISTRIBUTED if distributed else f"it is a tensor of the class {name[:60]!r}, which keeps its values elsewhere"
    )
    return Refused(_shape(shape), reason)


def _from_type(function: Any = None, _kind: Any = None, arguments: Any = (), state: Any = None, *_: Any) -> Any:
    """Stand in for the function that makes a subclass: its values count, and where they are those of all processes."""
    make = TENSORS.get(function.dotted) if isinstance(function, Name) else None
    if make is None or not isinstance(arguments, tuple):
        return Refused((), OF_UNKNOWN_CLASS)
    tensor = make(*arguments)
    local = state.get("_local_tensor") if isinstance(state, dict) else None
    is_whole = isinstance(tensor, Refused) and isinstance(local, Stored) and local.shape == tensor.shape
    return local if is_whole else tensor


def as_tensor(array: Array) -> Lazy | None:
    """Return the tensor that an array is, or None for one that holds no numbers."""
    dtype = array.dtype.to_torch() if isinstance(array.dtype, Dtype) else None
    content = array.bytes()
    if dtype is None or content is None:
        return None
    shape = whole_lengths(array.shape)
    stride = None if shape is None else steps(shape, fortran=bool(array.fortran))
    return stored(content, dtype, array.shape, stride, swapped=array.dtype.swapped)


def _shape(shape: Any) -> tuple[int, ...]:
    return whole_lengths(shape) or ()


def _listed(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, list | tuple) else ()


def _dict(*arguments: Any) -> dict[Any, Any]:
    """Return a dict with what it is made of, if anything: another dict or pairs, as Python 2 pickles an OrderedDict.

    >>> _dict(), _dict([["dw.weight", 1], ["dw.bias", 2]])
    ({}, {'dw.weight': 1, 'dw.bias': 2})
    """
    given = arguments[-1] if arguments else ()
    return {as_key(key): value for key, value in (given.items() if isinstance(given, dict) else _listed(given))}


def _tuple(values: Any = (), *_: Any) -> Any:
    """Return a tuple, or the array of one that is its name and itself, as Paddle pickles a tensor."""
    parts = _listed(values)
    return parts[1] if len(parts) == 2 and isinstance(parts[0], str) and isinstance(parts[1], Array) else parts


TENSORS: dict[str, Callable[..., Any]] = {
    **{f"torch._utils._rebuild_{name}": _tensor for name in ("tensor", "tensor_v2")},
    **{f"torch._utils._rebuild_{name}": first for name in ("parameter", "parameter_with_state", "buffer")},
    **{f"torch._utils._rebuild_device_tensor_from_{name}": first for name in ("cpu_tensor", "numpy")},
    "torch._utils._rebuild_xla_tensor": first,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_qtensor": _quantised,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_nested_tensor": lambda _buffer=None, sizes=None, *_: Refused(
        sizes.shape[:1] if isinstance(sizes, Stored) else (), NESTED
    ),
    "torch.nested._internal.nested_tensor._rebuild_njt": lambda *_: Refused((), NESTED),
    "torch._utils._rebuild_meta_tensor_no_storage": lambda _dtype=None, shape=(), *_: Refused(_shape(shape), NO_VALUES),
    "torch._utils._rebuild_wrapper_subclass": _wrapped,
    **{f"torch.{name}": _from_type for name in ("_tensor._rebuild_from_type_v2", "_tensor._rebuild_from_type")},
    "torch.tensor._rebuild_from_type": _from_type,
}
"""What stands in for the functions by which PyTorch puts tensors together."""

VALUES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("collections.OrderedDict", "collections.defaultdict", "builtins.dict"), _dict),
    **dict.fromkeys(("builtins.set", "builtins.frozenset"), lambda one=(), *_: set(map(as_key, _listed(one)))),
    "builtins.tuple": _tuple,
    "torch.Size": lambda lengths=(), *_: _listed(lengths),
    "torch.serialization._get_layout": first,
    "builtins.bytes": lambda content=b"", *_: content if isinstance(content, bytes) else b"",
}
"""What stands in for classes whose objects are plain values."""
