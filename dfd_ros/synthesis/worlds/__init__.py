"""Views of furnished rooms: Gazebo worlds (SDF) and generated rooms, path-traced sharp in two layers."""
