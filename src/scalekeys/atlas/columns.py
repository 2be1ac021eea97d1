"""The columns of the tables, one row a column; the documentation and every data card repeat what they mean."""

from typing import NamedTuple

import pyarrow as pa

_WORDS = pa.string()  # Parquet keeps each word once by itself
_WHOLE = pa.int32()
_NUMBER = pa.float64()
_SINGLE = pa.float32()  # as precise as the weights are as a rule, and half as large on disk


class Column(NamedTuple):
    """The type, the meaning and the unit of a column; a unit of "" is that of a pure number or of words."""

    kind: pa.DataType
    meaning: str
    unit: str = ""


def _of_axes(name: str, kind: pa.DataType, meaning: str, unit: str = "") -> dict[str, Column]:
    """Return a column for each axis; the meaning names the axis as ``{}``."""
    return {name.format(axis): Column(kind, meaning.format(axis), unit) for axis in "xyz"}


def _beside_controls(columns: dict[str, Column]) -> dict[str, Column]:
    """Return columns, and those of white and of matched noise in the place of the filter."""
    return {
        name + ending: column._replace(meaning=f"Control: `{name}` of {ending[1:]} noise.") if ending else column
        for name, column in columns.items()
        for ending in ("", "_white", "_matched")
    }


_SCALE_WORDS = "`ok`, `flat`, `at-zero`, `at-bound`, `infinite`, or empty where there is no scale"

_FILTERS = {
    "model": Column(_WORDS, "Name of the network, without folders."),
    "layer": Column(_WORDS, "Name of the layer in the network."),
    "depth": Column(_WHOLE, "Position of the layer among the layers that were read, from 0 at the input."),
    "channel": Column(_WHOLE, "Position of the filter in its layer, from 0."),
    "kernel_depth": Column(_WHOLE, "Side of the kernel along z; null for a kernel of one or two axes.", "taps"),
    "kernel_height": Column(_WHOLE, "Side of the kernel along y; null for a kernel of one axis.", "taps"),
    "kernel_width": Column(_WHOLE, "Side of the kernel along x.", "taps"),
    "kind": Column(_WORDS, "Kind of the convolution: `depthwise`, `grouped` or `ordinary`."),
    "stride": Column(_WHOLE, "Stride of the convolution; null where the source holds weights only.", "pixels"),
    "dilation": Column(_WHOLE, "Dilation of the convolution; null where the source holds weights only.", "pixels"),
    "pitch": Column(
        _NUMBER,
        "Distance between samples of the input of the layer, in pixels of the input of the network: the geometric mean "
        "over the axes; null where the source does not tell it.",
        "pixels",
    ),
    "family": Column(
        _WORDS, "The idealized family (smoothing, sharpening or a derivative) with the best fit; null without a fit."
    ),
    **_of_axes(
        "sigma_{}", _NUMBER, "Scale along {}, a standard deviation; `inf` where the window shows no decay.", "pixels"
    ),
    "alpha": Column(_NUMBER, "Strength of `sharpen`; null for other families."),
    "sigma_outer": Column(
        _NUMBER, "Larger scale of a difference of two smoothings; null for other families.", "pixels"
    ),
    "angle": Column(
        _NUMBER, "Angle of an oriented family, counter-clockwise from x; null for other families.", "radians"
    ),
    "amplitude": Column(
        _NUMBER, "Factor a of the model a K + b, where K is the kernel of the family.", "units of weights"
    ),
    "offset": Column(_NUMBER, "Constant b of the model a K + b.", "units of weights"),
    "r2": Column(_NUMBER, "Share of the energy of the centred filter that the family explains, from 0 to 1."),
    "r2_response": Column(
        _NUMBER, "Share of the variance of responses that the family explains; null for least squares."
    ),
    "evidence": Column(
        _NUMBER, "By how much the Bayesian information criterion of the family is better than that of a constant."
    ),
    "residual_l1": Column(_NUMBER, "Sum of the absolute differences between filter and model.", "units of weights"),
    "residual_l2": Column(
        _NUMBER, "Root of the sum of the squared differences between filter and model.", "units of weights"
    ),
    "status": Column(
        _WORDS,
        "`ok`, `polynomial` (a scale is infinite), `at-bound`, `unexplained`, or why there is no fit: `zero-filter`, "
        "`negligible`, `constant-filter`, `non-finite`, `unsupported-size`.",
    ),
    **_of_axes(
        "sigma_{}_error", _NUMBER, "Standard error of `sigma_{0}` from the curvature of least squares.", "pixels"
    ),
    **_of_axes("sigma_{}_status", _WORDS, f"Whether `sigma_{{}}` can be identified: {_SCALE_WORDS}."),
    "coefficients": Column(
        pa.list_(_NUMBER), "Coefficients of the derivatives of a jet; null for idealized families.", "units of weights"
    ),
    "r2_jet2": Column(
        _NUMBER, "Share of the energy that the 2-jet (all derivatives up to order 2) explains; null without two axes."
    ),
    "r2_white": Column(_NUMBER, "Control: `r2` of white noise of the same kernel, by the same fit."),
    "r2_matched": Column(
        _NUMBER, "Control: `r2` of noise with the second moments of the filters of the layer, by the same fit."
    ),
    "r2_aligned": Column(_NUMBER, "Share of the energy that the best oriented template along an axis explains."),
    "r2_oriented": Column(_NUMBER, "Share of the energy that the best oriented template at any angle explains."),
    "angle_oriented": Column(_NUMBER, "Angle of the template of `r2_oriented`, counter-clockwise from x.", "radians"),
    "gain_white": Column(
        _NUMBER, "Control: what a free angle adds for white noise beyond `r2_white`; may be negative."
    ),
    "gain_matched": Column(_NUMBER, "Control: what a free angle adds for matched noise beyond `r2_matched`."),
    "family_white": Column(_WORDS, "Control: `family` of white noise of the same kernel."),
    "family_matched": Column(_WORDS, "Control: `family` of matched noise of the same kernel."),
    "sigma_white": Column(_NUMBER, "Control: scale of white noise, the geometric mean over the axes.", "pixels"),
    "sigma_matched": Column(_NUMBER, "Control: scale of matched noise, the geometric mean over the axes.", "pixels"),
    **_beside_controls(
        _of_axes(
            "centre_{}",
            _SINGLE,
            "Centre of mass of the absolute values along {}, from the centre of the window.",
            "pixels",
        )
        | {
            f"rank{rank}": Column(
                _SINGLE, f"Share of the squared norm that the best approximation of rank {rank} holds."
            )
            for rank in (1, 2, 3)
        }
        | {
            "rank1_centred": Column(_SINGLE, "`rank1` of the kernel after subtraction of its mean."),
            "key": Column(_WORDS, "Family of the nearest of the eight published master keys."),
            "key_correlation": Column(_SINGLE, "Absolute correlation of the kernel with that key, from 0 to 1."),
        }
    ),
    "source": Column(_WORDS, "Source of the network; joins `networks.source`."),
    "content_hash": Column(
        _WORDS, "SHA-256 of what was read of the network: its kernels, and the names of its layers."
    ),
    "software_version": Column(_WORDS, "Version of scalekeys that fitted the filter."),
}

