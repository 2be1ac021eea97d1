"""What the columns of the tables mean: one row a column; the documentation and every data card repeat these rows."""

from typing import NamedTuple

import pyarrow as pa

from scalekeys.atlas.schema import FAILURES, FILTERS, LEFT_OUT, NETWORKS


class Column(NamedTuple):
    """The unit and the meaning of a column; a unit of "" is that of a pure number or of words."""

    unit: str
    meaning: str


def _of_axes(name: str, unit: str, meaning: str) -> dict[str, Column]:
    """Return a column for each axis; the meaning names the axis as ``{}``."""
    return {name.format(axis): Column(unit, meaning.format(axis)) for axis in "xyz"}


def _beside_controls(columns: dict[str, Column]) -> dict[str, Column]:
    """Return columns, and those of white and of matched noise in the place of the filter."""
    return {
        name + ending: Column(unit, meaning if not ending else f"Control: `{name}` of {ending[1:]} noise.")
        for name, (unit, meaning) in columns.items()
        for ending in ("", "_white", "_matched")
    }


_SCALE_WORDS = "`ok`, `flat`, `at-zero`, `at-bound`, `infinite`, or empty where there is no scale"

_FILTERS = {
    "model": Column("", "Name of the network, without folders."),
    "layer": Column("", "Name of the layer in the network."),
    "depth": Column("", "Position of the layer among the layers that were read, from 0 at the input."),
    "channel": Column("", "Position of the filter in its layer, from 0."),
    "kernel_depth": Column("taps", "Side of the kernel along z; null for a kernel of one or two axes."),
    "kernel_height": Column("taps", "Side of the kernel along y; null for a kernel of one axis."),
    "kernel_width": Column("taps", "Side of the kernel along x."),
    "kind": Column("", "Kind of the convolution: `depthwise`, `grouped` or `ordinary`."),
    "stride": Column("pixels", "Stride of the convolution; null where the source holds weights only."),
    "dilation": Column("pixels", "Dilation of the convolution; null where the source holds weights only."),
    "pitch": Column(
        "pixels",
        "Distance between samples of the input of the layer, in pixels of the input of the network: the geometric mean "
        "over the axes; null where the source does not tell it.",
    ),
    "family": Column(
        "", "The idealized family (smoothing, sharpening or a derivative) with the best fit; null without a fit."
    ),
    **_of_axes("sigma_{}", "pixels", "Scale along {}, a standard deviation; `inf` where the window shows no decay."),
    "alpha": Column("", "Strength of `sharpen`; null for other families."),
    "sigma_outer": Column("pixels", "Larger scale of a difference of two smoothings; null for other families."),
    "angle": Column("radians", "Angle of an oriented family, counter-clockwise from x; null for other families."),
    "amplitude": Column("units of weights", "Factor a of the model a K + b, where K is the kernel of the family."),
    "offset": Column("units of weights", "Constant b of the model a K + b."),
    "r2": Column("", "Share of the energy of the centred filter that the family explains, from 0 to 1."),
    "r2_response": Column("", "Share of the variance of responses that the family explains; null for least squares."),
    "evidence": Column(
        "", "By how much the Bayesian information criterion of the family is better than that of a constant."
    ),
    "residual_l1": Column("units of weights", "Sum of the absolute differences between filter and model."),
    "residual_l2": Column("units of weights", "Root of the sum of the squared differences between filter and model."),
    "status": Column(
        "",
        "`ok`, `polynomial` (a scale is infinite), `at-bound`, `unexplained`, or why there is no fit: `zero-filter`, "
        "`negligible`, `constant-filter`, `non-finite`, `unsupported-size`.",
    ),
    **_of_axes("sigma_{}_error", "pixels", "Standard error of `sigma_{0}` from the curvature of least squares."),
    **_of_axes("sigma_{}_status", "", f"Whether `sigma_{{}}` can be identified: {_SCALE_WORDS}."),
    "coefficients": Column(
        "units of weights", "Coefficients of the derivatives of a jet; null for idealized families."
    ),
    "r2_jet2": Column(
        "", "Share of the energy that the 2-jet (all derivatives up to order 2) explains; null without two axes."
    ),
    "r2_white": Column("", "Control: `r2` of white noise of the same kernel, by the same fit."),
    "r2_matched": Column(
        "", "Control: `r2` of noise with the second moments of the filters of the layer, by the same fit."
    ),
    "r2_aligned": Column("", "Share of the energy that the best oriented template along an axis explains."),
    "r2_oriented": Column("", "Share of the energy that the best oriented template at any angle explains."),
    "angle_oriented": Column("radians", "Angle of the template of `r2_oriented`, counter-clockwise from x."),
    "gain_white": Column("", "Control: what a free angle adds for white noise beyond `r2_white`; may be negative."),
    "gain_matched": Column("", "Control: what a free angle adds for matched noise beyond `r2_matched`."),
    "family_white": Column("", "Control: `family` of white noise of the same kernel."),
    "family_matched": Column("", "Control: `family` of matched noise of the same kernel."),
    "sigma_white": Column("pixels", "Control: scale of white noise, the geometric mean over the axes."),
    "sigma_matched": Column("pixels", "Control: scale of matched noise, the geometric mean over the axes."),
    **_beside_controls(
        _of_axes(
            "centre_{}", "pixels", "Centre of mass of the absolute values along {}, from the centre of the window."
        )
        | {
            f"rank{rank}": Column("", f"Share of the squared norm that the best approximation of rank {rank} holds.")
            for rank in (1, 2, 3)
        }
        | {
            "rank1_centred": Column("", "`rank1` of the kernel after subtraction of its mean."),
            "key": Column("", "Family of the nearest of the eight published master keys."),
            "key_correlation": Column("", "Absolute correlation of the kernel with that key, from 0 to 1."),
        }
    ),
    "source": Column("", "Source of the network; joins `networks.source`."),
    "content_hash": Column("", "SHA-256 of what was read of the network: its kernels, and the names of its layers."),
    "software_version": Column("", "Version of scalekeys that fitted the filter."),
}

