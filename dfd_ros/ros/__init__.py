"""What the nodes share: parameters, image messages, synchronisation, QoS, diagnostics. Needs ROS 2."""
