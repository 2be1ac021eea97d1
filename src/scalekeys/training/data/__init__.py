"""Data sets of labelled images: CIFAR-10 from files, folders by class, and those of ``datasets``."""

from scalekeys.training.data.images import ImageSet
from scalekeys.training.data.sources import DataSets, open_data

__all__ = ["DataSets", "ImageSet", "open_data"]
