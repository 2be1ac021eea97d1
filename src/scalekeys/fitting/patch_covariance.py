"""Covariances of the patches that filters see: they turn a difference of weights into a difference of responses.

A depthwise filter h answers to a patch x with the sum of ``h x``. Replaced by a filter g it answers with an error of
variance ``(h - g)^T S (h - g)``, where S is the covariance of the patches of its channel.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scalekeys.errors import FilterError, ModelError
from scalekeys.filters import LayerFilters
from scalekeys.shapes import size_text

_SMALLEST_EXTENT, _SMALLEST_VOLUME = 224, 32


@dataclass(frozen=True, eq=False)
class PatchCovariance:
    """What the depthwise layers of one network see: the covariance of the input patches of every channel.

    Parameters
    ----------
    layers : mapping of str to Tensor, shape (channels, taps, taps), float64
        The covariances by the name of the layer, one for each *output* channel: the outputs of one input channel repeat
        its covariance. Taps run in the row-major order of the kernel, rows down and columns right, as in
        ``layer.kernels.flatten(1)``. In squared units of the activations.
    means : mapping of str to Tensor, shape (channels, taps), float64
        The mean patches, in units of the activations. Their product with a difference of filters is the shift of the
        mean response, which a bias can take back.
    samples : mapping of str to int
        How many patches each channel showed.
    shrinkage : mapping of str to Tensor, shape (channels,), float64
        The share of the pooled covariance in that of each channel, from 0 to 1; 1 where a channel showed nothing.
    unseen : tuple of str
        Depthwise layers through which nothing went, and which are missing from the other fields.

    Raises
    ------
    FilterError
        If a layer holds anything but one square matrix per channel.

    Examples
    --------
    >>> one, zero = torch.eye(9, dtype=torch.float64)[None], torch.zeros(1, 9, dtype=torch.float64)
    >>> PatchCovariance({"dw": one}, {"dw": zero}, {"dw": 1024}, {"dw": zero[:, 0]})
    PatchCovariance(1 channel in 1 layer, 1024 patches each, mean shrinkage 0.000)
    """

    layers: Mapping[str, Float[Tensor, "channels taps taps"]]
    means: Mapping[str, Float[Tensor, "channels taps"]]
    samples: Mapping[str, int]
    shrinkage: Mapping[str, Float[Tensor, " channels"]]
    unseen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, covariance in self.layers.items():
            _check_square(covariance, f"layer {name!r}")

    def __repr__(self) -> str:
        channels, layers = sum(map(len, self.layers.values())), len(self.layers)
        parts = [f"{channels} channel{'s' * (channels != 1)} in {layers} layer{'s' * (layers != 1)}"]
        if channels:
            few, many = min(self.samples.values()), max(self.samples.values())
            parts.append(f"{few if few == many else f'{few} to {many}'} patches each")
            parts.append(f"mean shrinkage {float(torch.cat(list(self.shrinkage.values())).mean()):.3f}")
        if self.unseen:
            parts.append(f"not seen: {', '.join(self.unseen)}")
        return f"PatchCovariance({', '.join(parts)})"

    def second_moments(self) -> "PatchCovariance":
        """Return the same with moments about zero, ``S + m m^T``, in place of covariances.

        A fit to them counts the shift of the mean response as an error too. It is the one to take where neither biases
        nor statistics of batch norm are going to be re-estimated.

        Examples
        --------
        >>> ones = torch.ones(1, 2, dtype=torch.float64)
        >>> seen = PatchCovariance({"dw": torch.diag_embed(ones)}, {"dw": ones}, {"dw": 64}, {"dw": ones[:, 0]})
        >>> seen.second_moments().layers["dw"]
        tensor([[[2., 1.],
                 [1., 2.]]], dtype=torch.float64)
        """
        layers = {
            name: covariance + self.means[name][:, :, None] * self.means[name][:, None, :]
            for name, covariance in self.layers.items()
        }
        return replace(self, layers=layers)


def natural_image_covariance(
    size: int | tuple[int, ...], *, dilation: int = 1, extent: int | None = None, exponent: float = 2.0
) -> Float[Tensor, "taps taps"]:
    r"""Return the covariance of patches of natural images, whose power falls as ``1 / frequency^exponent``.

    It stands in for the covariance of a layer's own inputs where no images are at hand.

    Parameters
    ----------
    size : int or tuple of int
        Sides of the kernel in the order of the array, up to three; one number means a square of two axes.
    dilation : int
        Pixels from tap to tap.
    extent : int, optional
        Side of the images in pixels; structure that is wider is left out. By default 224, the usual side of the input
        of an image network (32 where kernels have three axes), or twice the reach of a kernel that needs more. It
        matters little: a logarithm of it enters, and from 32 on the fits to a network trained on ImageNet hardly
        change.
    exponent : float
        2 for natural images; 0 gives white noise, for which all directions count alike.

    Returns
    -------
    Tensor, shape (taps, taps), float64
        Positive semi-definite, with a variance of 1 at each tap. It depends on the distance of two taps along each axis
        only.

    Raises
    ------
    ModelError
        If an argument is out of its range, or `extent` less than twice the reach of the kernel.

    Notes
    -----
    With f running over the integer frequencies of a periodic grid of n pixels along each axis,

    .. math:: C(d) = \frac{\sum_{f \neq 0} |f|^{-a} \cos(2 \pi f \cdot d / n)}{\sum_{f \neq 0} |f|^{-a}} ,

    which is summed exactly, by a Fourier transform. A sum of cosines with positive weights is positive semi-definite.
    The frequency 0 is left out: the power law has no value there.

    References
    ----------
    D. J. Field, "Relations between the statistics of natural images and the response properties of cortical cells",
    JOSA A 4(12):2379-2394, 1987.

    D. L. Ruderman, W. Bialek, "Statistics of natural images: scaling in the woods", Physical Review Letters
    73(6):814-817, 1994.

    Examples
    --------
    Neighbours are alike, and less so with distance:

    >>> natural_image_covariance((1, 4))[0]
    tensor([1.0000, 0.7910, 0.6469, 0.5747], dtype=torch.float64)
    """
    sides = (size, size) if isinstance(size, int) else tuple(size)
    text = size_text(sides)
    reach = (max(sides) - 1) * dilation
    if extent is None:
        extent = max(_SMALLEST_VOLUME if len(sides) > 2 else _SMALLEST_EXTENT, 2 * reach)
    if min(*sides, dilation) < 1:
        raise ModelError(f"size and dilation must be at least 1, got size {text} and dilation {dilation}")
    if extent < max(2, 2 * reach):
        raise ModelError(
            f"extent must be at least {max(2, 2 * reach)}, twice the reach of a kernel of {text} with dilation "
            f"{dilation}, got {extent}"
        )
    if not 0 <= exponent < math.inf:
        raise ModelError(f"exponent must be finite and at least 0, got {exponent}")
    frequency = torch.fft.fftfreq(extent, 1 / extent, dtype=torch.float64).square()
    squared = frequency
    for _ in sides[1:]:
        squared = squared[..., None] + frequency
    origin = (0,) * len(sides)
    squared[origin] = 1.0
    power = squared.pow(-exponent / 2)
    power[origin] = 0.0
    by_distance = torch.fft.ifftn(power).real
    taps = torch.cartesian_prod(*(torch.arange(side) for side in sides)).reshape(-1, len(sides))
    distances = (taps[:, None] - taps).abs() * dilation
    covariance: Tensor = by_distance[distances.unbind(-1)] / by_distance[origin]
    return covariance


def natural_covariance_of(layer: LayerFilters) -> Float[Tensor, "1 taps taps"]:
    """Return the covariance of the patches of natural images that all filters of a layer see, with its dilation."""
    return natural_image_covariance(layer.size, dilation=layer.dilation or 1)[None]


def shrunk(
    covariance: Float[Tensor, "channels taps taps"], samples: int
) -> tuple[Float[Tensor, "channels taps taps"], Float[Tensor, " channels"]]:
    r"""Shrink the covariances of the channels of one layer towards what the channels have in common.

    `covariance`: sample covariances; the channels of one layer, as they serve as examples for each other. The results
    are symmetric and positive definite. A channel without any variance gets the pooled covariance with a mean variance
    of 1, and the identity if no channel has any: finite, and of no importance to what that filter does.
    `samples`: how many patches each comes from, overlapping ones counted singly.
    `intensity`: the share of the target, from 0 to 1.
    Raises FilterError if the covariances are not square matrices of finite numbers; ModelError if `samples` is less
    than 1.

    *Target.* Put to a mean variance of 1, the covariances of the channels of a layer are averaged, and the mean is
    shrunk a little towards the identity. That pooled matrix knows what the usual targets do not: how smooth the maps of
    this layer are, and which taps mostly see padding. A scaled identity overrates fine structure, which hardly occurs
    in the inputs; the average over taps at equal distances is not even positive where the maps are as small as the
    kernel.

    *Intensity.* The one of least expected square error, as Ledoit and Wolf define it, for normal patches. With R the
    sample covariance of a channel and T the target, both with a mean variance of 1, of n patches of k taps it is

    .. math:: \lambda = \min\left(1,
              \frac{\mathrm{tr}\, R^2 + k^2 - (2/k)\, \mathrm{tr}\, R T R}{n\, |R - T|^2}\right) ;

    the last term of the numerator is the error that the target shares, as it takes over the variance of the channel.
    For the identity this is the estimate of Chen et al. without its finite-sample correction.

    *Dependence.* Patches that overlap repeat each other, and n is less than their number. The scatter of the covariance
    of two components grows with the sum of the products of their autocorrelations over all displacements (Bartlett).
    For the patches themselves, within their k taps, that is :math:`c = \mathrm{tr}\, R^2 / k`, from 1 for white inputs
    to k for flat ones. What there is to shrink, once the variance is set apart, are mostly products of a smooth
    component with a rough one that is nearly white, for which the sum is at most :math:`\sqrt c`. The number of patches
    is divided by that. Dependence beyond a patch is left out, which errs on the side of the data.

    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", Journal of
    Multivariate Analysis 88(2):365-411, 2004.

    Y. Chen, A. Wiesel, Y. C. Eldar, A. O. Hero, "Shrinkage algorithms for MMSE covariance estimation", IEEE Trans.
    Signal Processing 58(10):5016-5029, 2010, equation 23.

    M. S. Bartlett, "Some aspects of the time-correlation problem in regard to tests of significance", Journal of the
    Royal Statistical Society 98(3):536-543, 1935.

    The second channel is dead, and learns from the first:

    >>> alive = 4 * natural_image_covariance((1, 2))
    >>> covariance, intensity = shrunk(torch.stack([alive, torch.zeros_like(alive)]), samples=1000)
    >>> covariance[1]
    tensor([[1.0000, 0.7878],
            [0.7878, 1.0000]], dtype=torch.float64)
    >>> intensity[1]
    tensor(1., dtype=torch.float64)
    """
    _check_square(covariance, "the covariance")
    if not bool(covariance.isfinite().all()):
        raise FilterError("the covariance must be finite everywhere")
    if samples < 1:
        raise ModelError(f"samples must be at least 1, got {samples}")
    variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
    live = variance > torch.finfo(covariance.dtype).tiny
    scale = torch.where(live, variance, 1.0)[:, None, None]
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    unit = torch.where(live[:, None, None], (covariance + covariance.mT) / (2 * scale), identity)
    independent = samples / (unit.square().sum((-2, -1)) / covariance.shape[-1]).sqrt()
    target = identity
    if bool(live.any()):
        pooled = unit[live].mean(0)
        target = torch.lerp(pooled, identity, _intensity(pooled, identity, independent[live].sum()))
    intensity = torch.where(live, _intensity(unit, target, independent), 1.0)
    return scale * torch.lerp(unit, target.expand_as(unit), intensity[:, None, None]), intensity


def _intensity(unit: Tensor, target: Tensor, samples: Tensor) -> Tensor:
    """Return the share of the target for sample covariances with a mean variance of 1, shape (...)."""
    taps = unit.shape[-1]
    scatter = unit.square().sum((-2, -1)) + taps**2 - 2 / taps * (unit @ unit * target).sum((-2, -1))
    distance = (unit - target).square().sum((-2, -1)).clamp(min=torch.finfo(unit.dtype).tiny)
    return (scatter / (samples * distance)).clamp(max=1.0)


def _check_square(covariance: Tensor, what: str) -> None:
    if covariance.ndim != 3 or covariance.shape[1] != covariance.shape[2]:
        raise FilterError(f"{what}: covariances must have shape (channels, taps, taps), got {tuple(covariance.shape)}")
