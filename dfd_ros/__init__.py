"""Metric depth from one camera whose focus moves."""
from pkgutil import extend_path

# The generated dfd_ros.msg lies in a directory of its own where the package is used from a checkout.
__path__ = extend_path(__path__, __name__)
