"""What ``scalekeys paper`` does: read filters, study them, write what was asked for."""

import json
from pathlib import Path

from scalekeys.checkpoints import read_filters
from scalekeys.cli.work import Step
from scalekeys.errors import FilterError, OutputError
from scalekeys.files import check_new_file, check_new_folder, new_file, new_folder
from scalekeys.paper import Study, study

_STANDARD_OUTPUT = "-"


def check_outputs(folder: Path | None, json_file: Path | None, *, force: bool) -> None:
    """Refuse, before any work is done, outputs that exist."""
    if folder is not None:
        check_new_folder(folder, force=force)
    if json_file is None or str(json_file) == _STANDARD_OUTPUT:
        return
    if folder is not None and json_file.absolute() == folder.absolute():
        raise OutputError(f"{json_file}: is a folder; name a file for --json")
    check_new_file(json_file, force=force)


def run_paper(
    filters: Path | None, *, families: str | None, groups: str | None, output: Path | None, force: bool, step: Step
) -> Study:
    """Study the published filters, or those of a file, and write the article where a folder is given."""
    values = None if filters is None else read_filters(filters)
    step("fitting by every method")
    result = study(
        values,
        families=None if families is None else [name.strip() for name in families.split(",")],
        groups=None if groups is None else parse_groups(groups),
        **({} if filters is None else {"source": str(filters)}),
    )
    if output is not None:
        step("drawing figures")
        from scalekeys.report.article import write_article

        with new_folder(output, force=force) as folder:
            write_article(result, folder)
    return result


def parse_groups(text: str) -> list[list[int]]:
    """Read groups of filter numbers.

    Examples
    --------
    >>> parse_groups("1,2,8/5,6")
    [[1, 2, 8], [5, 6]]
    """
    try:
        return [[int(number) for number in group.split(",")] for group in text.split("/")]
    except ValueError:
        raise FilterError(f"--groups {text!r}: write numbers of filters like 1,2,3,4,8/5,6") from None


def write_json(result: Study, path: Path, *, force: bool) -> None:
    """Write the figures of a study at full precision to a file, or to standard output for ``-``."""
    text = json.dumps(result.to_dict(), indent=2) + "\n"
    if str(path) == _STANDARD_OUTPUT:
        print(text, end="")  # noqa: T201
        return
    with new_file(path, force=force) as temporary:
        temporary.write_text(text, encoding="utf-8")
