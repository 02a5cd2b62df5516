"""Training: assigner, losses, optimisation, checkpoints. Needs the extra `train`; nothing outside imports it early."""
