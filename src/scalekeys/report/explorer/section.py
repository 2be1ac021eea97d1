"""The explorer as a section of a page."""

from collections.abc import Sequence

from markupsafe import Markup

from scalekeys.fitting import Fit
from scalekeys.report.explorer.payload import payload_of
from scalekeys.report.page import Section, render
from scalekeys.report.page.document import script_json

NAME = "explorer"


def explorer_section(fit: Fit, formed: Sequence[float | None] = ()) -> Section:
    """Render the explorer of a fit, with all its data; see :func:`scalekeys.report.explorer.payload.payload_of`.

    Parameters
    ----------
    fit : Fit
        The fit of a bank.
    formed : sequence of float or None
        How far each layer has formed; nothing where that was not measured.
    """
    payload = payload_of(fit, formed)
    body = render(
        "explorer/explorer.html.j2",
        markup=markup(NAME, formed=any(value is not None for value in formed)),
        data=script_json(payload.data),
        shown=payload.shown,
        left_out=payload.left_out,
        remark=remark(fit),
    )
    return Section(NAME, "Every filter", body, short="Explorer")


def markup(name: str, *, formed: bool) -> Markup:
    """Render the elements of an explorer, which a script fills."""
    return render("explorer/markup.html.j2", name=name, formed=formed)


def remark(fit: Fit) -> str:
    """Say in which ways the models of the explorer differ from those of the fit; empty where they do not."""
    spec = fit.spec
    differences = []
    if spec.discretization != "discrete":
        differences.append("the discrete analogue of the Gaussian")
    if spec.window != "exact":
        differences.append("differences that are taken before cropping to the window")
    if not spec.is_plain:
        differences.append("amplitudes and offsets of least squares")
    if spec.terms:
        differences.append("derivatives that are chosen one by one, the best first")
    return f"Its models use {', '.join(differences)}; those of the fit do not." if differences else ""
