"""Patterns over hubs: the models that ``timm:convnext*`` or ``hf:timm/convnext*`` stands for."""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from scalekeys.checkpoints.sources.hub_files import hub_client
from scalekeys.checkpoints.sources.paths import has_wildcard
from scalekeys.errors import CheckpointError
from scalekeys.optional import in_short, require


def models_like(scheme: str, pattern: str) -> tuple[str, ...]:
    """Return the sources of a hub whose names fit a pattern, in which ``*`` stands for anything, sorted.

    `scheme`: ``"timm"``: of the models with trained weights, whose names have the form ``ARCHITECTURE.TAG``. ``"hf"``:
    of one owner; where the hub client is offline, of those in its cache.
    `pattern`: what follows the colon.
    Raises MissingExtraError if the client of the hub is not installed; CheckpointError if no model fits, the hub cannot
    be asked, or the scheme has no list of models.
    """
    label = f"{scheme}:{pattern}"
    if scheme not in _LISTS:
        raise CheckpointError(f"{label}: wildcards work after timm: and hf:; name the model in full")
    names = sorted(name for name in set(_LISTS[scheme](pattern, label)) if fnmatchcase(name, pattern))
    if not names:
        raise CheckpointError(f"{label}: no model fits this pattern; check it, or name a model in full")
    return tuple(f"{scheme}:{name}" for name in names)


def _timm_names(_pattern: str, _label: str) -> Iterable[str]:
    names: list[str] = require("timm", extra="timm").list_models(pretrained=True)
    return names


def _hf_names(pattern: str, label: str) -> Iterable[str]:
    hub = hub_client()
    owner, slash, _ = pattern.partition("/")
    if not slash or has_wildcard(owner):
        raise CheckpointError(f"{label}: name the owner in full, as in hf:timm/convnext*")
    if hub.constants.HF_HUB_OFFLINE:
        return _cached(hub)
    try:
        return [model.id for model in hub.list_models(author=owner)]
    except Exception as error:  # the hub client and the network have no common class
        raise CheckpointError(
            f"{label}: the hub cannot be asked for its models ({in_short(error)}); check the network, or set "
            "HF_HUB_OFFLINE=1 to take what the local cache holds"
        ) from error


def _cached(hub: Any) -> Iterable[str]:
    try:
        repositories = hub.scan_cache_dir().repos
    except hub.errors.CacheNotFound:
        return []
    return [repository.repo_id for repository in repositories if repository.repo_type == "model"]


_LISTS: dict[str, Callable[[str, str], Iterable[str]]] = {"timm": _timm_names, "hf": _hf_names}
