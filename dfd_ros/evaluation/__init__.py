"""How good a network is: figures over stacks with truth, and the study that compares networks."""
