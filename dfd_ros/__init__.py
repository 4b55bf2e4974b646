"""Metric depth from one camera whose focus moves."""
