"""Trace of a small network: every number of a forward and a backward pass, checked by autograd and differences."""