_NETWORKS = {
    "source": Column("", "What the network was named by: a path, or a name on a hub."),
    "model": Column("", "Name of the network, without folders."),
    "content_hash": Column("", "SHA-256 of what was read of the network; joins `filters.content_hash`."),
    "duplicate_of": Column("", "The source under which the filters of the same content stand; null for that source."),
    "layers": Column("", "Number of layers that were read."),
    "filters": Column("", "Number of filters that were read."),
    "notes": Column("", "What was decided while the source was read."),
}

_FAILURES = {
    "source": Column("", "What was named and could not be read."),
    "error": Column("", "Class of the error."),
    "reason": Column("", "Why it could not be read, in a sentence."),
}

_LEFT_OUT = {
    "network": Column("", "Source that holds the tensor; joins `networks.source`."),
    "name": Column("", "Name of the tensor or layer."),
    "shape": Column("taps", "Shape of the tensor."),
    "reason": Column("", "Why it was not read."),
}

SCHEMAS: dict[str, pa.Schema] = {
    "filters": FILTERS,
    "networks": NETWORKS,
    "failures": FAILURES,
    "left_out": LEFT_OUT,
}
"""The tables of an atlas, by name."""

MEANINGS: dict[str, dict[str, Column]] = {
    "filters": _FILTERS,
    "networks": _NETWORKS,
    "failures": _FAILURES,
    "left_out": _LEFT_OUT,
}
"""What the columns mean, by table and name; columns of metadata are those of whoever built the atlas."""

_BROUGHT = Column("", "Metadata, as whoever built the atlas gave it.")


def column_rows(table: str, schema: pa.Schema | None = None) -> list[str]:
    r"""Return a table of the columns in Markdown.

    `table`: of :data:`SCHEMAS`.
    `schema`: with columns of metadata beside those of the table.

    >>> print("\n".join(column_rows("left_out")[:3]))
    | column | type | unit | meaning |
    |---|---|---|---|
    | `network` | string | | Source that holds the tensor; joins `networks.source`. |
    """
    own = SCHEMAS[table].names
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for field in SCHEMAS[table] if schema is None else schema:
        unit, meaning = MEANINGS[table][field.name] if field.name in own else _BROUGHT
        rows.append(f"| `{field.name}` | {type_name(field.type)} | {unit} | {meaning} |".replace("|  |", "| |"))
    return rows


def type_name(kind: pa.DataType) -> str:
    """Return a type as NumPy and Hugging Face name it.

    >>> type_name(pa.float64()), type_name(pa.list_(pa.int64()))
    ('float64', 'list of int64')
    """
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    return str(kind.to_pandas_dtype().__name__ if pa.types.is_floating(kind) else kind)
