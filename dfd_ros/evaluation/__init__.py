"""The accuracy of networks on stacks with ground truth, and the study that compares networks."""
