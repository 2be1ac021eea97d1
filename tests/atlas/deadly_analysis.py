"""An analysis that dies, in a module that a fresh process can import."""

from pathlib import Path

import pyarrow.parquet as pq
from deadly import die

from scalekeys.atlas.task import analyse


def analyse_and_die(task):
    """Die while the rows of some sources are written: once of net1, always of net2."""
    source, marker = task.reference.source, Path(task.atlas) / "died"
    if "net2" in source or ("net1" in source and not marker.exists()):
        marker.touch()
        pq.ParquetWriter.write_table = lambda *_: die()
    return analyse(task)
