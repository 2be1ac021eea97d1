"""From models of the filters of a source to a copy of the source with these models in it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from scalekeys.checkpoints.core.arrangement import shape_of_filters
from scalekeys.checkpoints.core.changes import Change, Copying, cast
from scalekeys.checkpoints.core.checkpoint import Checkpoint, ConvolutionLayer
from scalekeys.checkpoints.core.kinds import DEPTHWISE
from scalekeys.checkpoints.formats.registry import FORMATS, format_of
from scalekeys.checkpoints.sources.source import Source, open_source
from scalekeys.errors import CheckpointError, ModelError, OutputError, listed
from scalekeys.files import check_new_file, check_new_folder, check_no_source, expanded, new_files, new_folder
from scalekeys.filters import FilterBank, Modelled, Replacement, replacement


def write_replaced(
    source: Source, modelled: Modelled, path: str | Path, *, weights: str | None = None, force: bool = False
) -> tuple[str, ...]:
    """Write a copy of a trained network in which depthwise filters are replaced by their models.

    Parameters
    ----------
    source : nn.Module, str, Path or dict
        What :func:`scalekeys.extract` reads.
    modelled : Fit, KeyAssignment or Replacement
        Models of its filters; with :func:`scalekeys.replacement` some of them only.
    path : str or Path
        The file to write, or the folder where the source is one. A file or folder keeps its format. For a network in
        memory, a state dict, and a model of a hub, the state dict is written: to a ``.safetensors``, ``.pth`` or
        ``.pt`` file.
    weights : str, optional
        Which of several nested sets of weights to change, as in :func:`scalekeys.extract`.
    force : bool
        Whether to replace what is there.

    Returns
    -------
    tuple of str
        What a user should know, in sentences: which entry of a nested file was changed, and what was left out.

    Raises
    ------
    CheckpointError
        If the source cannot be read, or a weight shares its memory with one that has to stay as it is.
    ModelError
        If the models are those of another network: layers of other names, or filters of other shapes.
    FilterError
        If a filter is too large for the type that the weight is stored in.
    OutputError
        If the path exists and `force` is not given, is the source itself, or cannot be written.

    Notes
    -----
    Nothing but the replaced filters changes: other tensors, metadata, and filters that are kept have the same bits, and
    weights keep their type. Numbers are overwritten in a copy of the file, and a pickle is never executed, so that
    optimisers and settings beside the weights stay as well. The copy is read back before it gets its name; if
    something fails, nothing is left behind.

    Of a folder the other files are copied too, except hidden ones, folders, and other weights. The data that an ONNX
    model keeps in other files is copied beside it, under its name.

    Examples
    --------
    >>> import tempfile
    >>> import torch, scalekeys as sk
    >>> folder = Path(tempfile.mkdtemp())
    >>> torch.save({"dw.weight": sk.master_keys()[:, None].half(), "step": 3}, folder / "net.pth")
    >>> fit = sk.fit(sk.extract(folder / "net.pth"), "jet2")
    >>> write_replaced(folder / "net.pth", fit, folder / "jets.pth")
    ()
    >>> torch.load(folder / "jets.pth")["dw.weight"].dtype
    torch.float16
    """
    chosen = modelled if isinstance(modelled, Replacement) else replacement(modelled)
    kinds = {layer.kind for layer in chosen.bank.layers} or DEPTHWISE
    opened = open_source(source, weights=weights, kinds=kinds)
    return write_copy(opened, chosen, expanded(path), weights=weights, force=force)


def write_copy(
    opened: Checkpoint, chosen: Replacement, path: Path, *, weights: str | None = None, force: bool = False
) -> tuple[str, ...]:
    """Write a copy of an opened source; see :func:`write_replaced`."""
    copying = check_copy(opened, path, force=force)
    changes = list(_changes(opened, chosen))
    try:
        with (new_folder if copying.is_folder else new_files)(path, force=force) as target:
            notes = copying.write(changes, target)
            _check_written(opened, changes, target, weights=None if copying.suffixes else weights)
            if not copying.is_folder:
                for file in target.parent.iterdir():
                    check_no_source(path.with_name(file.name), copying.files)
    except OSError as error:  # of writing is an OutputError here
        raise CheckpointError(f"{opened.label}: cannot be copied ({error.strerror or error})") from error
    return notes


def check_copy(opened: Checkpoint, path: Path, *, force: bool = False) -> Copying:
    """Refuse, before any work is done, a path that a copy of a source cannot be written to.

    Raises
    ------
    OutputError
        If it exists and `force` is not given, is the source itself, or has a name that says nothing of the format.
    """
    copying = opened.copying
    if copying is None:
        raise OutputError(f"{opened.label}: {opened.only_read or 'is a part of a source; give the whole'}")
    check_no_source(path, copying.files)
    if copying.files:
        _refuse_other_format(path, copying)
    if copying.suffixes and path.suffix not in copying.suffixes:
        allowed = listed(copying.suffixes, word="or")
        named = f"ends in {path.suffix!r}" if path.suffix else "has no suffix"
        raise OutputError(f"{path}: {named}; the weights of {opened.model} are written to {allowed}")
    (check_new_folder if copying.is_folder else check_new_file)(path, force=force)
    return copying


def copy_suffix(opened: Checkpoint) -> str:
    """Return the suffix of a name for a copy of a source; empty for a folder, and where there can be no copy.

    >>> copy_suffix(open_source("builtin:master-keys"))
    '.pth'
    """
    copying = opened.copying
    if copying is None or copying.is_folder:
        return ""
    if copying.suffixes:
        return ".pth"
    file, own = copying.files[0], format_of(copying.files[0])
    others = [row for row in FORMATS if row is not own and file.name.lower().endswith(row.suffixes)]
    return own.suffixes[0] if others or not file.suffix else file.suffix


def check_same_layers(here: Mapping[str, tuple[int, ...]], bank: FilterBank, *, label: str) -> None:
    """Refuse a bank that is not that of a network.

    Parameters
    ----------
    here : mapping of str to tuple of int
        Shape (filters, *sides) of each layer of the network.
    bank : FilterBank
    label : str
        What errors call the network.

    Raises
    ------
    ModelError
        If the bank has other layers or filters of other shapes.
    """
    there = {layer.name: tuple(layer.kernels.shape) for layer in bank}
    if here != there:
        raise ModelError(
            f"{label}: the filters that were modelled are not those of this network "
            f"({_difference(here, there)}); fit what sk.extract gives for it"
        )


def _difference(here: Mapping[str, tuple[int, ...]], there: Mapping[str, tuple[int, ...]]) -> str:
    """Say in one clause how the layers of a network and those of a bank differ; they do."""
    for name, shape in there.items():
        if name not in here:
            return f"it has no depthwise layer {name!r}"
        if here[name] != shape:
            filters = " x ".join(map(str, shape))
            return f"layer {name!r} has filters of {' x '.join(map(str, here[name]))}, and {filters} were modelled"
    return f"its layer {next(name for name in here if name not in there)!r} was not modelled"


def _changes(opened: Checkpoint, chosen: Replacement) -> Iterator[Change]:
    """Yield what changes in each layer where anything does."""
    shapes = {layer.name: shape_of_filters(layer.arrangement, opened.info(layer).shape) for layer in opened.layers}
    check_same_layers(shapes, chosen.bank, label=opened.label)
    sources = _sources(opened, chosen.filters)
    for (layer, part), source in zip(chosen.filters.parts(), sources, strict=True):
        places = chosen.replaced[part].nonzero()[:, 0]
        if len(places):
            if source.key in opened.computed:
                raise CheckpointError(
                    f"{opened.label}: the weight of layer {layer.name!r} is computed from several tensors, and cannot "
                    "be replaced in them; leave the layer out, or make its weight a parameter and save the network"
                )
            info = opened.tensors[source.key]
            dtype: torch.dtype = getattr(torch, info.dtype)
            if opened.load(source.key).layout != torch.strided:
                raise CheckpointError(f"{opened.label}: layer {layer.name!r} is stored sparsely; make it dense first")
            filters = cast(layer.kernels.cpu()[places], dtype, layer=layer.name)
            yield Change(layer.name, source.key, places, filters, info.shape, source.arrangement)


def _sources(opened: Checkpoint, bank: FilterBank) -> list[ConvolutionLayer]:
    """Return the layer of the source for each layer of a bank, whose order may be another where names are unique."""
    if [layer.name for layer in bank] == [layer.name for layer in opened.layers]:
        return list(opened.layers)
    by_name = {layer.name: layer for layer in opened.layers}
    return [by_name[layer.name] for layer in bank]


def _check_written(opened: Checkpoint, changes: Sequence[Change], target: Path, *, weights: str | None) -> None:
    """Read the weights of a copy back and compare them bit by bit."""
    copy = open_source(target, weights=weights, kinds=opened.kinds)
    changed = {change.key: change for change in changes}
    for layer in opened.layers:
        expected, found = opened.load(layer.key).detach().cpu().clone(), copy.load(layer.key)
        if layer.key in changed:
            changed[layer.key].apply_to(expected)
        if not torch.equal(_bytes(expected), _bytes(found)):
            raise CheckpointError(
                f"{opened.label}: layer {layer.name!r} shares its memory with weights that are to be others, "
                "so that they cannot be changed apart; choose the layers so that all or none of them are replaced"
            )


def _bytes(weight: Tensor) -> Tensor:
    return weight.to_dense().contiguous().view(torch.uint8)


def _refuse_other_format(path: Path, copying: Copying) -> None:
    """Refuse a name that says another format than the copy will have."""
    named = [row for row in FORMATS if path.name.lower().endswith(row.suffixes)]
    if not named:
        return
    if copying.is_folder:
        raise OutputError(f"{path}: is the name of a file, and the source is a folder; name a folder to write")
    own = format_of(copying.files[0])
    if own not in named:
        raise OutputError(
            f"{path}: is a name for {named[0].name} files, and the copy has the format of the source, {own.name}; "
            f"name it *{own.suffixes[0] if own.suffixes else copying.files[0].suffix}"
        )
