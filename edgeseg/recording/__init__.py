"""The reference as files: what PyTorch gave for some pictures, to verify an artifact where PyTorch is not."""
