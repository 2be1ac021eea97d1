"""Networks as they run: batches of inputs, depthwise layers, and what passes through them."""
