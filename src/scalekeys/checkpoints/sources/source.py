"""From what a user names to an opened checkpoint, and to its depthwise filters."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from torch import nn

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.kinds import DEPTHWISE, Wanted, kinds_asked
from scalekeys.checkpoints.core.naming import in_utf8
from scalekeys.checkpoints.core.nesting import lists_as_dicts, pick
from scalekeys.checkpoints.core.refused import reasons_in, refused_in
from scalekeys.checkpoints.core.state_dict import from_state_dict
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.formats.registry import open_file
from scalekeys.checkpoints.sources.addresses import open_url
from scalekeys.checkpoints.sources.builtin import open_builtin
from scalekeys.checkpoints.sources.folder import open_folder, open_index
from scalekeys.checkpoints.sources.folder_names import as_a_part, is_index
from scalekeys.checkpoints.sources.hubs import open_hf, open_timm
from scalekeys.checkpoints.sources.module import open_module
from scalekeys.checkpoints.sources.paths import ADDRESSES, PREFIXES, existing, scheme_of
from scalekeys.errors import CheckpointError
from scalekeys.filters import FilterBank

Source: TypeAlias = nn.Module | str | Path | Mapping[Any, Any]

_WITHOUT_VALUES = "has lazy parameters without values, and cannot be written; run the network once"

SCHEMES: Mapping[str, Callable[[str, Wanted], Checkpoint]] = {
    "timm": open_timm,
    "hf": open_hf,
    "builtin": open_builtin,
    **{scheme: partial(open_url, scheme) for scheme in ADDRESSES},
}
"""What opens a name behind each prefix."""


def extract(source: Source, *, weights: str | None = None, kinds: str | Iterable[str] = DEPTHWISE) -> FilterBank:
    """Read the filters of a trained network: those of its depthwise layers, or of other convolutions on request.

    Parameters
    ----------
    source : nn.Module, str, Path or dict
        A network; a file or folder of weights; ``"timm:NAME"``, ``"hf:ORG/NAME"`` (with ``@REVISION`` if wanted) or
        ``"builtin:NAME"``; the address of a safetensors file, ``"https://SERVER/PATH"``, of which the header and the
        filters are fetched; or a state dict, plain or nested. A file is known by its content: what ``torch.save``
        writes (state dicts, checkpoints and whole modules, old and new), TorchScript, ``torch.export``, safetensors,
        ONNX, TensorFlow Lite, TensorFlow.js, Keras, plain pickles of arrays, archives of NumPy and of NeMo. Folders are
        those of the Hugging Face hub with their shards, of TensorFlow.js, and of ``torch.distributed.checkpoint``. A
        pickle is never executed.
    weights : str, optional
        Which of several nested sets of weights to read, such as ``"params"``. By default averaged weights come before
        the others, and :attr:`FilterBank.notes` says what was taken.
    kinds : str or several of them
        The kinds of convolutions to read: ``"depthwise"``, ``"grouped"`` (those of several groups that are not
        depthwise), ``"ordinary"`` (those of one group) or ``"all"``. Convolutions are read whose kernels have one, two
        or three axes and more than one value.

    Returns
    -------
    FilterBank
        Float32 filters on the CPU (float64 where they are so), layer by layer from input to output.
        A convolution that is not depthwise has one filter for each output channel and each input of its group.
        :attr:`FilterBank.left_out` lists, with the reason, what has the shape of a kernel or is a convolution of
        several groups, and is not read.

    Raises
    ------
    CheckpointError
        If the source is missing, damaged, unsafe or has no such layers, or `kinds` are none.
    MissingExtraError
        If reading it needs a package that is not installed.

    Notes
    -----
    In a module, in a graph of ONNX, TensorFlow Lite or TensorFlow.js, and where a Keras file has the configuration of
    its model, a layer is depthwise if it has as many groups as input channels, more than one, and is not transposed.
    Where there are weights only, names and shapes decide: (C, 1, rows, cols) with C > 1, or (rows * cols, C) of a
    sparse convolution; stride and dilation are then None. With kernels of one or three axes, (C, 1, cols) or (C, 1,
    slices, rows, cols), the weights around a layer have to say that it is depthwise, as the first layer of a network
    for sounds or volumes of one channel has that shape too. Weights alone do not tell grouped from ordinary
    convolutions: all of them count as ordinary. Weights that are quantised, or that a module computes from several
    tensors, are read as the numbers that they stand for. Exporters of graphs fold a batch norm into the convolution
    before it: such filters carry its factor, which may be negative, channel by channel.

    The filters of a transposed convolution stand as they are stored: each is what an input of one becomes in an output.

    Modules, graphs and ``.pth`` files keep the order of the network. A safetensors file and the index of a sharded
    folder do not: their layers are put in the likely order by their names, stems first, numbers upwards, heads last.

    Examples
    --------
    >>> import torch
    >>> from scalekeys.checkpoints import extract
    >>> extract("builtin:master-keys")
    FilterBank('builtin:master-keys': 8 filters in 1 layer, 7x7)
    >>> trained, averaged = {"dw.weight": torch.rand(4, 1, 3, 3)}, {"dw.weight": torch.rand(4, 1, 3, 3)}
    >>> extract({"params": trained, "params_ema": averaged}).notes
    ("weights are read from the entry 'params_ema'; the dict also holds 'params' (choose with --weights)",)
    >>> extract(torch.nn.Conv2d(3, 8, 5), kinds="ordinary").layers[0].channels
    (8, 3)
    """
    return open_source(source, weights=weights, kinds=kinds).bank()


def open_source(source: Source, *, weights: str | None = None, kinds: str | Iterable[str] = DEPTHWISE) -> Checkpoint:
    """Open a source of weights without reading its values; the arguments are those of :func:`extract`.

    Raises
    ------
    CheckpointError
        If it is missing, damaged or unsafe, or `kinds` are none.
    MissingExtraError
        If reading it needs a package that is not installed.
    """
    opened = _opened(source, Wanted(weights, kinds_asked(kinds)))
    layers = tuple(replace(layer, name=in_utf8(layer.name)) for layer in opened.layers)
    left_out = tuple(replace(one, name=in_utf8(one.name)) for one in opened.left_out)
    return replace(opened, model=in_utf8(opened.model), layers=layers, left_out=left_out)


def _opened(source: Source, wanted: Wanted) -> Checkpoint:
    if isinstance(source, nn.Module):
        return open_module(source, wanted)
    if isinstance(source, Mapping):
        return _open_dict(source, wanted)
    if isinstance(source, Path):
        return _open_path(source, wanted)
    if isinstance(source, str) and source.strip():
        if (scheme := scheme_of(source)) is not None:
            return SCHEMES[scheme](source.removeprefix(f"{scheme}:"), wanted)
        return _open_path(Path(source), wanted)
    given = "an empty name" if isinstance(source, str) else f"an object of type {type(source).__name__}"
    raise CheckpointError(f"cannot read weights from {given}; give a network, a path, a state dict, or {PREFIXES}")


def _open_dict(tree: Mapping[Any, Any], wanted: Wanted) -> Checkpoint:
    label = "the state dict"
    entry, notes = pick(lists_as_dicts(tree), wanted.weights, label=label, noun="dict")
    only_kinds = Wanted(kinds=wanted.kinds)
    refused = reasons_in(entry.tensors)
    info = {key: one for key, one in entry.info().items() if key not in refused}
    opened = from_state_dict(
        info, entry.load, only_kinds, label=label, model="state_dict", notes=notes, entry=entry.path
    )
    if not reasons_in(entry.everything):
        return replace(opened, copying=state_dict_copying(label, lambda: entry.everything))
    left_out = (*opened.left_out, *refused_in(entry.tensors))
    return replace(opened, left_out=left_out, altered=refused, only_read=_WITHOUT_VALUES)


def _open_path(path: Path, wanted: Wanted) -> Checkpoint:
    path = existing(path)
    if path.is_dir():
        return open_folder(path, wanted)
    if is_index(path):
        return open_index(path, wanted)
    opened = open_file(path, wanted)
    return replace(opened, notes=(*opened.notes, *as_a_part(path)))
