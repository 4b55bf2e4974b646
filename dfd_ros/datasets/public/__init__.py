"""Public test sets, read as they are published: sequences of focal stacks with true depth."""
