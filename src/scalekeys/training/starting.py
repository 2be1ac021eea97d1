"""The network that a training starts from: what its recipe and seed make."""

from torch import nn

from scalekeys.training.building import build
from scalekeys.training.depthwise import prepared
from scalekeys.training.draws import seed_network
from scalekeys.training.recipe import Recipe

_SETUP = 2**31  # seeds what is drawn before the first epoch


def starting_network(recipe: Recipe, classes: int) -> nn.Module:
    """Make the network of a recipe with its first weights; this sets the global generators of torch.

    Raises RecipeError if there is no such network; CheckpointError if the weights that it starts from cannot be read or
    do not fit.
    """
    seed_network(recipe.seed, _SETUP)
    return prepared(build(recipe.network, classes, recipe.data.size), recipe.depthwise, recipe.seed)
