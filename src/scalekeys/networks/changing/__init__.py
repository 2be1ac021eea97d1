"""Copies of a network with other depthwise kernels, and with statistics that fit them."""
