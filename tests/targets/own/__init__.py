"""Tests that run in the environment of their target, `make own-NAME`: pytest started elsewhere passes them over."""
