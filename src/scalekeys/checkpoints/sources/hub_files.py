"""Where the weights of a model of the Hugging Face hub are: in one commit of its repository, or in the local cache."""

import re
from pathlib import Path
from typing import Any

from scalekeys.checkpoints.formats.suffixes import SAFETENSORS
from scalekeys.checkpoints.sources.folder_names import INDEX_SUFFIX, choose_weights, names_weights
from scalekeys.checkpoints.sources.shards import weight_map
from scalekeys.checkpoints.web.requests import Address
from scalekeys.errors import CheckpointError
from scalekeys.files import read_bytes
from scalekeys.optional import require

LONGEST_WAIT = 5.0
"""Seconds in which a hub has to answer."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ENDINGS = tuple(suffix + end for suffix in SAFETENSORS for end in ("", INDEX_SUFFIX))


def hub_client() -> Any:
    """Return ``huggingface_hub`` with those of its modules that are used here, which it does not import by itself.

    Raises MissingExtraError if it is not installed.
    """
    for part in ("constants", "errors", "utils"):
        require(f"huggingface_hub.{part}", extra="transformers")
    return require("huggingface_hub", extra="transformers")


def hub_file(hub: Any, repository: str, revision: str | None, *, label: str) -> Address | None:
    """Return the address of the safetensors file of a model, or of the index of its shards, on the hub.

    `hub`: ``huggingface_hub``.
    `repository`: ``ORG/NAME``.
    `revision`: a branch, a tag or a commit.
    `label`: what errors call the model.
    Returns its address in the commit that the revision stands for now. None where the hub is not asked or does not
    answer, has no such model or no safetensors file that is its own, and where the local cache holds it.
    """
    if hub.constants.HF_HUB_OFFLINE:
        return None
    try:
        model = _ask(hub, repository, revision)
        names = [file.rfilename for file in model.siblings or ()]
        names = [name for name in names if "/" not in name and name.lower().endswith(_ENDINGS)]
        chosen = choose_weights(list(filter(names_weights, names)), label=label)
    except Exception:  # the client downloads what there is, or says what is wrong
        return None
    if chosen is None or _is_cached(hub, repository, chosen, model.sha):
        return None
    endpoint = hub.constants.ENDPOINT
    url = hub.hf_hub_url(repository, chosen, revision=model.sha, endpoint=endpoint)
    return Address(url, label, hub.get_token() or "", endpoint)


def commit_of(hub: Any, repository: str, revision: str | None) -> str:
    """Return the commit that a revision of a model stands for; a commit stands for itself, and the hub is not asked.

    Raises Exception of the hub client, if the hub does not answer or has no such model.
    """
    if revision and _COMMIT.fullmatch(revision):
        return revision
    return str(_ask(hub, repository, revision).sha)


def _ask(hub: Any, repository: str, revision: str | None) -> Any:
    client = hub.HfApi(endpoint=hub.constants.ENDPOINT)
    return client.model_info(repository, revision=revision, timeout=LONGEST_WAIT)


def _is_cached(hub: Any, repository: str, name: str, commit: str) -> bool:
    """Tell whether the cache holds a file of a commit, and all shards where the file is their index."""
    found = hub.try_to_load_from_cache(repository, name, revision=commit)
    if not isinstance(found, str):
        return False
    if not name.endswith(INDEX_SUFFIX):
        return True
    path = Path(found)
    try:
        shards = set(weight_map(read_bytes(path, CheckpointError), label=name).values())
    except CheckpointError:
        return True
    return all((path.parent / shard).exists() for shard in shards)
