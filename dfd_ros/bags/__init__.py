"""Recordings: rosbag2 read and written without ROS, streams aligned in time and space, and made into samples."""
