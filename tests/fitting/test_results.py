"""Statuses, tables and refusals."""

import numpy as np
import pytest
import torch

import scalekeys as sk
from scalekeys.filters import FilterBank, LayerFilters

_COLUMNS = [
    "model", "layer", "depth", "channel", "kernel_depth", "kernel_height", "kernel_width",
    "stride", "dilation", "pitch",
    "family", "sigma_x", "sigma_y", "sigma_z", "alpha", "sigma_outer", "angle", "sigma_along", "sigma_across",
    "amplitude", "offset", "r2", "r2_response", "evidence", "residual_l1", "residual_l2", "status", "sigma_x_error",
    "sigma_y_error", "sigma_z_error", "sigma_x_status", "sigma_y_status", "sigma_z_status", "coefficients",
]  # fmt: skip


def _bank():
    generator = torch.Generator().manual_seed(0)
    return FilterBank(
        (
            LayerFilters("small", torch.randn(3, 3, 3, generator=generator), stride=2, dilation=1, depth=0),
            LayerFilters("large", sk.master_keys().float(), depth=1),
            LayerFilters("wide", torch.randn(2, 1, 5, generator=generator), depth=2),
            LayerFilters("small again", torch.randn(4, 3, 3, generator=generator), depth=3),
        ),
        model="net",
    )


def test_a_bad_filter_gets_a_status_and_does_not_disturb_the_others():
    filters = sk.master_keys().clone()
    good = sk.fit(filters)
    filters[0] = 0.0
    filters[2] = 3.0
    filters[4, 1, 1] = torch.nan
    filters[6, 0, 0] = torch.inf
    fit = sk.fit(filters)
    assert list(fit.status) == [
        "zero-filter", "ok", "constant-filter", "ok", "non-finite", "ok", "non-finite", "ok",
    ]  # fmt: skip
    assert list(fit.family[[0, 2, 4, 6]]) == [""] * 4
    assert torch.isnan(fit.sigma[[0, 2, 4, 6]]).all()
    np.testing.assert_allclose(fit.sigma[[1, 3, 5, 7]], good.sigma[[1, 3, 5, 7]], rtol=1e-9)
    kernels = fit.kernels()
    assert (kernels[0] == 0).all()
    assert (kernels[2] == 3).all()
    assert torch.isnan(kernels[4]).all()


def test_kernels_that_show_no_family_are_named_as_unsupported():
    bank = FilterBank((LayerFilters("dots", torch.randn(2, 1, 1)), LayerFilters("keys", sk.master_keys().float())))
    fit = sk.fit(bank)
    assert list(fit.status[:2]) == ["constant-filter"] * 2
    assert set(fit.status[2:]) == {"ok"}
    for fit in (sk.fit(torch.randn(3, 1, 2), ("dy", "dx")), sk.fit(torch.randn(3, 2, 1), ("dy", "dx"))):
        assert set(fit.status) == {"ok"}
        assert len(set(fit.family)) == 1


def test_a_layer_that_no_family_fits_does_not_stop_the_others():
    rows = LayerFilters("rows", torch.randn(2, 1, 7, generator=torch.Generator().manual_seed(0)))
    bank = FilterBank((rows, LayerFilters("square", sk.master_keys().float(), depth=1)), model="net")
    for model in ("jet2", "dy"):
        fit = sk.fit(bank, model)
        assert fit.status.tolist()[:2] == ["unsupported-size"] * 2
        assert set(fit.family[2:]) == {model}
    given = sk.fit(rows.kernels, families=["dy", "dx"])
    assert (given.family.tolist(), given.status.tolist()[0]) == (["", "dx"], "unsupported-size")


def test_a_filter_that_shows_no_decay_is_a_polynomial():
    x = torch.arange(-3.0, 4.0, dtype=torch.float64)
    bowl = 1 - 1e-3 * (x[:, None] ** 2 + x**2)
    fit = sk.fit(bowl[None])
    assert fit.family[0] == "smooth"
    assert fit.status[0] == "polynomial"
    assert fit.sigma_status.tolist() == [["infinite", "infinite"]]
    assert fit.sigma.isinf().all()
    assert fit.r2[0] == pytest.approx(1.0, abs=1e-7)
    np.testing.assert_allclose(fit.kernels()[0], bowl, atol=1e-6)
    row = fit.to_pandas().iloc[0]
    assert row.sigma_x == row.sigma_y == np.inf
    assert row.sigma_x_status == "infinite"
    assert np.isnan(row.sigma_x_error)


