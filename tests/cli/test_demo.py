"""The demonstration."""

import pyarrow.parquet as pq
from typer.testing import CliRunner

import scalekeys as sk
from scalekeys.cli import app


def test_the_demo_analyses_what_comes_with_the_package_and_says_where_the_reports_are(tmp_path):
    folder = tmp_path / "demo"
    result = CliRunner().invoke(app, ["demo", "-o", str(folder)], catch_exceptions=False)
    assert result.exit_code == 0
    names = ["cifar-convnext", "denoiser", "master-keys"]
    assert sorted(path.name for path in folder.iterdir()) == names
    for name in names:
        assert (folder / name / "report.html").stat().st_size > 100_000
        assert str(folder / name / "report.html") in result.stdout.replace("\n", "")
        assert len(pq.read_table(folder / name / "filters.parquet")) == len(sk.extract(f"builtin:{name}"))
    page = (folder / "denoiser" / "report.html").read_text()
    assert "<code>scalekeys prune builtin:denoiser --multiple-of 1 -o pruned.pth</code>" in page
    keys = pq.read_table(folder / "master-keys" / "filters.parquet").to_pandas()
    assert tuple(keys.family) == sk.MASTER_KEY_FAMILIES


def test_the_demo_leaves_an_existing_folder_alone(tmp_path):
    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path)])
    assert isinstance(result.exception, sk.OutputError)
    assert str(result.exception).startswith(f"{tmp_path}: this output folder exists already; give --force to replace")
    assert not list(tmp_path.iterdir())


def test_progress_is_silent_when_nobody_watches(tmp_path, capsys):
    from scalekeys.cli.show.progress import working

    with working() as step:
        advance = step("counting", 3)
        advance(1)
    assert capsys.readouterr() == ("", "")
