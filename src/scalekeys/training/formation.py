"""Whether receptive fields form: how well the eight families explain the depthwise filters, and noise beside them."""

from statistics import median

from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.fitting import fit, formation
from scalekeys.training.snapshots import Row


def explained(network: nn.Module) -> Row:
    """Return the median r2 of the eight-family fit and the formation, over all depthwise filters and by layer.

    Where no filter can tell structure from noise there is no formation.

    Examples
    --------
    >>> explained(nn.Conv2d(8, 8, 7, groups=8)).keys()
    dict_keys(['r2', 'r2 weight', 'formation', 'formation weight'])
    """
    bank = extract(network)
    found = fit(bank)
    shares, formed = found.r2.nan_to_num(0.0).tolist(), formation(found)
    r2 = {"r2": median(shares)} | {f"r2 {layer.name}": median(shares[part]) for layer, part in bank.parts()}
    groups = {"formation": formed.network} | {f"formation {group.name}": group for group in formed.layers}
    return r2 | {name: group.white.value for name, group in groups.items() if group.white is not None}
