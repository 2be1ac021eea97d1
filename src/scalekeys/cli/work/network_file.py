"""The file that a verb writes a changed network to: what it may be called, and how it is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from scalekeys.checkpoints import Checkpoint
from scalekeys.checkpoints.core.state_dict_writing import state_dict_copying
from scalekeys.checkpoints.formats.onnx_model.exporting import OnnxNetwork, export_onnx
from scalekeys.errors import ModelError, OutputError, listed
from scalekeys.files import new_files
from scalekeys.networks.measuring.same_outputs import Reference

ONNX = ".onnx"
SUFFIXES = (".pth", ".pt", ".safetensors", ONNX)


def check_request(network: str, output: Path, kind: str) -> None:
    """Refuse what cannot work before any work is done: an output of another kind, or weights in the place of a network.

    Raises
    ------
    OutputError
        If the output has another suffix.
    ModelError
        If the network is a file of weights.
    """
    if output.suffix not in SUFFIXES:
        allowed = listed(SUFFIXES, word="or")
        raise OutputError(f"{output}: a {kind} network is written to {allowed}; name such a file")
    if Path(network).is_file() and Path(network).suffix != ".py":
        raise ModelError(
            f"{network}: a file of weights does not say how the network uses them; give FILE.py:FUNCTION that "
            f"returns the network, and this file as --checkpoint"
        )


def loading(path: Path, *, by: str = "") -> str:
    """Return the Python statement that loads what :func:`write_network` wrote; `by`: a function that sets shapes too.

    >>> loading(Path("a.pth")), loading(Path("a.onnx"))
    ("network.load_state_dict(torch.load('a.pth'))", "session = onnxruntime.InferenceSession('a.onnx')")
    """
    if path.suffix == ONNX:
        return f"session = onnxruntime.InferenceSession({str(path)!r})"
    if by:
        return f"import scalekeys as sk; network = sk.{by}(network, {str(path)!r})"
    read = "safetensors.torch.load_file" if path.suffix == ".safetensors" else "torch.load"
    return f"network.load_state_dict({read}({str(path)!r}))"


def loading_copy(opened: Checkpoint, path: Path, weights: str | None) -> str:
    """Return the same for a copy of an opened source, of which `weights` names an entry."""
    copying = opened.copying
    if path.suffix == ONNX or (copying is not None and copying.suffixes):
        return loading(path)
    entry = "" if weights is None else f", weights={weights!r}"
    return f"from scalekeys.checkpoints import load_into; load_into(network, {str(path)!r}{entry})"


@dataclass(frozen=True)
class Same:
    """The outputs that a written ONNX file has to have."""

    reference: Callable[[], Reference]
    """Computes the wanted outputs."""
    tolerance: float
    """By which share of the largest output the outputs may differ at most."""
    option: str | None = None
    """The option that raises the tolerance."""

    def check(self, written: Path, output: Path) -> None:
        """Refuse a file with which onnxruntime computes something else."""
        difference = self.reference().difference(OnnxNetwork(written))
        if not difference <= self.tolerance:
            more = "" if self.option is None else f", or raise {self.option}"
            raise OutputError(
                f"{output}: is not written, because onnxruntime computes outputs that differ by {difference:.1e} of "
                f"the largest one, above {self.tolerance:.0e}; write a state dict, to .pth or .safetensors{more}"
            )


def write_network(module: nn.Module, example: Tensor, output: Path, *, label: str, force: bool, same: Same) -> None:
    """Write a network as ONNX, if it computes the same there, or its state dict, by the suffix of the output.

    Parameters
    ----------
    module : nn.Module
    example : Tensor
        A batch of two inputs or more, so that the axis of the batch is not taken for one of size 1.
    output : Path
    label : str
        What errors call the network.
    force : bool
        Whether an existing output is replaced.
    same : Same
    """
    with new_files(output, force=force) as target:
        if output.suffix == ONNX:
            export_onnx(module, example, target, label=output)
            same.check(target, output)
        else:
            state_dict_copying(label, module.state_dict).write([], target)
