"""One Dockerfile for each built-in target."""
