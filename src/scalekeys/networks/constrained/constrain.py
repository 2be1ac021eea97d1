"""Networks whose depthwise weights are functions of scales, and back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn
from torch.nn.utils import parametrize

from scalekeys.errors import ModelError, check_choice
from scalekeys.filters.replacement import Replacement, replacement
from scalekeys.fitting import Fit
from scalekeys.networks.constrained.filters_together import compute_together, release
from scalekeys.networks.constrained.finite_start import discretized, with_finite_scales
from scalekeys.networks.constrained.fitted_filters import fitted_filters
from scalekeys.networks.constrained.learned_offsets import AddedConstant
from scalekeys.networks.constrained.learned_scales import SCALE_KINDS, ScaleKind, Scales
from scalekeys.networks.constrained.modelled_filters import NORMS, KernelNorm
from scalekeys.networks.constrained.parameter_layout import TIES, ParameterLayout, Tie, geometric_mean, layout_of
from scalekeys.networks.constrained.scale_space_kernel import LEARN, Learn, ScaleSpaceKernel
from scalekeys.networks.running.computed_weight import ComputedWeight
from scalekeys.networks.running.depthwise_layers import Convolution, copied, copy_of, make_plain
from scalekeys.scalespace import Discretization, families
from scalekeys.scalespace.discretizations import check_discretization


def constrain(
    module: nn.Module,
    fit: Fit,
    learn: Learn = "scales",
    *,
    tie: Tie = "none",
    scale: ScaleKind = "log",
    norm: KernelNorm = "free",
    layers: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    min_r2: float | None = None,
    discretization: Discretization | None = None,
) -> nn.Module:
    r"""Return a copy of a network whose depthwise weights are functions of scales, amplitudes and offsets.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.
    fit : Fit
        Of the filters that :func:`scalekeys.extract` gives for this network, with any families and options.
    learn : str
        What of the modelled filters takes gradients: ``"none"``; ``"scales"``; ``"amplitudes"``, one common factor and
        the mean of each filter; ``"coefficients"``, every coefficient (of a jet, of the impulse and the Laplacian of
        `sharpen`, and of both smoothings of `dog`) and the mean; ``"scales+amplitudes"``; ``"scales+coefficients"``.
    tie : {"none", "filter", "layer", "network"}
        Which scales are one parameter: none but those that a family has in common; all axes of each filter; all of a
        layer; all of the network. A tied scale starts at the geometric mean (of the variances plus 0.05). The gap
        between both scales of `dog` is tied in the same way, by itself.
    scale : {"log", "softplus", "softplus-sigma"}
        What a scale is a function of: :math:`t = \sigma^2 = 0.05 \, (e^\theta - 1)`, or
        :math:`t = \log(1 + e^\theta) - \log 2`, or :math:`\sigma = \log(1 + e^\theta) + 0.001`.
    norm : {"free", "unit"}
        ``"unit"``: each modelled filter is the template of its family itself, brought to l2 norm 1 at every scale, with
        neither the amplitude (and its sign) nor the offset of the fit. It is for idealized receptive fields with
        learned or fixed scales.
    layers : sequence of str, optional
        Only in the layers of these names, in which ``*`` stands for anything; by default in all.
    keep : sequence of str, optional
        Not in the layers of these names.
    min_r2 : float, optional
        Only filters of whose energy the model explains at least this share; by default all that have a model.
    discretization : str, optional
        How the derivatives of the Gaussian are discretized (see :func:`scalekeys.scalespace.gaussian_derivative`); by
        default as in the fit. With another one the filters keep their scales, and the coefficients are solved for
        again by least squares.

    Returns
    -------
    nn.Module
        With the outputs of ``sk.replace(module, fit, ...)`` at first, unless scales are tied that differ, or `norm` is
        ``"unit"``, or a scale starts below the floor of ``"softplus-sigma"``. Each layer
        with modelled filters has a parametrization of its ``weight``, a
        :class:`~scalekeys.networks.constrained.scale_space_kernel.ScaleSpaceKernel`; the other filters of such a layer
        are free weights, as are constant filters. Layers that share a weight get kernels of their own.

    Raises
    ------
    CheckpointError
        If the network cannot be read.
    FilterError
        If no layer has such a name, or all that have are kept, or the threshold is no number up to 1.
    ModelError
        If an option is unknown, the models are not a fit or are those of another network, or no filter is modelled.

    Notes
    -----
    The first two functions of a scale are 0 with a slope of their own at :math:`\theta = 0`, so a fit with t = 0 starts
    there exactly and can leave it, and a negative parameter stands for t = 0. The third is that of the published
    experiment; a scale below 0.002 starts there, where its gradient is small. A scale ends at eight times the longest
    side of the window, where a kernel looks flat; beyond both ends only gradients that lead back inwards are passed on.

    The mean of a filter over the window is a number of its own, so a scale changes the form of a filter and not its
    mean.

    A scale of a fit may be infinite, and a scale that is learned is finite. An infinite scale starts at the end of the
    range, and the coefficients of the filter are solved for again by least squares. Of the filters of MCUNet, fitted by
    the idealized families, 10 % have an infinite scale; 99 % of all filters start within 0.1 % of their models, in the
    norm of the deviations from the mean, and all of them within 2 %. See
    :func:`scalekeys.networks.constrained.finite_start.with_finite_scales`.

    State dictionaries have the same entries for every `learn`; load them into a network that was constrained by the
    same fit with the same `tie` and `scale`.

    References
    ----------
    T. Lindeberg, "Scale-space for discrete signals", IEEE Trans. PAMI 12(3):234-254, 1990, for the kernel and its
    derivative in scale.

    Examples
    --------
    >>> import scalekeys as sk
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 7, padding=3, groups=8))
    >>> with torch.no_grad():
    ...     _ = network[1].weight.copy_(sk.master_keys()[:, None])
    >>> constrained = sk.constrain(network, sk.fit(sk.extract(network)), learn="scales")
    >>> [name for name, parameter in constrained[1].named_parameters() if parameter.requires_grad]
    ['bias', 'parametrizations.weight.0.scales.theta']
    >>> constrained[1].parametrizations.weight[0].sigma[7]
    tensor([0.6272, 0.6200], dtype=torch.float64)
    """
    _check_options(fit, learn=learn, tie=tie, scale=scale, norm=norm)
    own = fit.spec.discretization if discretization is None else discretization
    check_discretization(own)
    if norm == "unit":
        fit = _without_amplitudes(fit, learn, own)
    network, found = copied(module, fit.bank)
    chosen = replacement(fit, layers=layers, keep=keep, min_r2=min_r2)
    layouts = _layouts(fit, chosen, tie, own)
    learned = "scales" in learn.split("+")
    shared = _shared_scales(layouts.values(), scale, learned=learned) if tie == "network" else None
    for name, layout in layouts.items():
        layer = found[name]
        weight = make_plain(layer, name)
        scales = shared or Scales(layout.variances, layout.gaps, scale, learned=learned)
        kernel = ScaleSpaceKernel(layout, layer.out_channels, scales, learn, weight.device, norm)
        parametrize.register_parametrization(layer, "weight", kernel, unsafe=True)
        if kernel.is_whole:
            layer.get_parameter("parametrizations.weight.original").requires_grad_(False)  # there is nothing in it
    compute_together(network)
    return network


def bake(module: nn.Module) -> nn.Module:
    """Return a copy of a network with plain weights in the place of those that are functions of learned numbers.

    The weights in question are those that :func:`constrain`, or
    :func:`scalekeys.networks.constrained.learned_offsets.learn_offsets`, made functions, and those of the layers of
    :mod:`scalekeys.nn`.

    Parameters
    ----------
    module : nn.Module
        The network; it stays as it is. Data-parallel and compiled wrappers around it are left off in the copy.

    Returns
    -------
    nn.Module
        With the same outputs, its layers of the classes that they had before, to export or to train on. Of a network
        without constraints it is just a copy.

    Examples
    --------
    >>> import scalekeys as sk
    >>> network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 7, groups=4))
    >>> constrained = sk.constrain(network, sk.fit(sk.extract(network)))
    >>> type(constrained[1]).__name__, type(sk.bake(constrained)[1]).__name__
    ('ParametrizedConv2d', 'Conv2d')
    """
    network = copy_of(module)
    for name, layer in network.named_modules():
        if isinstance(layer, Convolution):
            constraints = [one for one in _parametrizations(layer) if isinstance(one, ScaleSpaceKernel | AddedConstant)]
            if constraints or isinstance(layer, ComputedWeight):
                make_plain(layer, name)
    release(network)
    return network


def constraint_of(layer: Convolution) -> ScaleSpaceKernel | None:
    """Return what :func:`constrain` computes the weight of a layer by, if it does so alone."""
    parts = _parametrizations(layer)
    return parts[0] if len(parts) == 1 and isinstance(parts[0], ScaleSpaceKernel) else None


def _parametrizations(layer: Convolution) -> list[nn.Module]:
    """Return what the weight of a layer is computed by, one after another."""
    is_computed = parametrize.is_parametrized(layer, "weight")
    return list(layer.get_submodule("parametrizations.weight").children()) if is_computed else []


def _check_options(fit: Fit, **options: str) -> None:
    allowed: Mapping[str, tuple[str, ...]] = {"learn": LEARN, "tie": TIES, "scale": SCALE_KINDS, "norm": NORMS}
    for name, value in options.items():
        check_choice(name, value, allowed[name])
    if not isinstance(fit, Fit):
        raise ModelError(
            f"constrain needs the scales of a fit, sk.fit(sk.extract(module)), got {type(fit).__name__}; "
            "sk.replace takes any models"
        )


def _without_amplitudes(fit: Fit, learn: Learn, discretization: Discretization) -> Fit:
    """Return a fit whose models are the templates themselves.

    Raises ModelError if a family has no single amplitude, amplitudes are to be learned, or another discretization
    solves for some.
    """
    forms = [families(axes).get(name) for axes in {layer.axes for layer in fit.bank} for name in fit.spec.families]
    mixed = fit.spec.terms or any(form is not None and form.coefficients > 1 for form in forms)
    if mixed or learn not in ("none", "scales"):
        fault = f"filters of the model {fit.spec.model!r} have several" if mixed else f"learn={learn!r} asks for some"
        raise ModelError(
            f"norm='unit' leaves out amplitudes, and {fault}; take idealized receptive fields and learn='scales'"
        )
    if discretization != fit.spec.discretization:
        raise ModelError(
            f"norm='unit' leaves out amplitudes, and discretization={discretization!r} solves for some; fit with it"
        )
    return replace(fit, values=replace(fit.values, coefficients=fit.coefficients.sign().abs()))


def _layouts(fit: Fit, chosen: Replacement, tie: Tie, discretization: Discretization) -> dict[str, ParameterLayout]:
    """Describe each layer with modelled filters."""
    modelled = chosen.replaced & (fit.values.family.cpu() >= 0)
    layouts = {}
    for (layer, part), model in zip(fit.bank.parts(), chosen.filters, strict=True):
        rows = modelled[part].nonzero()[:, 0]
        if len(rows):
            filters = fitted_filters(fit, part.start + rows, model.kernels[rows.to(model.kernels.device)])
            layouts[layer.name] = layout_of(discretized(with_finite_scales(filters), discretization), rows, tie)
    if not layouts:
        best = fit.r2.nan_to_num(0.0).max()
        raise ModelError(
            f"none of the filters in question has a model to constrain it by (the largest r2 of all is {best:.3f}); "
            "lower min_r2 or choose other layers"
        )
    return layouts


def _shared_scales(layouts: Collection[ParameterLayout], kind: ScaleKind, *, learned: bool) -> Scales:
    """Make the one scale of a network, and the one gap if there are any."""
    variances = torch.cat([layout.variances for layout in layouts])
    gaps = torch.cat([layout.gaps for layout in layouts])
    return Scales(geometric_mean(variances), geometric_mean(gaps) if len(gaps) else gaps, kind, learned=learned)
