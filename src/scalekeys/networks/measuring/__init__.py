"""Measurements of a running network: what its depthwise layers see, how much depends on them, how accurate it is."""
