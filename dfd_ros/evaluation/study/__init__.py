"""The study's comparison of networks for depth from focus: trained on the same data, measured on the same scenes."""
