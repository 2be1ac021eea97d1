"""Training networks with depthwise filters."""

from scalekeys.networks.running.fast_depthwise import FastDepthwise
from scalekeys.training.callbacks import TensorBoardFigures, lightning_callback, trainer_callback
from scalekeys.training.comparison import Comparison, Condition, compare
from scalekeys.training.digits import DigitsNetwork, train_digits
from scalekeys.training.filter_figures import filter_figures
from scalekeys.training.loop import train
from scalekeys.training.recipe import Recipe, read_recipe, recipe_file
from scalekeys.training.runs import Run, read_run

__all__ = [
    "Comparison",
    "Condition",
    "DigitsNetwork",
    "FastDepthwise",
    "Recipe",
    "Run",
    "TensorBoardFigures",
    "compare",
    "filter_figures",
    "lightning_callback",
    "read_recipe",
    "read_run",
    "recipe_file",
    "train",
    "train_digits",
    "trainer_callback",
]
