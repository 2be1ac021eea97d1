"""What the two controls mean, on the terminal."""

CONTROLS = (
    "white noise: random filters with equal means and norms; a fit must exceed theirs\n"
    "matched noise: random filters also as smooth and as wide; only the excess is shape"
)
