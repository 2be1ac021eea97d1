"""The rows of a network are those of a fit of its bank, however it is read."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from atlas_cases import network
from safetensors.torch import save_file

import scalekeys as sk
from scalekeys.atlas import rows as module
from scalekeys.atlas.rows import identify, rows
from scalekeys.atlas.schema import FILTERS, SCHEMA_VERSION
from scalekeys.atlas.shape_columns import shape_columns
from scalekeys.checkpoints import open_source
from scalekeys.errors import CheckpointError
from scalekeys.filters import FilterBank, matched_noise_like, white_noise_like


def rows_of(source, name="net"):
    checkpoint = open_source(source)
    content, _, _ = identify(checkpoint)
    return list(rows(checkpoint, source=name, content=content))


def test_the_form_has_the_columns_of_a_fit_in_their_order():
    """A new column of a fit, or another type, is a new form of the atlas: raise its version."""
    fitted = sk.fit(sk.master_keys()).to_arrow().schema
    plain = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in fitted]
    oriented = {"sigma_along", "sigma_across"}  # of families that the atlas does not fit
    plain = [field for field in plain if field.name not in oriented]
    names = [field.name for field in plain]
    assert [name for name in FILTERS.names if name in names] == names
    assert [FILTERS.field(name).type for name in names] == [field.type for field in plain]
    of_fits = ["r2_jet2", "r2_white", "r2_matched", "r2_aligned", "r2_oriented", "angle_oriented"]
    shapes = ["centre_x", "centre_y", "centre_z", "rank1", "rank2", "rank3", "rank1_centred", "key", "key_correlation"]
    of_shapes = [f"{name}{control}" for name in shapes for control in ("", "_white", "_matched")]
    of_noise = ["gain_white", "gain_matched", "family_white", "family_matched", "sigma_white", "sigma_matched"]
    assert FILTERS.names[len(names) + 1 :] == [
        *of_fits, *of_noise, *of_shapes, "source", "content_hash", "software_version",
    ]  # fmt: skip
    assert SCHEMA_VERSION == 4


def test_the_rows_are_those_of_four_fits_of_the_bank():
    bank = sk.extract(network(0))
    (table,) = rows_of(network(0))
    assert table.schema.equals(FILTERS)
    fitted = sk.fit(bank).to_arrow()
    for name in set(fitted.column_names) - {"sigma_along", "sigma_across"}:
        assert table[name].to_pylist() == fitted[name].to_pylist(), name
    assert table["r2_jet2"].to_pylist() == sk.fit(bank, "jet2").r2.tolist()
    assert table["r2_white"].to_pylist() == sk.fit(white_noise_like(bank)).r2.tolist()
    assert table["r2_matched"].to_pylist() == sk.fit(matched_noise_like(bank)).r2.tolist()
    found = sk.orientation(bank)
    measured = {"r2_aligned": found.aligned, "r2_oriented": found.free, "angle_oriented": found.angle}
    for name, noise in (("gain_white", white_noise_like(bank)), ("gain_matched", matched_noise_like(bank))):
        measured[name] = sk.orientation(noise).gain_beyond(sk.fit(noise).r2)
    for name, values in measured.items():
        assert table[name].to_pylist() == values.tolist(), name
    for control, each in (("", bank), ("_white", white_noise_like(bank)), ("_matched", matched_noise_like(bank))):
        assert table[f"family{control}"].to_pylist() == sk.fit(each).family.tolist()
        for name, values in shape_columns(each).items():
            column = table[f"{name}{control}"]
            assert column.equals(pa.chunked_array([values]).cast(column.type)), name
    assert set(table["kind"].to_pylist()) == {"depthwise"}
    for name in ("kernel_depth", "sigma_z", "sigma_z_error"):
        assert table[name].null_count == len(table)
    assert set(table["source"].to_pylist()) == {"net"}
    assert set(table["software_version"].to_pylist()) == {sk.__version__}


def test_reading_in_small_parts_changes_nothing_but_rounding(monkeypatch):
    (whole,) = rows_of(network(0))
    monkeypatch.setattr(module, "AT_ONCE", 5)
    parts = rows_of(network(0))
    assert [len(part) for part in parts] == [5, 1, 5, 3, 4]
    joined = pa.concat_tables(parts)
    for name in FILTERS.names:
        if pa.types.is_floating(FILTERS.field(name).type):
            assert np.allclose(joined[name].to_numpy(), whole[name].to_numpy(), rtol=1e-6, atol=1e-9, equal_nan=True)
        else:
            assert joined[name].to_pylist() == whole[name].to_pylist(), name


def test_the_noise_of_the_layers_one_by_one_is_that_of_the_bank():
    bank = sk.extract(network(0))
    for noise in (white_noise_like, matched_noise_like):
        generator = torch.Generator().manual_seed(3)
        for layer, whole in zip(bank, noise(bank, seed=3), strict=True):
            (alone,) = noise(FilterBank((layer,)), seed=generator)
            assert torch.equal(alone.kernels, whole.kernels)


def test_strange_filters_get_a_status_and_stop_nothing():
    weights = {
        "wide.weight": torch.randn(3, 1, 1, 5),
        "even.weight": torch.randn(2, 1, 4, 4),
        "dead.weight": torch.stack([torch.zeros(1, 3, 3), torch.full((1, 3, 3), torch.nan)]),
    }
    table = pa.concat_tables(rows_of(weights))
    assert table["status"].to_pylist()[-2:] == ["zero-filter", "non-finite"]
    assert table["r2_jet2"].to_pylist()[:3] + table["r2_jet2"].to_pylist()[-2:] == [None] * 5


def test_dead_filters_are_those_of_the_whole_network_however_it_is_read(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    weights = {f"{n}.weight": torch.randn(6, 1, 3, 3, generator=generator) for n in range(4)}
    weights["1.weight"] *= 1e-12
    weights["2.weight"][:4] *= 1e-9
    fit = sk.fit(sk.extract(weights))
    assert fit.status.tolist().count("negligible") == 6 + 4
    for at_once in (16_384, 6, 4):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        table = pa.concat_tables(rows_of(weights))
        assert table["status"].to_pylist() == fit.status.tolist()
        for name in (
            "family",
            "r2",
            "r2_jet2",
            "r2_white",
            "r2_matched",
            "family_white",
            "rank1",
            "rank1_matched",
            "key",
        ):
            assert np.array_equal(table[name].is_null().to_numpy(), fit.dead)


def test_kernels_of_one_axis_alone_have_no_jet():
    (table,) = rows_of({"wide.weight": torch.randn(3, 1, 1, 5)})
    of_two_axes = ("r2_jet2", "r2_aligned", "r2_oriented", "angle_oriented", "gain_white", "gain_matched", "rank1")
    for name in of_two_axes:
        assert table[name].null_count == 3
    assert set(table["status"].to_pylist()) <= {"ok", "at-bound", "polynomial"}


def test_the_hash_is_of_the_content_and_not_of_the_file(tmp_path):
    save_file(network(0), tmp_path / "a.safetensors")
    torch.save({"epoch": 3, "state_dict": network(0)}, tmp_path / "b.pth")
    contents = {identify(open_source(tmp_path / name)) for name in ("a.safetensors", "b.pth")}
    assert len(contents) == 1
    assert contents.pop()[1:] == (3, 18)


@pytest.mark.parametrize(
    "change",
    [
        {"blocks.0.dw.weight": torch.ones(6, 1, 7, 7)},
        {"blocks.0.dw.weight": network(0)["blocks.0.dw.weight"].double()},
        {"blocks.3.dw.weight": torch.ones(2, 1, 3, 3)},
    ],
)
def test_another_value_type_or_layer_is_another_content(change):
    assert identify(open_source(network(0)))[0] != identify(open_source(network(0) | change))[0]


def test_values_that_change_while_they_are_read_are_refused():
    checkpoint = open_source(network(0))
    content, _, _ = identify(checkpoint)
    other = replace(checkpoint, load=network(1).__getitem__)
    with pytest.raises(CheckpointError, match="net: has changed while it was read; run again when it is written"):
        list(rows(other, source="net", content=content))


def test_a_shape_that_no_network_has_is_refused_before_it_is_in_memory(tmp_path):
    torch.save({"dw.weight": torch.zeros(1).expand(10**8, 1, 7, 7)}, tmp_path / "bomb.pth")
    assert (tmp_path / "bomb.pth").stat().st_size < 4_000
    with pytest.raises(CheckpointError, match=r"bomb\.pth: layer 'dw' claims 4900000000 values, which no network has"):
        sk.extract(tmp_path / "bomb.pth")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory where Linux keeps it")
def test_identifying_needs_the_memory_of_a_layer_and_not_of_the_network(tmp_path):
    layer, layers = 2**23, 24
    save_file({f"{n}.dw.weight": torch.zeros(layer // 256, 1, 8, 8) for n in range(layers)}, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size > layers * layer
    peak = "int(re.search(r'VmHWM:\\s+(\\d+) kB', pathlib.Path('/proc/self/status').read_text()).group(1))"
    script = "\n".join(
        (
            "import pathlib, re, torch",
            "from scalekeys.atlas.rows import identify",
            "from scalekeys.checkpoints import open_source",
            "identify(open_source({'dw.weight': torch.ones(64, 1, 7, 7)}))",
            f"before = {peak}",
            f"identify(open_source({str(tmp_path / 'a.safetensors')!r}))",
            f"print({peak} - before)",
        )
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+", done.stdout.strip())
    assert int(done.stdout) * 1024 < 6 * layer
