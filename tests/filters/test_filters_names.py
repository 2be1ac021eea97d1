"""The public names, written out so that none vanishes unseen."""

from scalekeys import filters


def test_no_public_name_of_the_filters_vanishes():
    assert set(filters.__all__) == {
        "KEEP",
        "MASTER_KEY_FAMILIES",
        "Copies",
        "FilterBank",
        "KeyAssignment",
        "LayerFilters",
        "LeftOut",
        "Modelled",
        "NoiseModel",
        "Normalized",
        "Replacement",
        "Spread",
        "assign_keys",
        "coordinates",
        "copies",
        "dc_offset",
        "master_keys",
        "matched_noise_like",
        "moment_normalization",
        "white_noise_like",
        "noise_model",
        "replacement",
        "separability",
        "spread",
    }
    assert [name for name in filters.__all__ if not hasattr(filters, name)] == []
