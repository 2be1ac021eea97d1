"""The entry to the findings: an atlas in, a page in Markdown with its figures, tables and queries out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from scalekeys.atlas import Atlas
from scalekeys.errors import AtlasError
from scalekeys.files import expanded, new_folder
from scalekeys.files.csv_cells import write_csv
from scalekeys.report.atlas.summary import AtlasSummary, summarize_atlas
from scalekeys.report.findings import condition, performance, questions
from scalekeys.report.findings.claims import claims, test_claim, with_all_offsets, with_pitch
from scalekeys.report.findings.finding import Finding, Findings
from scalekeys.report.findings.markdown import networks_page, page
from scalekeys.report.findings.questions import Names
from scalekeys.report.findings.universal import key_findings, read_tables

_MORE: dict[str, Callable[[Finding, Atlas, Names], Finding]] = {
    "half-pixel": with_all_offsets,
    "depth": with_pitch,
}
"""What is added to the finding of a claim."""


def write_findings(
    atlas: Atlas, folder: Path | str, *, keys: Path | str | None = None, force: bool = False
) -> Findings:
    """Test the claims about receptive fields on all networks of an atlas, and write what was found.

    Parameters
    ----------
    atlas : Atlas
        See :func:`scalekeys.atlas.open`.
    folder : Path or str
        Is made: ``README.md`` (the page), ``networks.md`` (all networks with their metadata), ``figures/NAME.png``,
        ``tables/NAME.csv`` and ``queries/NAME.sql``.
    keys : Path or str, optional
        A folder with the tables ``universal_networks.csv`` and ``universal_tasks.csv``, for the claims about keys.
    force : bool
        Replace the files in an existing folder.

    Returns
    -------
    Findings
        A claim that no network of the atlas can test is left out.

    Raises
    ------
    AtlasError
        If the tables cannot be read, or no network of the atlas can test a claim.
    DataError
        If there are no tables of keys in their folder.
    OutputError
        If the folder holds something and `force` is not given, or cannot be written.

    Notes
    -----
    A claim is tested by the mean of each network beside the same mean of noise. Networks of one design (sizes of one
    architecture) count as one. The p of the comparisons that decide about claims are adjusted for their number, and
    those of all others for theirs, by the method of Holm.

    Examples
    --------
    >>> import tempfile
    >>> import scalekeys as sk
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = sk.atlas.build(["builtin:cifar-convnext"], folder / "atlas", workers=0)
    >>> found = sk.write_findings(sk.atlas.open(folder / "atlas"), folder / "findings")
    >>> [finding.name for finding in found.findings][:2], (folder / "findings" / "README.md").exists()
    (['formation', 'families'], True)
    """
    tables = None if keys is None else read_tables(Path(keys))
    names = Names(atlas.sql("select * from networks").columns)
    summary = summarize_atlas(atlas)
    found = Findings(tuple(_findings(atlas, names, summary, tables)))
    if not found.findings:
        raise AtlasError(
            f"{atlas.name}: holds no network with filters that can test a claim; build it with more networks"
        )
    with new_folder(expanded(folder), force=force) as temporary:
        _write(temporary, found.findings)
        text = page(found, summary)
        (temporary / "README.md").write_text(text, encoding="utf-8", newline="\n")
        (temporary / "networks.md").write_text(networks_page(summary), encoding="utf-8", newline="\n")
    return found


def _findings(
    atlas: Atlas, names: Names, summary: AtlasSummary, tables: Mapping[str, pa.Table] | None
) -> Iterator[Finding]:
    designs = {row["source"]: row["design"] for row in atlas.sql(questions.designs(names)).to_arrow().to_pylist()}
    found: list[Finding | None] = [condition.formed(summary, designs)]
    for claim in claims():
        finding = test_claim(claim, atlas, names)
        found.append(_MORE[claim.name](finding, atlas, names) if finding and claim.name in _MORE else finding)
    if tables is not None:
        found += key_findings(tables)
    found += [condition.dead(atlas, names), performance.performance(atlas, names, summary)]
    return (finding for finding in found if finding is not None)


def _write(folder: Path, findings: Sequence[Finding]) -> None:
    for name in ("figures", "tables", "queries"):
        (folder / name).mkdir()
    for finding in findings:
        if finding.plate is not None:
            (folder / "figures" / f"{finding.name}.png").write_bytes(finding.plate.png)
        for name, table in finding.tables.items():
            flat = table.select([field.name for field in table.schema if not pa.types.is_nested(field.type)])
            write_csv(folder / "tables" / f"{name}.csv", flat.schema, flat.to_batches())
        for name, query in finding.queries.items():
            (folder / "queries" / f"{name}.sql").write_text(query.strip() + "\n", encoding="utf-8", newline="\n")
