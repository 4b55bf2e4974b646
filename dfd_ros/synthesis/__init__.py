"""Focal stacks made by computer."""
