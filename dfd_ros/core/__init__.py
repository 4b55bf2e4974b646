"""What everything else is made of: optics, lens states, focal stacks, geometry, colour, image files."""
