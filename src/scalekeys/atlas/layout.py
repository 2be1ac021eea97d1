"""The folder of an atlas: where its tables lie, and who may write to it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scalekeys.atlas.schema import SCHEMA_VERSION
from scalekeys.errors import AtlasError, OutputError
from scalekeys.files import held_folder, new_file, writing_to

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
        try:
            known = json.loads(self.settings.read_bytes())
            version, seed = int(known["schema"]), int(known["seed"])
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AtlasError(f"{self.settings}: are no settings of an atlas ({error}); restore it") from None
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
        for path in (*self.folder.glob(".*.tmp"), *self.filters.glob(".*.tmp")):
            path.unlink(missing_ok=True)

    def _check(self, seed: int) -> None:
        """Refuse a folder that cannot become, or go on as, an atlas of this seed."""
        known = self.seed()
        if known is not None and known != seed:
            raise AtlasError(f"{self.folder}: was built with seed {known}; give that, or another folder")
        if known is None and self.folder.is_dir() and any(_visible(self.folder)):
            raise OutputError(f"{self.folder}: holds something else than an atlas; name another folder")


def _visible(folder: Path) -> Iterator[Path]:
    """Yield what is in a folder, but for what an atlas makes before its settings."""
    own = (".lock", FILTERS_FOLDER)
    return (path for path in folder.iterdir() if path.name not in own and not path.match(".atlas.json.*.tmp"))
