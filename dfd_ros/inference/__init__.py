"""What runs a network on a stream of images: estimator, backends, registration, export."""
