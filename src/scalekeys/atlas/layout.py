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


@dataclass(frozen=True)
class Layout:
    """The files of an atlas in a folder."""

    folder: Path

    @property
    def settings(self) -> Path:
        """Version of the form, and the seed of the random control."""
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

    def seed(self) -> int | None:
        """Return the seed of the random control; None if there is no atlas yet.

        Raises
        ------
        AtlasError
            If the settings are damaged, or of a newer form.
        """
        if not exists(self.settings):
            return None
        content = read_bytes(self.settings, AtlasError)
        try:
            version, seed = _settings(parse_json(content))
        except ValueError as error:
            raise AtlasError(
                f'{self.settings}: is damaged ({error}); write {{"schema": {SCHEMA_VERSION}, "seed": 0}} into it, with '
                "the seed of the atlas if it was built with another one"
            ) from None
        if version > SCHEMA_VERSION:
            raise AtlasError(
                f"{self.folder}: is of form {version}, and this scalekeys knows forms up to {SCHEMA_VERSION}; update it"
            )
        return seed

    @contextmanager
    def building(self, seed: int) -> Iterator[None]:
        """Make the folder ready, and keep other builders away while a block runs.

        Raises
        ------
        AtlasError
            If the folder holds something else, an atlas of another seed or of a newer form, or is being built.
        OutputError
            If it cannot be written.
        """
        self._check(seed)
        busy = AtlasError(f"{self.folder}: is being built by another process; wait until it is done")
        with held_folder(self.folder, busy):
            with writing_to(self.filters):
                self.filters.mkdir(exist_ok=True)
            self.clear_temporaries()
            with new_file(self.settings, force=True) as temporary:
                temporary.write_text(json.dumps({"schema": SCHEMA_VERSION, "seed": seed}) + "\n", encoding="utf-8")
            yield

    def clear_temporaries(self) -> None:
        """Remove what workers left that died while they wrote."""
        for folder in (self.folder, self.filters):
            clear_leftovers(folder / self.settings.name)

    def _check(self, seed: int) -> None:
        """Refuse a folder that cannot become, or go on as, an atlas of this seed."""
        known = self.seed()
        if known is not None and known != seed:
            raise AtlasError(f"{self.folder}: was built with seed {known}; give that, or another folder")
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


def _settings(known: object) -> tuple[int, int]:
    """Return version and seed.

    Raises
    ------
    ValueError
        If they are not there, or no whole numbers.
    """
    values = [known.get(name) for name in ("schema", "seed")] if isinstance(known, dict) else []
    match values:
        case [int(version), int(seed)] if version > 0 and not isinstance(version, bool) and not isinstance(seed, bool):
            return version, seed
    raise ValueError("it needs the whole numbers schema and seed")
