"""The public names, written out so that none vanishes unseen."""

from scalekeys import scalespace


def test_no_public_name_vanishes():
    assert set(scalespace.__all__) == {
        "BACKWARD",
        "CENTRAL",
        "DIFFERENCES",
        "FAMILIES",
        "FIFTH",
        "FORWARD",
        "FOURTH",
        "GAP",
        "IDEAL8",
        "IDENTITY",
        "JETS",
        "SECOND",
        "SECOND_ORDER",
        "SIXTH",
        "THIRD",
        "WIDE_JET",
        "WINDOWS",
        "Difference",
        "Family",
        "Order",
        "TemplatePlan",
        "Term",
        "Window",
        "compose",
        "difference",
        "difference_matrix",
        "discrete_gaussian",
        "family",
        "integrated_gaussian",
        "laplacian_stencil",
        "linearly_integrated_gaussian",
        "mixed_stencil",
        "normalized_sampled_gaussian",
        "sampled_gaussian",
        "template",
        "template_plan",
    }
    assert [name for name in scalespace.__all__ if not hasattr(scalespace, name)] == []
