"""Published sets of RGB-D images, read as views to photograph anew."""
