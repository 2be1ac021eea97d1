"""Networks whose depthwise kernels are functions of scales that can be learned."""
