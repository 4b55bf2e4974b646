"""The basis of all rooms: optics, lens states, focal stacks, geometry, colour, image files."""
