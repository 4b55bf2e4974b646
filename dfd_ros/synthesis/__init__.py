"""Synthetic focal stacks."""
