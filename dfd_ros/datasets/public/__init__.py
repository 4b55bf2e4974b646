"""Public test sets in their published formats: sequences of focal stacks with true depth."""
