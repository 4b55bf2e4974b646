"""The networks to which `stream` is compared: from the literature, and two without learning."""
