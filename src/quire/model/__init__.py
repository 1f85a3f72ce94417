"""The network itself: families, layers, ops, kernels, checkpoints. Rooms are imported by name."""
