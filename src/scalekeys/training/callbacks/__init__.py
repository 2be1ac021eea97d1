"""What the filters become in trainings by other loops: for TensorBoard, Lightning and the Trainer of Hugging Face.

Each callback measures :func:`scalekeys.training.filter_figures` at the start and after each epoch. Lightning and
transformers are imported only when their callback is made.
"""

from scalekeys.training.callbacks.board import TensorBoardFigures
from scalekeys.training.callbacks.hugging_face import trainer_callback
from scalekeys.training.callbacks.lightning import lightning_callback

__all__ = ["TensorBoardFigures", "lightning_callback", "trainer_callback"]