def test_an_axis_of_one_tap_has_no_scale_and_no_difference():
    fit = sk.fit(_bank())
    wide = fit.to_pandas().query("layer == 'wide'")
    assert wide.sigma_y.isna().all()
    assert wide.sigma_x.notna().all()
    assert set(wide.family) <= {"dx-", "dx+", "dx", "smooth"}
    assert set(wide.status) <= {"ok", "polynomial"}


def test_the_table_has_a_row_a_filter_in_the_order_of_the_bank():
    fit = sk.fit(_bank())
    table = fit.to_pandas()
    assert list(table.columns) == _COLUMNS
    assert list(table.layer) == ["small"] * 3 + ["large"] * 8 + ["wide"] * 2 + ["small again"] * 4
    assert list(table.channel) == [0, 1, 2, *range(8), 0, 1, 0, 1, 2, 3]
    assert tuple(table.query("layer == 'large'").family) == sk.MASTER_KEY_FAMILIES
    assert table.stride[:3].tolist() == [2, 2, 2]
    assert table.stride[3:].isna().all()
    assert (table.family == "sharpen").equals(table.alpha.notna())
    alone = sk.fit(_bank().layers[3].kernels)
    np.testing.assert_allclose(table.r2[-4:], alone.r2)


def test_the_table_survives_parquet(tmp_path):
    import pyarrow.parquet as pq

    table = sk.fit(_bank()).to_arrow()
    pq.write_table(table, tmp_path / "filters.parquet")
    back = pq.read_table(tmp_path / "filters.parquet")
    assert back.equals(table.cast(back.schema))
    assert back.column_names == _COLUMNS


def test_missing_fits_are_null_in_the_table():
    table = sk.fit(torch.zeros(1, 3, 3)).to_arrow()
    for name in ("family", "sigma_x", "r2", "alpha"):
        assert table[name].null_count == 1
    assert table["status"].to_pylist() == ["zero-filter"]


def test_kernels_of_a_bank_keep_layers_shapes_and_types():
    bank = _bank()
    kernels = sk.fit(bank).kernels()
    assert [layer.name for layer in kernels] == [layer.name for layer in bank]
    for model, layer in zip(kernels, bank, strict=True):
        assert model.kernels.shape == layer.kernels.shape
        assert model.kernels.dtype == layer.kernels.dtype
        assert torch.isfinite(model.kernels).all()


def test_the_share_explained_is_weighted_by_energy():
    keys = sk.master_keys()[[0, 7]]
    keys[0] *= 100
    fit = sk.fit(keys)
    assert fit.share_explained == pytest.approx(float(fit.r2[0]), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"model": "ideal9"},
            r"no model is called 'ideal9' \(did you mean ideal\?\); use one of ideal, ideal8, second-order, oriented, ",
        ),
        ({"model": ("dx", "dz")}, "family 'dz' is not defined for kernels of 2 axes"),
        ({"model": ("dx", "dw")}, "no family is called 'dw'"),
        ({"model": ()}, "name at least one family"),
        (
            {"criterion": "l3"},
            "criterion must be one of 'l2', 'l1', 'response', 'variance', 'variance-continuous', got 'l3'",
        ),
        ({"window": "round"}, "window must be one of 'exact', 'published', got 'round'"),
    ],
)
def test_an_unknown_choice_is_refused_with_what_is_allowed(arguments, message):
    with pytest.raises(sk.ModelError, match=message):
        sk.fit(sk.master_keys(), **arguments)


def test_filters_that_are_no_filters_are_refused():
    with pytest.raises(sk.FilterError, match=r"expected a tensor or an array, got str; sk\.extract reads"):
        sk.fit("model.pth")
    with pytest.raises(sk.FilterError, match=r"filters must have shape \(\.\.\., rows, cols\), got \(5,\)"):
        sk.fit(torch.randn(5))
    with pytest.raises(sk.FilterError, match=r"expected real numbers, got torch\.complex64"):
        sk.fit(torch.zeros(1, 3, 3, dtype=torch.complex64))
    with pytest.raises(sk.FilterError, match="there are no filters to fit"):
        sk.fit(FilterBank((), model="empty"))
    with pytest.raises(sk.ModelError, match="none of the families dx can be told apart on kernels of 3x1"):
        sk.fit(torch.randn(1, 3, 1), "dx")
