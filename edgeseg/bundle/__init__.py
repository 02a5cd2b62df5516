"""One tar with all that a device needs to finish an artifact and to verify it without PyTorch."""
