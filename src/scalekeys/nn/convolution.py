"""Depthwise convolutions whose kernels are scale-space families at learned scales."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self, TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scalekeys.errors import ModelError, check_choice, listed
from scalekeys.fitting import Fit
from scalekeys.networks.constrained.fitted_filters import FittedFilters
from scalekeys.networks.running.computed_weight import ComputedWeight
from scalekeys.networks.running.depthwise_layers import Convolution
from scalekeys.nn.kernels import ScaleSpaceKernels
from scalekeys.nn.separable import Steps, convolved, convolved_in_turn, pays
from scalekeys.nn.sides import sides_holding
from scalekeys.nn.start import (
    Derivatives,
    Init,
    Sigma,
    drawn,
    families_of,
    of_fit,
    of_keys,
    outer_variances,
    rows_of,
    with_size,
)
from scalekeys.shapes import Size, size_text

AUTO: Literal["auto"] = "auto"
LayerTie: TypeAlias = Literal["none", "filter", "layer"]
_TIES = get_args(LayerTie)
_FIRST_SIDE = 7  # of kernels whose sides follow the scales, until these are known


class _ScaleSpaceConv(ComputedWeight):
    """What the layers of one, two and three axes have in common; :class:`ScaleSpaceConv2d` says what they are."""

    axes: ClassVar[int]
    kernel: ScaleSpaceKernels
    sides: Tensor
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    padding_mode: str
    bias: Tensor | None
    _reversed_padding_repeated_twice: list[int]

    def __init__(
        self,
        channels: int,
        kernel_size: int | Sequence[int] | Literal["auto"],
        derivatives: Derivatives = "ideal",
        *,
        sigma: Sigma = None,
        learn_sigma: bool = True,
        init: Init = None,
        tie: LayerTie = "none",
        separable: bool | Literal["auto"] = AUTO,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        kinds: dict[str, Any] = {"tie": tie, "separable": separable, "padding_mode": padding_mode}
        kinds |= {"learn_sigma": learn_sigma, "bias": bias}
        _check(channels, kernel_size, padding, **kinds)
        _check_places(device, dtype)
        first = _each(_FIRST_SIDE if isinstance(kernel_size, str) else kernel_size, self.axes, "kernel_size")
        with torch.device("cpu"):
            filters = _started(channels, first, derivatives, sigma, init)
            if isinstance(kernel_size, str):
                filters = with_size(filters, sides_holding(outer_variances(filters)))
        stride, dilation = _each(stride, self.axes, "stride"), _each(dilation, self.axes, "dilation")
        padding = padding if isinstance(padding, str) else _each(padding, self.axes, "padding", least=0)
        if padding == "same" and max(stride) > 1:
            padding = _half(filters.size, dilation)
        options: dict[str, Any] = {"groups": channels, "bias": bias, "padding_mode": padding_mode}
        places = {"device": device, "dtype": dtype}
        super().__init__(channels, channels, filters.size, stride, padding, dilation, **options, **places)
        plain = self._parameters.pop("weight")  # in whose place the computed one comes
        assert plain is not None
        self.kernel = ScaleSpaceKernels(filters, tie, plain.device, learn_sigma=learn_sigma)
        self.register_buffer("like", plain.detach().new_empty(0), persistent=False)
        if isinstance(kernel_size, str):
            self.register_buffer("sides", torch.tensor(filters.size, device=plain.device))
        self.separable = separable
        self._choose_execution()

    @classmethod
    def in_place_of(
        cls,
        layer: Convolution,
        kernel_size: int | Sequence[int] | Literal["auto"] | None = None,
        derivatives: Derivatives = "ideal",
        **options: Any,
    ) -> Self:
        """Make a layer that takes the place of a depthwise convolution, whose output keeps its size.

        Parameters
        ----------
        layer : nn.Conv1d, nn.Conv2d or nn.Conv3d
            Says channels, stride, dilation, padding mode, device and type, whether there is a bias, and the padding,
            which grows with the kernel. Its weight and its bias are not taken over.
        kernel_size : int, tuple of int or "auto", optional
            By default that of the layer.
        derivatives, **options
            Of the new layer, see :class:`ScaleSpaceConv2d`.

        Raises
        ------
        ModelError
            If the layer is not depthwise, or no padding keeps the size of the output, or an option is what the layer
            says.
        """
        depthwise = isinstance(layer, Convolution) and layer.groups == layer.in_channels == layer.out_channels
        if not depthwise or len(layer.kernel_size) != cls.axes:
            raise ModelError(
                f"{cls.__name__} takes the place of a depthwise convolution with as many axes, and as many output as "
                f"input channels, got {layer}"
            )
        wanted = layer.kernel_size if kernel_size is None else kernel_size
        given: dict[str, Any] = {"stride": layer.stride, "dilation": layer.dilation, "padding_mode": layer.padding_mode}
        given |= {"bias": layer.bias is not None, "device": layer.weight.device, "dtype": layer.weight.dtype}
        given["padding"] = _grown_padding(layer, wanted, cls.axes)
        if twice := sorted(given.keys() & options):
            raise ModelError(f"in_place_of takes {listed(twice)} from the layer; leave out {listed(twice)}")
        return cls(layer.out_channels, wanted, derivatives, **given, **options)

    @property
    def sigma(self) -> Float[Tensor, "channels axes"]:
        """Present scales (x, y, z) of the channels as standard deviations in pixels; of `dog` the smaller."""
        return self.kernel.sigma

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """Convolve each channel with its kernel.

        Parameters
        ----------
        input : Tensor, shape (batch, channels, *sides) or (channels, *sides)
        """
        images, steps = self._padded(input)
        if not self.is_separable:
            return convolved(images, self.weight, self.bias, steps)
        left, x = self.kernel.exact_factors()
        factors = left.to(self.like.dtype), x.to(self.like.dtype)
        return convolved_in_turn(images, factors, self._users, self.bias, steps, self.kernel_size)

    def update_kernel_size(self) -> tuple[int, ...]:
        """Adapt the sides of kernels to their present scales, where `kernel_size` is ``"auto"``, and return them.

        Parameters do not change, so an optimiser is not affected. A compiled or exported network has the sides with
        which it was compiled; compile it again.
        """
        if "sides" in self._buffers:
            self._resize(sides_holding(self.kernel.variances()))
        return self.kernel_size

    def stop_computing(self) -> None:
        """Turn into the plain convolution, without a weight, which the caller sets."""
        for name in ("separable", "is_separable", "_users"):
            delattr(self, name)
        self._buffers.pop("sides", None)
        super().stop_computing()

    def extra_repr(self) -> str:
        """Say what a convolution says, and how it is executed."""
        said: str = super().extra_repr()
        return f"{said}, separable={self.is_separable}"

    def _padded(self, images: Tensor) -> tuple[Tensor, Steps]:
        """Pad what a convolution cannot pad by itself."""
        none = (0,) * self.axes
        around = self._reversed_padding_repeated_twice
        if self.padding_mode != "zeros":
            return F.pad(images, around, self.padding_mode), Steps(self.stride, none, self.dilation)
        if around[::2] == around[1::2]:
            return images, Steps(self.stride, tuple(reversed(around[::2])), self.dilation)
        return F.pad(images, around), Steps(self.stride, none, self.dilation)

    def _resize(self, size: Size) -> None:
        """Give kernels other sides, and the padding what keeps the size of the output."""
        more = [own * (new - old) // 2 for new, old, own in zip(size, self.kernel_size, self.dilation, strict=True)]
        if not isinstance(self.padding, str):
            self.padding = tuple(old + by for old, by in zip(self.padding, more, strict=True))
        around = self._reversed_padding_repeated_twice
        if self.padding != "valid":
            self._reversed_padding_repeated_twice = [old + more[-1 - place // 2] for place, old in enumerate(around)]
        self.kernel_size = size
        self.kernel.resize(size)
        self.sides.copy_(torch.tensor(size))
        self._choose_execution()

    def _choose_execution(self) -> None:
        """Decide whether kernels are executed along one axis after the other, and which channels have which product."""
        counts = self.kernel.product_counts()
        wanted = pays(self.kernel_size, float(counts.double().mean())) if self.separable == AUTO else self.separable
        self.is_separable = bool(wanted) and self.axes > 1
        users = [(counts > number).nonzero()[:, 0] for number in range(int(counts.max()))]
        self._users = [None if len(own) == len(counts) else own for own in users]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._choose_execution()  # anew, where the kernels are now
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        if "sides" in self._buffers and f"{prefix}sides" in state_dict:
            self._resize(tuple(state_dict[f"{prefix}sides"].tolist()))


class ScaleSpaceConv2d(_ScaleSpaceConv, nn.Conv2d):  # type: ignore[misc, override]
    r"""A depthwise convolution whose kernels are families of scale-space theory at scales that are learned.

    The kernel of a channel is :math:`\sum_k c_k K_k / |K_k|`: each :math:`K_k` is a difference operator of the discrete
    analogue of the Gaussian at the scales of this channel, and each :math:`c_k` a coefficient that is learned. An
    idealized receptive field has one coefficient, a jet one for each derivative.

    Parameters
    ----------
    channels : int
        Channels of the input and of the output.
    kernel_size : int, tuple of int, or "auto"
        Sides in the order of the array. ``"auto"``: odd sides from 3 to 63 that hold all but a thousandth of the
        smoothing at the widest scale of the layer, along each axis. They change when :meth:`update_kernel_size` is
        called, and when a state dictionary is loaded, to the sides that were saved; at no other time.
    derivatives : str or sequence of str
        The family of each channel: one name for all channels, or names that are repeated over the channels. See
        :data:`scalekeys.scalespace.FAMILIES`; ``"ideal"`` means all idealized receptive fields, ``"jet2"`` free
        mixtures of all derivatives up to order 2. Oriented families are refused.
    sigma : float, sequence or Tensor, optional
        Initial scales in pixels: one for all channels, one for each channel, or of shape (channels, axes) in the order
        (x, y). By default drawn between 0.5 and a fifth of the shortest side (1.4 for ``"auto"``), uniformly in the
        logarithm.
    learn_sigma : bool
        Whether scales take gradients.
    init : "keys" or Fit, optional
        Initial families, scales and coefficients, instead of `derivatives` and `sigma`. ``"keys"``: the models of the
        eight master keys by their families, each equally often. A fit with one filter for each channel: its models in
        order; a fit of another number of filters of one size: models drawn at random.
    tie : {"none", "filter", "layer"}
        Which scales share a parameter: only those that a family has in common, both axes of a channel, or all scales of
        the layer.
    separable : "auto" or bool
        Whether each kernel is executed as a sum of pairs of 1-D kernels. ``"auto"``: where the kernel has more than
        3.5 times as many taps as its 1-D kernels together, which is from 9x9 on for idealized receptive fields, and
        from 23x23 on for jets of order 2.
    stride, padding, dilation, bias, padding_mode, device, dtype
        As of :class:`torch.nn.Conv2d`. With a stride above 1 and odd sides the padding ``"same"`` is half a kernel on
        each side. ``"auto"`` sides take the padding ``"same"``.

    Attributes
    ----------
    weight : Tensor, shape (channels, 1, rows, cols)
        The present kernels; computed at each access.
    sigma : Tensor, shape (channels, 2)
    is_separable : bool

    Raises
    ------
    ModelError
        If an option is invalid; the message says what to do.

    Notes
    -----
    The initial kernels have l2 norm 1, so that white noise keeps its variance; the default of :class:`torch.nn.Conv2d`
    reduces the variance to a third. Random numbers come from the global generator of torch.

    Parameters are ``bias``, ``kernel.coefficients``, ``kernel.scales.theta`` with
    :math:`t = \sigma^2 = 0.05 (e^\theta - 1)`, and with the family `dog` ``kernel.scales.gap``; with ``"auto"`` sides a
    buffer ``sides``. Their shapes do not depend on the sides. All parameters but the bias are in float64, whatever the
    type of the layer. Give scales and coefficients no weight decay, which would pull each scale to 0.

    On a CPU the gradients of large kernels are computed by
    :class:`scalekeys.training.FastDepthwise`, which does not support ``torch.vmap``. :func:`scalekeys.bake` makes plain
    convolutions of such layers, :func:`scalekeys.extract` reads their kernels.

    References
    ----------
    T. Lindeberg, "Scale-space for discrete signals", IEEE Trans. PAMI 12(3):234-254, 1990. J.-J. Jacobsen, J. van
    Gemert, Z. Lou, A. Smeulders, "Structured receptive fields in CNNs", CVPR 2016, for jets with learned coefficients.
    T. Lindeberg, Z. Babaiee, P. M. Kiasari, JMIV 68(3):22, 2026, for the idealized receptive fields.

    Examples
    --------
    >>> import scalekeys as sk
    >>> layer = sk.nn.ScaleSpaceConv2d(16, 15, "jet2", sigma=2.0, padding="same")
    >>> layer(torch.zeros(1, 16, 32, 32)).shape
    torch.Size([1, 16, 32, 32])
    >>> sum(parameter.numel() for parameter in layer.parameters())  # a bias, 2 scales and 6 coefficients a channel
    144
    >>> layer.sigma[0]
    tensor([2.0000, 2.0000], dtype=torch.float64)
    """

    axes = 2


class ScaleSpaceConv1d(_ScaleSpaceConv, nn.Conv1d):  # type: ignore[misc, override]
    """:class:`ScaleSpaceConv2d` for signals (batch, channels, length); `separable` has no effect.

    Examples
    --------
    >>> import scalekeys as sk
    >>> layer = sk.nn.ScaleSpaceConv1d(8, "auto", ["dx", "smooth"], sigma=1.0, padding="same", bias=False)
    >>> layer.kernel_size, layer(torch.zeros(1, 8, 20)).shape
    ((9,), torch.Size([1, 8, 20]))
    """

    axes = 1


class ScaleSpaceConv3d(_ScaleSpaceConv, nn.Conv3d):  # type: ignore[misc, override]
    """:class:`ScaleSpaceConv2d` for volumes (batch, channels, slices, rows, cols).

    A separable kernel is executed along x, then along y and z together.

    Examples
    --------
    >>> import scalekeys as sk
    >>> layer = sk.nn.ScaleSpaceConv3d(4, 5, "smooth", padding="same")
    >>> layer(torch.zeros(1, 4, 6, 6, 6)).shape
    torch.Size([1, 4, 6, 6, 6])
    """

    axes = 3


def _started(channels: int, size: Size, derivatives: Derivatives, sigma: Sigma, init: Init) -> FittedFilters:
    """Return what the channels of a layer start as, on kernels with given sides."""
    axes = len(size)
    if init is None:
        families = families_of(derivatives, channels, axes)
        for own in families:
            if any(side < 2 and differs for side, differs in zip(reversed(size), own.differentiated, strict=True)):
                raise ModelError(f"the family {own.name!r} takes differences along a side of 1; got {size_text(size)}")
        return drawn(families, sigma, size)
    if isinstance(init, Fit):
        return with_size(of_fit(init, rows_of(init, channels, axes)), size)
    if init == "keys":
        return with_size(of_keys(channels, axes), size)
    raise ModelError(f"init must be 'keys' or a fit, got {init!r}")


def _check(channels: Any, kernel_size: Any, padding: Any, **options: Any) -> None:
    if not _is_whole(channels, 1):
        raise ModelError(f"channels must be a whole number of at least 1, got {channels!r}")
    if isinstance(kernel_size, str) and kernel_size != AUTO:
        raise ModelError(f"kernel_size must be a number, numbers or 'auto', got {kernel_size!r}")
    if kernel_size == AUTO and padding != "same":
        raise ModelError(f"kernel_size='auto' needs padding='same', so that outputs keep their size, got {padding!r}")
    allowed = {
        "tie": _TIES,
        "separable": (AUTO, True, False),
        "learn_sigma": (True, False),
        "bias": (True, False),
        "padding": ("valid", "same"),
        "padding_mode": ("zeros", "reflect", "replicate", "circular"),
    }
    for name, value in (options | ({"padding": padding} if isinstance(padding, str) else {})).items():
        check_choice(name, value, allowed[name])


def _check_places(device: Any, dtype: Any) -> None:
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ModelError(f"dtype must be a type of torch for real numbers, such as torch.float32, got {dtype!r}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ModelError(f"device must be one that torch has here, such as 'cpu', got {device!r}") from error


def _is_whole(value: Any, least: int) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def _each(values: Any, axes: int, name: str, *, least: int = 1) -> tuple[int, ...]:
    """Return one number for each axis."""
    found = tuple(values) if isinstance(values, Sequence) else (values,) * axes
    if len(found) != axes or not all(_is_whole(value, least) for value in found):
        wanted = f"one whole number of at least {least}, or one for each axis ({axes} in all)"
        raise ModelError(f"{name} must be {wanted}, got {values!r}")
    return found


def _half(size: Size, dilation: Sequence[int]) -> tuple[int, ...]:
    """Return the padding by half a kernel of odd sides."""
    if any(side % 2 == 0 for side in size):
        raise ModelError(f"padding='same' with a stride above 1 needs odd sides, got {size_text(size)}; give numbers")
    return tuple(own * (side - 1) // 2 for side, own in zip(size, dilation, strict=True))


def _grown_padding(layer: Convolution, wanted: Any, axes: int) -> str | tuple[int, ...]:
    """Return the padding with which the output of a layer with a kernel of another size has the same size."""
    centred = tuple(own * (side - 1) / 2 for side, own in zip(layer.kernel_size, layer.dilation, strict=True))
    if layer.padding in ("same", centred):
        return "same"
    if isinstance(wanted, str) or isinstance(layer.padding, str):
        raise ModelError(f"kernel_size={wanted!r} needs a layer that is padded by half its kernel, got {layer}")
    sides = zip(_each(wanted, axes, "kernel_size"), layer.kernel_size, layer.dilation, layer.padding, strict=True)
    twice = [2 * padding + own * (new - old) for new, old, own, padding in sides]
    if any(value % 2 or value < 0 for value in twice):
        raise ModelError(f"no padding keeps the size of the output of {layer} with kernel_size={wanted!r}")
    return tuple(value // 2 for value in twice)
