"""Training networks with depthwise filters."""

from scalekeys.training.digits import DigitsNetwork, train_digits

__all__ = ["DigitsNetwork", "train_digits"]