_NETWORKS = {
    "source": Column(_WORDS, "What the network was named by: a path, or a name on a hub."),
    "model": Column(_WORDS, "Name of the network, without folders."),
    "content_hash": Column(_WORDS, "SHA-256 of what was read of the network; joins `filters.content_hash`."),
    "duplicate_of": Column(
        _WORDS, "The source under which the filters of the same content stand; null for that source."
    ),
    "layers": Column(_WHOLE, "Number of layers that were read."),
    "filters": Column(pa.int64(), "Number of filters that were read."),
    "notes": Column(pa.list_(_WORDS), "What was decided while the source was read."),
}

_FAILURES = {
    "source": Column(_WORDS, "What was named and could not be read."),
    "error": Column(_WORDS, "Class of the error."),
    "reason": Column(_WORDS, "Why it could not be read, in a sentence."),
}

_LEFT_OUT = {
    "network": Column(_WORDS, "Source that holds the tensor; joins `networks.source`."),
    "name": Column(_WORDS, "Name of the tensor or layer."),
    "shape": Column(pa.list_(pa.int64()), "Shape of the tensor.", "taps"),
    "reason": Column(_WORDS, "Why it was not read."),
}

MEANINGS: dict[str, dict[str, Column]] = {
    "filters": _FILTERS,
    "networks": _NETWORKS,
    "failures": _FAILURES,
    "left_out": _LEFT_OUT,
}
"""What the columns mean, by table and name; columns of metadata are those of whoever built the atlas."""

SCHEMAS: dict[str, pa.Schema] = {
    table: pa.schema([(name, column.kind) for name, column in columns.items()]) for table, columns in MEANINGS.items()
}
"""The tables of an atlas, by name."""

_BROUGHT = Column(_WORDS, "Metadata, as whoever built the atlas gave it.")


def column_rows(table: str, schema: pa.Schema | None = None) -> list[str]:
    r"""Return a table of the columns in Markdown.

    `table`: of :data:`SCHEMAS`.
    `schema`: with columns of metadata beside those of the table.

    >>> print("\n".join(column_rows("left_out")[:3]))
    | column | type | unit | meaning |
    |---|---|---|---|
    | `network` | string | | Source that holds the tensor; joins `networks.source`. |
    """
    rows = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for field in SCHEMAS[table] if schema is None else schema:
        own = MEANINGS[table].get(field.name, _BROUGHT)
        rows.append(f"| `{field.name}` | {type_name(field.type)} | {own.unit} | {own.meaning} |".replace("|  |", "| |"))
    return rows


def type_name(kind: pa.DataType) -> str:
    """Return a type as NumPy and Hugging Face name it.

    >>> type_name(pa.float64()), type_name(pa.list_(pa.int64()))
    ('float64', 'list of int64')
    """
    if pa.types.is_list(kind):
        return f"list of {type_name(kind.value_type)}"
    return str(kind.to_pandas_dtype().__name__ if pa.types.is_floating(kind) else kind)
