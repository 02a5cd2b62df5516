"""Built-in targets, one folder per format. Reached through entry points only."""
