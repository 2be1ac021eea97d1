"""The folder of an atlas: where its tables lie, and who may write to it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from scalekeys.atlas.schema import SCHEMA_VERSION
from scalekeys.errors import AtlasError, OutputError
from scalekeys.files import clear_leftovers, exists, held_folder, is_file, new_file, parse_json, read_bytes, writing_to

FILTERS_FOLDER, UNLISTED_FOLDER, EXPORT_SETTINGS = "filters", "unlisted", "export.json"
DEPTHWISE = "depthwise"
"""The kind of convolutions that an atlas is of unless others are asked for."""


@dataclass(frozen=True)
class Settings:
    """How an atlas is built."""

    version: int
    """Of the form of its tables."""
    seed: int
    """Of white and matched noise."""
    kinds: str
    """The kinds of convolutions whose filters are in it."""
    older: Mapping[str, int] = field(default_factory=dict)
    """The version of the form of networks of an export whose rows are of an older one, by content hash."""


@dataclass(frozen=True)
class Layout:
    """The files of an atlas in a folder."""

    folder: Path

    unfinished: ClassVar[str] = "is not finished; run `scalekeys atlas build` again"
    repair: ClassVar[str] = "`scalekeys atlas build` with one of its sources writes it again"
    repair_rows: ClassVar[str] = "remove it, and build again with its source"

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
        return self._table("networks")

    @property
    def failures(self) -> Path:
        """One row a source that was not read."""
        return self._table("failures")

    @property
    def left_out(self) -> Path:
        """One row a tensor or layer of a source that looks like a kernel and was not read."""
        return self._table("left_out")

    @property
    def journal(self) -> Path:
        """What is known of each source, for the next run."""
        return self.folder / "journal.jsonl"

    def _table(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def rows_of(self, content: str) -> Path:
        """Return the file of the rows of a network."""
        return self.filters / f"{content}.parquet"

    def files(self, contents: Iterable[str]) -> list[Path]:
        """Return the files of the rows of networks; raises AtlasError if one is missing."""
        files = [self.rows_of(content) for content in contents]
        for file in files:
            if not is_file(file):
                raise AtlasError(f"{file}: is missing; build again with its source")
        return files

    def known(self) -> "Settings | None":
        """Return how the atlas is built; None if there is no atlas yet.

        Raises AtlasError if the settings are damaged, or of a newer form.
        """
        if not exists(self.settings):
            return None
        content = read_bytes(self.settings, AtlasError)
        try:
            settings = _settings(parse_json(content))
        except ValueError as error:
            raise AtlasError(f"{self.settings}: is damaged ({error}); {self._repair_settings}") from None
        if settings.version > SCHEMA_VERSION:
            raise AtlasError(
                f"{self.folder}: is of form {settings.version}, and this scalekeys knows forms up to {SCHEMA_VERSION}; "
                "update it"
            )
        return settings

    @property
    def _repair_settings(self) -> str:
        return (
            f'write {{"schema": {SCHEMA_VERSION}, "seed": 0}} into it, with the seed of the atlas if it was built with '
            "another one"
        )

    @contextmanager
    def building(self, seed: int, kinds: str = DEPTHWISE) -> Iterator[None]:
        """Make the folder ready, and keep other builders away while a block runs.

        Raises AtlasError if the folder holds something else, an atlas of another seed, of other kinds or of a newer
        form, or is being built; OutputError if it cannot be written.
        """
        self._check(seed, kinds)
        busy = AtlasError(f"{self.folder}: is being built by another process; wait until it is done")
        with held_folder(self.folder, busy):
            with writing_to(self.filters):
                self.filters.mkdir(exist_ok=True)
            self.clear_temporaries()
            self.write_settings(Settings(SCHEMA_VERSION, seed, kinds))
            try:
                yield
            finally:
                self.clear_temporaries()

    def write_settings(self, settings: Settings) -> None:
        """Say how the atlas is built."""
        known = {"schema": settings.version, "seed": settings.seed, "kinds": settings.kinds}
        if settings.older:
            known["older"] = dict(sorted(settings.older.items()))
        with new_file(self.settings, force=True) as temporary:
            temporary.write_text(json.dumps(known) + "\n", encoding="utf-8")

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
        if known is None and is_export(self.folder):
            raise AtlasError(f"{self.folder}: is an export; `scalekeys atlas merge` makes an atlas of it to go on with")
        with writing_to(self.folder):
            strange = known is None and self.folder.is_dir() and any(_visible(self.folder))
        if strange:
            raise OutputError(f"{self.folder}: holds something else than an atlas; name another folder")


@dataclass(frozen=True)
class ExportLayout(Layout):
    """The files of an export of an atlas in a folder."""

    unfinished: ClassVar[str] = "is missing; copy the whole export again"
    repair: ClassVar[str] = "copy the export again, and check it with `sha256sum -c SHA256SUMS`"
    repair_rows: ClassVar[str] = repair

    @property
    def settings(self) -> Path:
        """Version of the form, the seed of the noise, the kinds of convolutions, and networks of older forms."""
        return self.folder / EXPORT_SETTINGS

    @property
    def filters(self) -> Path:
        """Rows of filters, in parts of bounded size."""
        return self._table("filters").parent

    @property
    def card(self) -> Path:
        """What the tables are, for people and for the hub."""
        return self.folder / "README.md"

    @property
    def checksums(self) -> Path:
        """The SHA-256 of each of the other files, as ``sha256sum -c`` reads them."""
        return self.folder / "SHA256SUMS"

    def part(self, number: int, count: int) -> Path:
        """Return the file of one of so many parts of the rows of filters, which are numbered from 0."""
        return self.filters / f"filters-{number:05d}-of-{count:05d}.parquet"

    def parts(self) -> list[Path]:
        """Return the files of rows that are there, in order."""
        return sorted(self.filters.glob("filters-*-of-*.parquet"))

    def files(self, contents: Iterable[str]) -> list[Path]:  # noqa: ARG002
        """Return all parts of the rows of filters.

        Raises AtlasError if one is missing, or there are parts of another export.
        """
        found = self.parts()
        whole = [self.part(number, len(found)) for number in range(len(found))]
        if not found or found != whole:
            raise AtlasError(f"{self.filters}: its parts are not all those of one export; {self.repair}")
        return found

    @property
    def _repair_settings(self) -> str:
        return self.repair

    def _table(self, name: str) -> Path:
        return self.folder / "data" / name / f"{name}.parquet"


def is_export(folder: Path) -> bool:
    """Tell whether a folder holds an export of an atlas."""
    return exists(folder / EXPORT_SETTINGS)


def layout_of(folder: Path) -> Layout:
    """Return the layout of an atlas or of an export, whichever a folder holds."""
    return ExportLayout(folder) if is_export(folder) else Layout(folder)


def _visible(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, but for what an atlas makes before its settings."""
    own = (".lock", FILTERS_FOLDER)
    return (path for path in folder.iterdir() if path.name not in own and not path.match(".atlas.json.*.tmp"))


def is_content(text: object) -> bool:
    """Tell whether a value is a content hash, which is part of the name of a file."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def _settings(known: object) -> Settings:
    """Return version, seed and kinds, which atlases of versions 1 and 2 do not name.

    Raises ValueError if version and seed are not there or no whole numbers, the kinds are no word, or older forms no
    such mapping.
    """
    values = known if isinstance(known, dict) else {}
    version, seed = values.get("schema"), values.get("seed")
    kinds, older = values.get("kinds", DEPTHWISE), values.get("older", {})
    if not isinstance(older, dict) or not all(is_content(name) and type(form) is int for name, form in older.items()):
        raise ValueError("its older forms are no whole numbers by content hash")
    if type(version) is int and version > 0 and type(seed) is int and isinstance(kinds, str):
        return Settings(version, seed, kinds, older)
    raise ValueError("it needs the whole numbers schema and seed")
