"""The cards that ship with edgeseg: flat, complete examples, one per device family."""
