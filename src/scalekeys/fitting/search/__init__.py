"""How families compete for each filter."""
