"""Published sets of RGB-D images, read as views, which training photographs through simulated lenses."""
