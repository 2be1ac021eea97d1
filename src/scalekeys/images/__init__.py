"""Pictures in folders and data sets, the numbers of their classes, and their preparation: for training and evaluation.

A picture is what Pillow reads; a class is a number from 0. The rule for the numbers is in
:func:`scalekeys.images.classes.class_numbers`.
"""

from scalekeys.images.batches import batches, sample
from scalekeys.images.labelled import DataSet, ImageFolder, Images, open_class_folders, open_images, open_unlabelled

__all__ = [
    "DataSet",
    "ImageFolder",
    "Images",
    "batches",
    "open_class_folders",
    "open_images",
    "open_unlabelled",
    "sample",
]
