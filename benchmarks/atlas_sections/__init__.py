"""The sections of the benchmark of an atlas."""
