"""The article of a study: complete, exact, safe against names, the same every time, and right for any filters."""

import base64
import csv
import io
import math
import re
import struct
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from parsed_page import ParsedPage

from scalekeys.paper import METHODS, compare, questionable_conventions, study
from scalekeys.report.article import curves, panels, plates, sentences, typeset, write_article
from scalekeys.report.article.measures import Material
from scalekeys.report.article.table import Deviation, Table, to_csv, to_html, to_tex
from scalekeys.report.article.tables import all_tables
from scalekeys.report.page import canvas
from scalekeys.report.page.words import number, significant, size_name
from scalekeys.scalespace import template

HOSTILE = '<script>alert("x")</script> 50%_of & {x}^2 ~ $1 #\\é'
FIGURES = {
    "filters", "models_per_axis", "models_common_shared", "residuals_per_axis", "residuals_common_shared", "dc_offset",
    "surface_l1", "surface_l2", "richer",
}  # fmt: skip
TABLES = {
    "spread", "weighted_spread", "dc_offset", "normalised", "scales_per_axis", "scales_common", "scales_shared",
    "sharpening", "residuals", "exact_window", "uncertainty", "richer_models", "disagreements", "agreement",
}  # fmt: skip
SECTIONS = [
    "filters", "spread", "normalisation", "scales", "residuals", "surfaces", "sharpening", "window", "uncertainty",
    "richer", "disagreements", "agreement", "method",
]  # fmt: skip


def _random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def keys(once):
    return once(study)


@pytest.fixture(scope="module")
def one():
    return study(_random(0, 1, 3, 5), source=HOSTILE)


@pytest.fixture(scope="module")
def twelve():
    filters = _random(0, 12, 5, 5)
    filters[10, 2, 2] += 20
    filters[11] = template("smooth", torch.tensor([0.9, 0.7], dtype=torch.float64), 5) + 0.01
    return study(filters, families=["dx+", "sharpen", "smooth"] * 4, source="mine.npy")


@pytest.fixture(scope="module")
def written(tmp_path_factory, keys, one, twelve):
    folders, told = {}, []
    for name, result in (("keys", keys), ("one", one), ("twelve", twelve)):
        folders[name] = tmp_path_factory.mktemp(name)
        with mock.patch.object(canvas, "file_bytes", without_pdf) if name == "twelve" else nullcontext():
            write_article(result, folders[name], told.append if name == "keys" else None)
    return folders, told


def without_pdf(figure, kind, draw=canvas.file_bytes):
    """Spare the time that the figures for print take, where a test does not look at them."""
    return b"" if kind == "pdf" else draw(figure, kind)


@pytest.fixture(scope="module")
def page(written):
    return lambda name: (written[0][name] / "article.html").read_text(encoding="utf-8")


def rows(folder, name):
    return list(csv.DictReader(io.StringIO((folder / "tables" / f"{name}.csv").read_text(encoding="utf-8"))))


def test_every_file_is_there(written):
    folders, told = written
    folder = folders["keys"]
    assert {path.name for path in folder.iterdir()} == {"article.html", "figures", "tables"}
    assert {p.name for p in (folder / "figures").iterdir()} == {f"{n}.{e}" for n in FIGURES for e in ("pdf", "png")}
    assert {p.name for p in (folder / "tables").iterdir()} == {f"{n}.{e}" for n in TABLES for e in ("csv", "tex")}
    assert sorted(told) == sorted(["article", *(f"figures/{n}" for n in FIGURES), *(f"tables/{n}" for n in TABLES)])
    for path in (folder / "figures").glob("*.pdf"):
        data = path.read_bytes()
        assert data.startswith(b"%PDF"), path
        assert data.rstrip().endswith(b"%%EOF"), path
        assert b"/CreationDate" not in data
        assert b"/Type3" not in data


def test_without_content_a_file_is_left_out(written):
    for name, missing in (
        ("one", {"dc_offset", "normalised", "sharpening", "disagreements", "agreement"}),
        ("twelve", {"normalised", "disagreements", "agreement"}),
    ):
        folder = written[0][name]
        assert {p.stem for p in (folder / "tables").iterdir()} == TABLES - missing
        assert {p.stem for p in (folder / "figures").iterdir()} == FIGURES - missing


