"""Where a target's stages run: this interpreter, a venv of the target's own, or its container image."""
