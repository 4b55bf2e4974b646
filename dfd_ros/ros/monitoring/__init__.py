"""What is seen of the running nodes: figures against the truth, pictures and a video. No ROS in it."""
