"""Let timm be imported where torchvision's compiled operators do not load beside the installed torch.

timm imports torchvision, and torchvision registers shape rules for operators that its compiled library defines. Where
that library was built for another torch, the registration fails and so does the import. Naming the operators is enough:
none of them is called. Call :func:`install` before timm is first imported.
"""

import importlib.util
import re
from functools import cache
from pathlib import Path

import torch


@cache
def install() -> torch.library.Library | None:
    """Declare torchvision's operators unless its own library does; the declarations live as long as the process."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _loads_itself(Path(spec.origin).parent):
        return None
    source = (Path(spec.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
    names = re.findall(
        r'^@(?:register_meta|torch\.library\.register_fake)\("(?:torchvision::)?(\w+)"', source, re.MULTILINE
    )
    library = torch.library.Library("torchvision", "DEF")
    for name in sorted(set(names)):
        library.define(f"{name}(...) -> ...")
    return library


def _loads_itself(folder: Path) -> bool:
    for binary in (*folder.glob("_C.so"), *folder.glob("_C.*.so"), *folder.glob("_C*.pyd")):
        try:
            torch.ops.load_library(binary)
        except OSError:
            return False
        return True
    return False
