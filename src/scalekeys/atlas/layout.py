"""The folder of an atlas: where its tables lie, and who may write to it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scalekeys.atlas.schema import SCHEMA_VERSION
from scalekeys.errors import AtlasError, OutputError
from scalekeys.files import clear_leftovers, exists, held_folder, new_file, parse_json, read_bytes, writing_to

FILTERS_FOLDER, UNLISTED_FOLDER = "filters", "unlisted"
DEPTHWISE = "depthwise"
"""The kind of convolutions that an atlas is of unless others are asked for."""


@dataclass(frozen=True)
class Settings:
    """How an atlas is built.

    Parameters
    ----------
    version : int
        Of the form of its tables.
    seed : int
        Of white and matched noise.
    kinds : str
        The kinds of convolutions whose filters are in it.
    """

    version: int
    seed: int
    kinds: str


@dataclass(frozen=True)
class Layout:
    """The files of an atlas in a folder."""

    folder: Path

    @property
    def settings(self) -> Path:
        """Version of the form, the seed of the noise, and the kinds of convolutions."""
        return self.folder / "atlas.json"

    @property
    def filters(self) -> Path:
        """Rows of filters: a file for each network, named by its content hash."""
        return self.folder / FILTERS_FOLDER

    @property
    def unlisted(self) -> Path:
        """Rows of networks that no source stands for at present; they are taken back where one does again."""
        return self.folder / UNLISTED_FOLDER

    @property
    def networks(self) -> Path:
        """One row a source that was read."""
        return self.folder / "networks.parquet"

    @property
    def failures(self) -> Path:
        """One row a source that was not read."""
        return self.folder / "failures.parquet"

    @property
    def left_out(self) -> Path:
        """One row a tensor or layer of a source that looks like a kernel and was not read."""
        return self.folder / "left_out.parquet"

    @property
    def journal(self) -> Path:
        """What is known of each source, for the next run."""
        return self.folder / "journal.jsonl"

    def rows_of(self, content: str) -> Path:
        """Return the file of the rows of a network."""
        return self.filters / f"{content}.parquet"

    def known(self) -> "Settings | None":
        """Return how the atlas is built; None if there is no atlas yet.

        Raises
        ------
        AtlasError
            If the settings are damaged, or of a newer form.
        """
        if not exists(self.settings):
            return None
        content = read_bytes(self.settings, AtlasError)
        try:
            settings = _settings(parse_json(content))
        except ValueError as error:
            raise AtlasError(
                f'{self.settings}: is damaged ({error}); write {{"schema": {SCHEMA_VERSION}, "seed": 0}} into it, with '
                "the seed of the atlas if it was built with another one"
            ) from None
        if settings.version > SCHEMA_VERSION:
            raise AtlasError(
                f"{self.folder}: is of form {settings.version}, and this scalekeys knows forms up to {SCHEMA_VERSION}; "
                "update it"
            )
        return settings

    @contextmanager
    def building(self, seed: int, kinds: str = DEPTHWISE) -> Iterator[None]:
        """Make the folder ready, and keep other builders away while a block runs.

        Raises
        ------
        AtlasError
            If the folder holds something else, an atlas of another seed, of other kinds or of a newer form, or is being
            built.
        OutputError
            If it cannot be written.
        """
        self._check(seed, kinds)
        busy = AtlasError(f"{self.folder}: is being built by another process; wait until it is done")
        with held_folder(self.folder, busy):
            with writing_to(self.filters):
                self.filters.mkdir(exist_ok=True)
            self.clear_temporaries()
            with new_file(self.settings, force=True) as temporary:
                settings = {"schema": SCHEMA_VERSION, "seed": seed, "kinds": kinds}
                temporary.write_text(json.dumps(settings) + "\n", encoding="utf-8")
            yield

    def clear_temporaries(self) -> None:
        """Remove what workers left that died while they wrote."""
        for folder in (self.folder, self.filters):
            clear_leftovers(folder / self.settings.name)

    def _check(self, seed: int, kinds: str) -> None:
        """Refuse a folder that cannot become, or go on as, an atlas of this seed and of these kinds."""
        known = self.known()
        if known is not None and known.seed != seed:
            raise AtlasError(f"{self.folder}: was built with seed {known.seed}; give that, or another folder")
        if known is not None and known.kinds != kinds:
            raise AtlasError(f"{self.folder}: was built of kinds {known.kinds!r}; give these, or another folder")
        with writing_to(self.folder):
            strange = known is None and self.folder.is_dir() and any(_visible(self.folder))
        if strange:
            raise OutputError(f"{self.folder}: holds something else than an atlas; name another folder")


def _visible(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, but for what an atlas makes before its settings."""
    own = (".lock", FILTERS_FOLDER)
    return (path for path in folder.iterdir() if path.name not in own and not path.match(".atlas.json.*.tmp"))


def is_content(text: object) -> bool:
    """Tell whether a value is a content hash, which is part of the name of a file."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def _settings(known: object) -> Settings:
    """Return version, seed and kinds, which atlases of versions 1 and 2 do not name.

    Raises
    ------
    ValueError
        If version and seed are not there or no whole numbers, or the kinds are no word.
    """
    values = [known.get(name) for name in ("schema", "seed")] if isinstance(known, dict) else []
    kinds = known.get("kinds", DEPTHWISE) if isinstance(known, dict) else None
    match values:
        case [int(version), int(seed)] if version > 0 and not isinstance(version, bool) and not isinstance(seed, bool):
            if isinstance(kinds, str):
                return Settings(version, seed, kinds)
    raise ValueError("it needs the whole numbers schema and seed")
