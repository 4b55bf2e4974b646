"""Views of furnished rooms: worlds of Gazebo (SDF) and rooms made here, path-traced sharp in two layers."""
