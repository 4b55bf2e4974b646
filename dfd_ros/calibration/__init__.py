"""What has to be known of a rig: intrinsics, extrinsics, focus map, effective aperture, focus breathing.

Each is measured by one command, `dfd calibrate …`, and all are kept in one file
(`dfd_ros.calibration.calibration_file`).
"""
