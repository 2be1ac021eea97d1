"""Training networks with depthwise filters."""

from scalekeys.training.comparison import Comparison, Condition, compare
from scalekeys.training.digits import DigitsNetwork, train_digits
from scalekeys.training.loop import train
from scalekeys.training.recipe import Recipe, read_recipe
from scalekeys.training.runs import Run, read_run

__all__ = [
    "Comparison",
    "Condition",
    "DigitsNetwork",
    "Recipe",
    "Run",
    "compare",
    "read_recipe",
    "read_run",
    "train",
    "train_digits",
]
