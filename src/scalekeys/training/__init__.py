"""Training networks with depthwise filters."""

from scalekeys.training.digits import DigitsNetwork, train_digits
from scalekeys.training.loop import train
from scalekeys.training.recipe import Recipe, read_recipe

__all__ = ["DigitsNetwork", "Recipe", "read_recipe", "train", "train_digits"]
