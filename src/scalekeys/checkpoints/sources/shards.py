"""Networks in several files, wherever these are: an index says which of them holds which tensor."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol, TypeVar

from torch import Tensor

from scalekeys.checkpoints.core.checkpoint import Checkpoint
from scalekeys.checkpoints.core.inventory import TensorInfo
from scalekeys.checkpoints.core.kinds import Wanted
from scalekeys.checkpoints.core.state_dict import from_state_dict, weight_keys
from scalekeys.errors import CheckpointError
from scalekeys.files import is_plain_name, parse_json


class Shard(Protocol):
    """A file with some of the tensors of a network."""

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Its tensors."""

    @property
    def altered(self) -> Mapping[str, str]:
        """Those that are not read as they are, with the reasons."""

    @property
    def load(self) -> Callable[[str], Tensor]:
        """What gives the values of one of them."""


S = TypeVar("S", bound=Shard)


def join_shards(
    home: Mapping[str, str],
    open_shard: Callable[[str], S],
    wanted: Wanted,
    *,
    label: str,
    model: str,
) -> tuple[Checkpoint, dict[str, S]]:
    """Open the shards of a network as the one that they are of; those without weights may be missing or damaged.

    `home`: the shard that holds each tensor.
    `open_shard`: opens a shard by its name.
    Returns the shards that could be opened.
    Raises CheckpointError if a shard with weights is damaged or missing, or the copy that is wanted is not there.
    """
    needed = {home[key] for key in weight_keys(home)}
    opened = {shard: open_shard(shard) for shard in sorted(needed)}
    for shard in sorted(set(home.values()) - needed):
        with suppress(CheckpointError):
            opened[shard] = open_shard(shard)
    tensors: dict[str, TensorInfo] = {}
    for key, shard in home.items():
        if shard in opened:
            if key not in opened[shard].tensors:
                if reason := opened[shard].altered.get(key):
                    raise CheckpointError(f"{label}: lists {key!r} in {shard}, where it is not read: {reason}")
                raise CheckpointError(f"{label}: lists {key!r} in {shard}, which does not hold it; fetch both again")
            tensors[key] = opened[shard].tensors[key]

    def load(key: str) -> Tensor:
        return opened[home[key]].load(key)

    return from_state_dict(tensors, load, wanted, label=label, model=model, in_network_order=False), opened


def weight_map(content: bytes, *, label: str) -> Mapping[str, str]:
    """Read which shard holds which tensor; a shard is a plain name of a file beside the index.

    Raises CheckpointError if the content is no index of shards, or names files elsewhere.
    """
    try:
        home = parse_json(content)["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{label}: is no index of shards (JSON with a 'weight_map'): {error!r}") from None
    if not (isinstance(home, dict) and home and all(isinstance(shard, str) for shard in home.values())):
        raise CheckpointError(f"{label}: its 'weight_map' does not give a shard for each tensor; fetch it again")
    for shard in home.values():
        if not is_plain_name(shard):
            raise CheckpointError(f"{label}: names the shard {shard!r}, which is no file beside it, and is not read")
    return home