def test_scales_stand_in_the_tables_with_every_digit(written, keys):
    for row in rows(written[0]["keys"], "scales_per_axis"):
        sigma = keys.fits["published", row["method"]].sigma[int(row["filter"]) - 1]
        assert [float(row["sigma_x"]), float(row["sigma_y"])] == sigma.tolist()
        assert float(row["|K - N| / |N|"]) == float(keys.relative_error(row["method"])[int(row["filter"]) - 1])
    common = rows(written[0]["keys"], "scales_common")
    assert len(common) == 14
    for row in common:
        i = int(row["filter"]) - 1
        assert float(row["sigma"]) == float(keys.fits["published", row["method"]].sigma[i, 0])
    for row in rows(written[0]["keys"], "scales_shared"):
        first = int(re.match(r"\d", row["filters"])[0]) - 1
        assert float(row["sigma"]) == float(keys.fits["published", row["method"]].sigma[first, 0])


def test_the_other_tables_equal_the_study(written, keys):
    folder = written[0]["keys"]
    for i, row in enumerate(rows(folder, "residuals")):
        assert [float(row[m.name]) for m in METHODS] == [float(keys.relative_error(m.name)[i]) for m in METHODS]
    for i, row in enumerate(rows(folder, "uncertainty")):
        result = keys.fits["published", "D1"]
        errors = [float(row[f"error of sigma_{axis}"] or "nan") for axis in "xy"]
        assert errors == pytest.approx(result.sigma_error[i].tolist(), rel=0, abs=0, nan_ok=True)
        assert [row[f"status of sigma_{axis}"] for axis in "xy"] == result.sigma_status[i].tolist()
    for i, row in enumerate(rows(folder, "richer_models")):
        assert [float(v) for v in list(row.values())[2:]] == [float(fit.r2[i]) for fit in keys.richer.values()]
        assert list(row)[2:] == [
            "single family, 4 numbers",
            "1-jet, 6 numbers",
            "2-jet, 9 numbers",
            "3-jet, 13 numbers",
        ]
    for row in rows(folder, "dc_offset"):
        assert float(row["C"]) == keys.dc_offset[row["filter"]]
        assert float(row["objective at C"]) < float(row["objective at 0"])
    c1, d1 = (keys.fits["published", method] for method in ("C1", "D1"))
    for row, result in zip(rows(folder, "sharpening"), (c1, d1), strict=True):
        assert (float(row["sigma"]), float(row["alpha"])) == (float(result.sigma[6, 0]), float(result.alpha[6]))
    spread = [row for row in rows(folder, "spread") if row["value"] == "computed"]
    assert [float(row["Vxy"]) for row in spread] == keys.spread.covariance[:, 0, 1].tolist()
    weighted = rows(folder, "weighted_spread")
    assert [float(row["mean y"]) for row in weighted] == keys.weighted_spread.mean[:, 1].tolist()
    cases = [
        (row["disagreement"], float(row["published"]), float(row["here"])) for row in rows(folder, "disagreements")
    ]
    assert cases == [(c.title, c.published, c.here) for c in questionable_conventions(keys)]


def test_every_published_value_stands_beside_the_computed_one(written, keys):
    folder = written[0]["keys"]
    known = sorted(one.published for one in compare(keys))
    beside = []
    for name in ("scales_per_axis", "scales_common", "scales_shared", "sharpening", "dc_offset", "normalised"):
        head, *lines = csv.reader((folder / "tables" / f"{name}.csv").read_text().splitlines())
        columns = [i for i, title in enumerate(head) if title == "published"]
        cells = [line[i] for line in lines for i in columns]
        beside += [float(cell) for cell in cells if cell]
    spread = [row for row in rows(folder, "spread") if row["value"] == "published"]
    beside += [float(value) for row in spread for value in list(row.values())[3:]]
    assert sorted(beside) == known
    summary = rows(folder, "agreement")
    assert sum(int(row["values"]) for row in summary) == len(known)
    for row in summary:
        mine = [one.deviation for one in compare(keys) if one.table == row["table"]]
        assert float(row["deviation"]) == max(mine)


def test_the_exact_window_moves_the_first_filter_most(written, keys):
    table = rows(written[0]["keys"], "exact_window")
    largest = [float(row["largest"]) for row in table]
    assert largest == sorted(largest, reverse=True)
    for row in table:
        i = int(row["filter"]) - 1
        moved = keys.fits["exact", "B1"].sigma[i] - keys.fits["published", "B1"].sigma[i]
        if keys.families[i] != "sharpen":
            assert [float(row["B1 sigma_x"]), float(row["B1 sigma_y"])] == moved.tolist()
        assert float(row["largest"]) >= float(moved.abs().max())


