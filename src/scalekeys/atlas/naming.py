"""Other names for the sources of an atlas: without folders of a machine, or with a prefix."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from operator import methodcaller
from pathlib import Path, PurePath

from scalekeys.atlas.journal import Entry
from scalekeys.atlas.references import Reference
from scalekeys.atlas.task import Failed
from scalekeys.checkpoints.sources.paths import ADDRESSES, scheme_of
from scalekeys.errors import AtlasError


def without_common_folder(sources: Iterable[str]) -> dict[str, str]:
    """Return the names of sources relative to the folder that they have in common; names on hubs stay.

    Web addresses lose their queries, which may hold a signature. Absolute paths, relative ones and those in the home
    folder of a user have a common folder each.

    >>> without_common_folder(["/home/me/nets/a.pth", "/home/me/nets/new/b.pth", "timm:convnext_tiny"])
    {'/home/me/nets/a.pth': 'a.pth', '/home/me/nets/new/b.pth': 'new/b.pth', 'timm:convnext_tiny': 'timm:convnext_tiny'}
    >>> without_common_folder(["https://example.org/a.safetensors?signature=secret"]).popitem()[1]
    'https://example.org/a.safetensors'
    """
    names = {source: source.partition("?")[0] if scheme_of(source) in ADDRESSES else source for source in sources}
    groups: dict[str, list[str]] = {}
    for source in names:
        if Reference(source).is_path:
            groups.setdefault(_anchor(source), []).append(source)
    for group in groups.values():
        depth = len(PurePath(os.path.commonpath([PurePath(source).parent for source in group])).parts)
        names |= {source: str(PurePath(*PurePath(source).parts[depth:])) for source in group}
    return names


def with_prefix(sources: Iterable[str], prefix: str) -> dict[str, str]:
    """Return the names of sources with a prefix; names on hubs, which are the same everywhere, stay.

    >>> with_prefix(["nets/a.pth", "timm:convnext_tiny"], "lab")
    {'nets/a.pth': 'lab/nets/a.pth', 'timm:convnext_tiny': 'timm:convnext_tiny'}
    """
    return {source: f"{prefix}/{source.lstrip('/')}" if Reference(source).is_path else source for source in sources}


def renamed(entries: Mapping[str, Entry], names: Mapping[str, str], remedy: str) -> dict[str, Entry]:
    """Return entries under other names, which stand in what is said of the sources too.

    Raises AtlasError if two sources get one name; `remedy` says what to do.
    """
    found: dict[str, Entry] = {}
    for old, entry in entries.items():
        name = names[old]
        if name in found:
            other = next(source for source in entries if names[source] == name)
            raise AtlasError(f"the sources {other} and {old} would both be called {name!r}; {remedy}")
        changed = reworded(entry, methodcaller("replace", old, name))
        found[name] = replace(changed, reference=replace(entry.reference, source=name))
    return dict(sorted(found.items()))


def reworded(entry: Entry, change: Callable[[str], str]) -> Entry:
    """Return an entry with each sentence that was found out about its source changed."""
    outcome = entry.outcome
    if isinstance(outcome, Failed):
        return replace(entry, outcome=replace(outcome, reason=change(outcome.reason)))
    left_out = tuple(replace(one, reason=change(one.reason)) for one in outcome.left_out)
    return replace(entry, outcome=replace(outcome, notes=tuple(map(change, outcome.notes)), left_out=left_out))


def without_folders(sources: Iterable[str]) -> Callable[[str], str]:
    """Return a function that removes from a sentence the folders of sources, of the user and of this process.

    >>> clear = without_folders(["/data/nets/model.index.json"])
    >>> clear("/data/nets/model-1.bin: is missing beside a/data/nets/b")
    'model-1.bin: is missing beside a/data/nets/b'
    """
    paths = [source for source in sources if Reference(source).is_path]
    folders = {str(Path.home()), str(Path.cwd()), *(str(Path(Reference(path).location).parent) for path in paths)}
    longest_first = sorted(folders - {"/"}, key=len, reverse=True)
    beginning = re.compile(rf"(?<![\w./~-])(?:{'|'.join(map(re.escape, longest_first)) or '(?!)'})/")
    return partial(beginning.sub, "")


def _anchor(source: str) -> str:
    first = PurePath(source).parts[0]
    return first if first == "/" or first.startswith("~") else ""
