"""Numbers that stay in their file until they are asked for: stretches of bytes, and tensors that lie in them."""
