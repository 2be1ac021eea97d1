"""The audits of a check-up, as a table. A new one is a function from the evidence to advice, and a row here."""

from collections.abc import Callable, Mapping

from scalekeys.checkup.advice import Advice
from scalekeys.checkup.audits.extent import too_large, too_small
from scalekeys.checkup.audits.life import dead_filters, not_finite, not_formed
from scalekeys.checkup.audits.numbers import lost_in_eight_bits, lost_in_half_precision, norms_needed, small_variances
from scalekeys.checkup.audits.reach import reach, reach_needs
from scalekeys.checkup.audits.sides import lopsided
from scalekeys.checkup.audits.structure import redundant, separable
from scalekeys.checkup.evidence import Evidence

AUDITS: Mapping[str, Callable[[Evidence], Advice | None]] = {
    "not-finite": not_finite,
    "dead-filters": dead_filters,
    "not-formed": not_formed,
    "too-large": too_large,
    "too-small": too_small,
    "redundant": redundant,
    "separable": separable,
    "half-precision": lost_in_half_precision,
    "eight-bits": lost_in_eight_bits,
    "small-variances": small_variances,
    "lopsided": lopsided,
    "reach": reach,
}
"""By name. An audit returns nothing where it finds nothing."""

NEEDS: Mapping[str, Callable[[Evidence], str | None]] = {"small-variances": norms_needed, "reach": reach_needs}
"""What audits need, in a sentence, where the evidence lacks it. Such an audit is skipped."""
