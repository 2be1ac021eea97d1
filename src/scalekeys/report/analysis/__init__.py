"""From the fit of one network to a page: what its filters are, at which scales, and how well theory fits them."""