@pytest.mark.parametrize("name", ["keys", "one", "twelve"])
def test_latex_is_whole(written, name):
    for path in (written[0][name] / "tables").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        bare = re.sub(r"\\[{}%&$#_]|^%.*$", "", text, flags=re.MULTILINE)
        depth = 0
        for character in bare:
            depth += (character == "{") - (character == "}")
            assert depth >= 0, path
        assert depth == 0, path
        assert bare.count("$") % 2 == 0, path
        opened, closed = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
        assert sorted(opened) == sorted(closed) == ["table", "tabular"]
        assert f"\\label{{tab:{path.stem}}}" in text
        assert r"\caption{" in text
        columns = re.search(r"\\begin{tabular}{((?:[lr]|p{[^}]*})+)}", text.replace(r"\textwidth}", "w}"))[1]
        width = len(re.sub(r"p{[^}]*}", "l", columns))
        body = [re.sub(r"\\&", "", line) for line in text.splitlines() if line.endswith(r"\\")]
        assert {line.count("&") for line in body} == {width - 1}, path
        assert len(body) == len(rows(written[0][name], path.stem)) + 1
        assert not re.search(r"[#%_^~]", re.sub(r"\$[^$]*\$|\\label{.*", "", bare)), path


def test_latex_escapes_a_source():
    escaped = typeset.escape_tex(HOSTILE)
    assert escaped == (
        r'\textless{}script\textgreater{}alert("x")\textless{}/script\textgreater{} 50\%\_of \& '
        r"\{x\}\textasciicircum{}2 \textasciitilde{} \$1 \#\textbackslash{}é"
    )
    assert typeset.escape_tex("sigma_x\n\x00.npy") == r"sigma\_x  .npy"
    assert "sigma\\_x.npy" in to_tex(Table("t", "Scales sigma_x.", ("a",), ((0.5,),)), "sigma_x.npy")


def test_a_table_says_what_is_missing_and_what_is_small():
    cells = (("a", 1e-9, 3), ("b", math.nan, 4), ("c", Deviation(4.9e-5), None))
    table = Table("t", "Of sigma_x, 5 %.", ("name", "r2", "n"), cells)
    assert to_csv(table) == "name,r2,n\na,1e-09,3\nb,,4\nc,4.9e-05,\n"
    tex = to_tex(table, "s")
    assert r"a & $0.0000$ & $3$ \\" in tex
    assert r"b & -- & $4$ \\" in tex
    assert r"c & $4.9\times10^{-5}$ & -- \\" in tex
    assert r"name & $r^2$ & n \\" in tex
    html = to_html(table)
    assert "r²" in html
    assert significant(4.9e-5) in html
    assert 'class="num">3<' in html


def test_the_article_has_its_sections(page):
    for name, missing in (("keys", ()), ("one", ("sharpening", "disagreements", "agreement"))):
        parsed = ParsedPage(page(name))
        assert [section["id"] for section in parsed.of("section")] == [s for s in SECTIONS if s not in missing]
        identifiers = [attributes["id"] for _, attributes in parsed.elements if "id" in attributes]
        assert len(identifiers) == len(set(identifiers))
        links = {a["href"][1:] for a in parsed.of("a") if a["href"].startswith("#")}
        assert links <= set(identifiers)


@pytest.mark.parametrize("name", ["keys", "one", "twelve"])
def test_the_article_asks_for_nothing(page, name):
    source = page(name)
    parsed = ParsedPage(source)
    assert parsed.loaded == []
    assert "url(" not in source[source.index("<style>") : source.index("</style>")]
    assert parsed.links == ["https://arxiv.org/abs/2509.12746"]


@pytest.mark.parametrize("name", ["keys", "one", "twelve"])
def test_every_picture_has_an_alternative_and_is_the_file(written, page, name):
    parsed = ParsedPage(page(name))
    images = parsed.of("img")
    assert all(len(image["alt"]) > 30 for image in images)
    assert all(svg.get("aria-label") for svg in parsed.of("svg"))
    files = {path.read_bytes() for path in (written[0][name] / "figures").glob("*.png") if path.stem != "filters"}
    assert {base64.b64decode(image["src"].partition(",")[2]) for image in images} == files


def test_a_hostile_source_is_shown_and_not_run(page):
    source = page("one")
    assert "<script>alert" not in source
    assert len(ParsedPage(source).of("script")) == len(ParsedPage(page("keys")).of("script"))
    assert HOSTILE in ParsedPage(source).text


def test_the_lead_states_what_is_reached_and_what_is_not(page, keys):
    text = ParsedPage(page("keys")).text
    assert "Before you read on" not in text  # there is nothing to be said before
    values = compare(keys)
    reached = [one for one in values if one.reached]
    assert f"{len(reached)} of {len(values)} published values are reached" in text
    for one in values:
        if not one.reached:
            assert f"published {number(one.published, 4)} and here {number(one.computed, 4)}" in text
    for case in questionable_conventions(keys)[:2]:
        assert case.title in text[:2500]
    own = ParsedPage(page("twelve")).text
    assert "There are no published values to compare with." in own
    assert "reached" not in own


