import sys

from dfd_ros.cli import main

if __name__ == '__main__':
    sys.exit(main())
