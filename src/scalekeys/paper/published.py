"""The published figures.

Source: T. Lindeberg, Z. Babaiee, P. M. Kiasari, "Modelling and analysis of the 8 filters from the 'master key filters
hypothesis' for depthwise-separable deep networks in relation to idealized receptive fields based on scale-space
theory", JMIV 68(3):22, 2026 (arXiv 2509.12746). Filters have their numbers 1 to 8.
"""

SPREAD: dict[str, tuple[float, float, float, float, float, float]] = {
    "1": (2.4468, -0.0231, -0.6021, 1.7992, -0.0222, 1.6321),
    "2": (2.5639, 0.5590, 0.0921, 1.3280, 0.0118, 1.4247),
    "3": (2.7282, 0.0562, 0.6932, 1.5840, 0.0350, 1.3637),
    "4": (2.3197, -0.5785, 0.0979, 1.6353, 0.0507, 1.2530),
    "5": (4.4381, 0.0569, -0.0409, 3.8474, -0.0108, 1.8477),
    "6": (3.8091, -0.0056, 0.0855, 1.6338, -0.0805, 3.3468),
    "7": (1.9654, 0.0434, -0.0860, 1.2759, 0.0030, 1.5468),
    "8": (3.0746, -0.0290, -0.0482, 2.3814, -0.0203, 2.3558),
}
"""l1 norm, mean x, mean y, Vxx, Vxy, Vyy."""

DC_OFFSET: dict[str, float] = {"7": -0.01178, "8": -0.03863}

NOTEBOOK_OFFSET_7 = -0.0117754730
"""The DC offset that the executed notebooks use for filter 7, to all their digits."""

NORMALISED_L1_NORM: dict[str, float] = {"7": 2.6862, "8": 1.0548}
"""l1 norm of the filters that have an offset, after the normalisation by moments."""

WEIGHTED_SPREAD_7: tuple[float, float] = (0.01777, 0.04522)
"""Vxx and Vyy of the normalised filter 7, weighted with T at a scale of 0.707."""

WEIGHTED_SPREAD_8: tuple[float, float, float] = (0.15240, 0.00124, 0.14866)
"""Vxx, Vxy and Vyy of the normalised filter 8, weighted with T at scale 1."""

PER_AXIS: dict[str, dict[str, tuple[float, float]]] = {
    "variance-continuous": {
        "1": (0.580662, 0.557543),
        "2": (0.558868, 0.580247),
        "3": (0.616869, 0.600914),
        "4": (0.642497, 0.424310),
        "5": (1.074689, 0.800397),
        "6": (0.771067, 1.003474),
        "8": (0.552090, 0.545270),
    },
    "variance": {
        "1": (0.644467, 0.582883),
        "2": (0.585784, 0.643953),
        "3": (0.689832, 0.674034),
        "4": (0.756030, 0.459570),
        "5": (1.106664, 0.944777),
        "6": (0.900358, 0.888872),
        "8": (0.609460, 0.601199),
    },
    "l1": {
        "1": (0.3602, 0.5105),
        "2": (0.5547, 0.4532),
        "3": (0.7007, 0.6551),
        "4": (0.5627, 0.3844),
        "5": (1.3093, 0.8753),
        "6": (0.9728, 1.1712),
        "8": (0.6366, 0.5866),
    },
    "l2": {
        "1": (0.4912, 0.7224),
        "2": (0.5814, 0.5186),
        "3": (0.4831, 0.5029),
        "4": (0.5010, 0.0002),
        "5": (1.2997, 1.0043),
        "6": (0.9843, 1.0738),
        "8": (0.6156, 0.6081),
    },
}
"""``(sigma_x, sigma_y)``; those of l1 and l2 are nodes of grids, from the executed notebooks."""

COMMON: dict[str, dict[str, float]] = {
    "l1": {
        "1": 0.458019,
        "2": 0.448246,
        "3": 0.671185,
        "4": 0.420352,
        "5": 1.387396,
        "6": 1.090261,
        "8": 0.611973,
    },
    "l2": {
        "1": 0.644021,
        "2": 0.558002,
        "3": 0.495151,
        "4": 0.379621,
        "5": 1.193435,
        "6": 1.038262,
        "8": 0.611854,
    },
}

SHARED: dict[str, dict[str, float]] = {
    "variance-continuous": {"12348": 0.56290, "56": 0.90323},
    "variance": {"12348": 0.61996, "56": 0.95642},
    "l1": {"12348": 0.60744, "56": 1.13292},
    "l2": {"12348": 0.52162, "56": 1.10818},
}
"""Scale of each group of filters; those of l1 and l2 are nodes of grids."""

SHARPENING_L2: tuple[float, float] = (0.6754, 0.5256)
"""sigma and alpha of filter 7."""

SHARPENING_L1: tuple[float, float] = (0.65377, 0.5216)
"""sigma and alpha of filter 7; the alpha is read from the grid of the l2 search."""

NODES = 200
"""Nodes along each axis of the grids of the notebooks for filter 7."""

SHARPENING_SIGMAS: tuple[float, float] = (0.60, 0.70)
"""First and last scale of these grids."""

SHARPENING_ALPHAS: dict[int, tuple[float, float]] = {1: (0.40, 0.55), 2: (0.40, 0.60)}
"""First and last strength of the grids, by the norm that is minimised on them."""

GROUPS: dict[str, tuple[int, ...]] = {"12348": (0, 1, 2, 3, 7), "56": (4, 5)}
"""The filters that share a scale, by their index from 0."""
