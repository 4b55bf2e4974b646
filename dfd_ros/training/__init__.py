"""Training: configuration, losses, metrics and the loop."""
