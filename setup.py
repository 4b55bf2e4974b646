"""The library and the command `dfd`, for a machine without ROS: `pip install .`

With ROS, CMakeLists.txt installs the same Python package beside its messages.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'<version>([^<]+)</version>', (ROOT / 'package.xml').read_text()).group(1)

# Folders of the repository that ship inside the package, as dfd_ros/share/NAME: see dfd_ros/core/resources.py.
RESOURCES = [
    path
    for top in ('config', 'msg', 'weights')
    for path in [Path(top), *sorted(Path(top).rglob('*/'))]
    if (ROOT / path).is_dir()
]
PACKAGES = {'dfd_ros.share.' + '.'.join(path.parts): str(path) for path in RESOURCES}

setup(
    name='dfd_ros',
    version=VERSION,
    description='Metric depth from one camera whose focus moves',
    long_description=(ROOT / 'README.md').read_text(),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    author='The dfd_ros authors',
    keywords=['depth from defocus', 'depth from focus', 'focal stack', 'autofocus camera', 'ROS 2', 'robotics'],
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
        'Typing :: Typed',
    ],
    # subprocess.Popen(process_group=...), by which nodes and renderers end with their parent, came with 3.11.
    python_requires='>=3.11',
    packages=[*find_packages(include=['dfd_ros', 'dfd_ros.*']), *PACKAGES],
    package_dir=PACKAGES,
    package_data={'dfd_ros': ['py.typed'], **{name: ['*'] for name in PACKAGES}},
    install_requires=[
        'torch>=2.4',
        'numpy',
        'opencv-python-headless',
        'pillow',
        'pydantic>=2.12',
        'safetensors',
        'PyYAML',
        'tqdm',
    ],
    extras_require={
        # Without isal, samples are packed and unpacked by zlib, which takes longer.
        'bags': ['rosbags', 'isal', 'backports.zstd; python_version < "3.14"'],
        # Video in bags: H.264, H.265, AV1, VP9. See docs/recording.md.
        'video': ['av'],
        # Blender is there for this Python alone. See docs/blender.md.
        'blender': ['bpy==4.5.15; python_version == "3.11"'],
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        # Libraries of camera makers. See docs/cameras.md.
        'depthai': ['depthai>=3'],
        'picamera2': ['picamera2'],
        'pypylon': ['pypylon'],
        # HEIC and RAW photographs. See docs/focal_stacks.md.
        'phones': ['pillow-heif', 'rawpy'],
        # Public RGB-D and test sets. See docs/public_data.md.
        'public': ['h5py', 'OpenEXR', 'scipy'],
        'train': ['tensorboard', 'matplotlib'],
        'calibrate': ['matplotlib'],
        # The live page. See docs/viewing.md.
        'view': ['viser>=1.1,<2'],
        # Samples on a web server; s3fs, gcsfs and the like for object stores. See docs/training.md.
        'remote': ['fsspec', 'aiohttp'],
        'completion': ['argcomplete'],
        # dfd submit. See docs/clusters.md.
        'slurm': ['submitit>=1.5,<2'],
        'test': ['pytest', 'pytest-timeout', 'pytest-xdist', 'hypothesis'],
    },
    entry_points={'console_scripts': ['dfd = dfd_ros.cli:main']},
)
