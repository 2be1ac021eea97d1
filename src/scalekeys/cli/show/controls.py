"""What the two controls mean, on the terminal."""

CONTROLS = (
    "white noise shares only means and norms with the filters: what explains no more of them than of it says nothing;\n"
    "matched noise shares also smoothness and extent: what goes beyond it is the form of the filters"
)
