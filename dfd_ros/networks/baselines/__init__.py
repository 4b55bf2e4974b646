"""The networks that `stream` is compared with: those of the literature, and two without learning."""