def test_sentences_agree_with_one_and_with_many(page):
    one, many = (ParsedPage(page(name)).text for name in ("one", "twelve"))
    assert f"1 filter of {size_name('3x5')} taps." in one
    assert "the model leaves a relative residual" in one
    assert f"12 filters of {size_name('5x5')} taps." in many
    assert "the models leave a relative residual" in many
    assert "No filter is a smoothing or a sharpening" in one
    for text in (one, many):
        assert not re.search(r"\b1 (?:filters|values|scales)\b|\bnan\b|\bNone\b|\binf\b", text)


def test_jets_with_as_many_numbers_as_taps_are_said_to_mean_nothing():
    tiny = study(_random(1, 2, 3, 3), families=["smooth", "sharpen"])
    text = " ".join(sentences.richer(Material(tiny)))
    assert "The 2-jet and 3-jet spend as many numbers as a filter has taps" in text
    assert "share, by the methods" not in text


def test_no_groups_and_only_sharpening():
    alone = study(_random(2, 1, 5, 5), families=["sharpen"], groups=[])
    material = Material(alone)
    tables = all_tables(material)
    assert {"scales_per_axis", "scales_common", "scales_shared"}.isdisjoint(tables)
    assert "No filters share a scale" in sentences.no_groups(material)
    with mock.patch.object(canvas, "file_bytes", return_value=b""):
        assert {plate.name for plate in plates.draw_all(material)} == FIGURES


@pytest.mark.parametrize("name", ["keys", "one", "twelve"])
def test_figures_have_their_size_and_are_not_blank(written, name):
    images = pytest.importorskip("PIL.Image")
    for path in (written[0][name] / "figures").glob("*.png"):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width <= canvas.PAGE * canvas.DPI, path
        assert min(width, height) > 150, path
        with images.open(path) as image:
            grey = image.convert("L")
            assert grey.getextrema()[1] == 255, path
            assert grey.getextrema()[0] < 100, path
            frame = [grey.getpixel((x, y)) for x in range(width) for y in (0, height - 1)]
            assert min(frame) > 200, path  # nothing is cut off at the edge


def test_column_widths(keys, one):
    with canvas.style():
        assert curves.richer(Material(keys)).get_size_inches()[0] == canvas.COLUMN
        assert curves.surfaces(Material(keys), 1).get_size_inches()[0] == canvas.PAGE
        assert curves.surfaces(Material(one), 1).get_size_inches()[0] == canvas.COLUMN
        assert curves.dc_offset(Material(one)) is None


def marks(figure):
    return [artist for artist in figure.findobj() if artist.get_gid() == curves.MARKED]


def test_published_marks_stand_in_published_studies_only(keys, twelve):
    with canvas.style():
        for draw, expected in (
            (curves.dc_offset, 2),
            (lambda material: curves.surfaces(material, 1), 8),
            (lambda material: curves.surfaces(material, 2), 8),
        ):
            assert len(marks(draw(Material(keys)))) == expected
            assert marks(draw(Material(twelve))) == []


def test_the_published_sharpening_is_marked_where_it_was_published(keys):
    with canvas.style():
        l1, l2 = (marks(curves.surfaces(Material(keys), norm)) for norm in (1, 2))
    assert (l1[6].get_xdata()[0], l1[6].get_ydata()[0]) == (0.65377, 0.5216)
    assert (l2[6].get_xdata()[0], l2[6].get_ydata()[0]) == (0.6754, 0.5256)
    assert l2[3].get_xdata()[0] == l2[3].get_ydata()[0] == 0.379621


def test_normalised_filters_and_models_fit_together(keys):
    material = Material(keys)
    for method in METHODS:
        difference = torch.as_tensor(material.models(method.name) - material.normalised)
        expected = keys.fits["published", method.name].residual_l2 / keys.fits["published", method.name].amplitude.abs()
        torch.testing.assert_close(torch.linalg.vector_norm(difference, dim=(-2, -1)), expected)


def test_the_same_study_gives_the_same_bytes(written, one, tmp_path):
    write_article(one, tmp_path)
    first = written[0]["one"]
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in files:
        assert (first / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_settings_of_the_session_neither_matter_nor_change(one):
    matplotlib = pytest.importorskip("matplotlib")
    material = Material(one)
    with canvas.style():
        expected = canvas.file_bytes(panels.filters(material), "png")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        with canvas.style():
            assert canvas.file_bytes(panels.filters(material), "png") == expected
        assert matplotlib.rcParams["font.size"] == 20
