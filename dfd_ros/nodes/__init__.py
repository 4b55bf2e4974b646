"""The ROS nodes, one a file: camera, sweep, depth. Each runs as ``python -m dfd_ros.nodes.NAME``."""
