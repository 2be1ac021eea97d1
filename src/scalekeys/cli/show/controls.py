"""What the two controls mean, on the terminal."""

CONTROLS = (
    "white noise: the same means and norms; a model no better there says nothing\n"
    "matched noise: also as smooth and as wide; what goes beyond it is not due to these alone"
)
