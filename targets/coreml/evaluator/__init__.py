"""Executes the ML program of a saved package, with torch, where Apple's runtime is absent.

It proves what the package says: operations, their parameters, the stored weights, and the precision of every value.
It does not prove what Apple's runtime makes of them: a Neural Engine adds up a convolution in its own precision.
"""
