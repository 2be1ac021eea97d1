"""The check-up of a network: what is wrong with its kernels, how sure that is, and what to do about it."""

from scalekeys.checkup.advice import Advice, Checkup, Place
from scalekeys.checkup.api import check

__all__ = ["Advice", "Checkup", "Place", "check"]
