"""The basis of all subpackages: optics, lens states, focal stacks, geometry, colour, image files."""
