"""Whether receptive fields form: how well the eight families explain the depthwise filters of each layer."""

from statistics import median

from torch import nn

from scalekeys.checkpoints import extract
from scalekeys.fitting import fit
from scalekeys.training.snapshots import Row


def explained(network: nn.Module) -> Row:
    """Return the median r2 of the eight-family fit, over all depthwise filters and by layer.

    Examples
    --------
    >>> explained(nn.Conv2d(8, 8, 7, groups=8)).keys()
    dict_keys(['r2', 'r2 weight'])
    """
    bank = extract(network)
    shares = fit(bank).r2.nan_to_num(0.0).tolist()
    return {"r2": median(shares)} | {f"r2 {layer.name}": median(shares[part]) for layer, part in bank.parts()}
