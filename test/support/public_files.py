"""Small files in exactly the layouts in which the public sets come."""

import numpy as np
import pytest
from PIL import Image


def texture(height, width, seed=0):
    """(H, W, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def planes(height, width, near, far):
    """(H, W) float32 m: the left half near, the right one far."""
    depth = np.full((height, width), far, np.float32)
    depth[:, : width // 2] = near
    return depth


def hdf5(path, **arrays):
    h5py = pytest.importorskip('h5py')
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        for name, array in arrays.items():
            file[name] = array


def half_exr(path, depth):
    """As Blender writes a depth image: half floats, the depth in R, G and B."""
    OpenEXR = pytest.importorskip('OpenEXR')
    pixels = np.repeat(depth[..., None], 3, -1).astype(np.float16)
    OpenEXR.File({'compression': OpenEXR.ZIP_COMPRESSION, 'type': OpenEXR.scanlineimage}, {'RGB': pixels}).write(
        str(path)
    )


def hypersim(folder, height=96, width=128):
    """Returns the planar depth of its one frame: a wall at 3 m."""
    images = folder / 'ai_001_001' / 'images'
    focal = 886.81 * width / 1024
    y, x = np.mgrid[:height, :width]
    rays = np.sqrt((x - (width - 1) / 2) ** 2 + (y - (height - 1) / 2) ** 2 + focal**2) / focal
    distance = (3 * rays).astype(np.float16)
    distance[0, 0] = np.nan
    hdf5(
        images / 'scene_cam_00_final_hdf5' / 'frame.0000.color.hdf5',
        dataset=(texture(height, width) / 50).astype(np.float16),
    )
    hdf5(images / 'scene_cam_00_geometry_hdf5' / 'frame.0000.depth_meters.hdf5', dataset=distance)
    return np.full((height, width), 3.0)


def tartanair(folder, height=96, width=128):
    trajectory = folder / 'office' / 'Easy' / 'P000'
    for name in ('image_left', 'depth_left'):
        (trajectory / name).mkdir(parents=True)
    depth = planes(height, width, 1.0, 10000.0)
    for i in range(2):
        Image.fromarray(texture(height, width, i)).save(trajectory / 'image_left' / f'{i:06d}_left.png')
        np.save(trajectory / 'depth_left' / f'{i:06d}_left_depth.npy', depth)
    return depth


def nyuv2(path, images=2):
    """Returns the depth (480, 640) of each image."""
    depth = planes(480, 640, 1.0, 4.0)
    colour = np.stack([texture(480, 640, i) for i in range(images)])
    hdf5(path, images=colour.transpose(0, 3, 2, 1), depths=np.stack([depth.T] * images))
    return depth


def rgbd(folder, height=96, width=128):
    for name in ('color', 'depth'):
        (folder / name).mkdir(parents=True)
    (folder / 'intrinsics.yaml').write_text('{fx: 110, fy: 110, cx: 63.5, cy: 47.5}')
    depth = planes(height, width, 0.5, 2.0)
    depth[10:20, 40:50] = 0
    Image.fromarray(texture(height, width)).save(folder / 'color' / 'a.png')
    Image.fromarray(np.round(depth * 1000).astype(np.uint16)).save(folder / 'depth' / 'a.png')
    return depth


def ddff12(path, stacks=2):
    """All slices are equally sharp. Returns the disparity (H, W), 0 where there is none."""
    disparity = np.where(np.arange(64)[None] < 32, 0.2, 0.05) * np.ones((48, 1))
    disparity[:4] = 0
    images = np.stack([np.stack([texture(48, 64, i)] * 10) for i in range(stacks)])
    hdf5(
        path,
        stack_train=images,
        disp_train=np.stack([disparity] * stacks).astype(np.float32),
        stack_val=images,
        disp_val=np.stack([disparity] * stacks).astype(np.float32),
    )
    return disparity


def fod500(folder, numbers=(399, 400, 401)):
    folder.mkdir(parents=True, exist_ok=True)
    depth = planes(64, 64, 0.3, 2.5)
    for number in numbers:
        for i in range(5):
            Image.fromarray(texture(64, 64, number)).save(folder / f'{number:06d}_{i:02d}All.tif')
        half_exr(folder / f'{number:06d}Dpt.exr', depth)
    return depth


def zedd(folder, runs=9, height=128, width=192):
    """Images of twice the size that the depth has, both larger than what is evaluated on."""
    lines = ['# run\tmotor\tfocus distance (m)']
    lines += [f'run_{run}\t{0x6D3E - 100 * run:04X}\t{0.8 * 1.4**run:.3f}' for run in range(1, runs + 1)]
    scene = folder / 'val' / 'val_0001'
    for name in ('focus_stack', 'gt'):
        (scene / name).mkdir(parents=True)
    (folder / 'metadata.txt').write_text('\n'.join(lines) + '\n')
    for run in range(1, runs + 1):
        for aperture in ('1.4', '2.8', '16.0'):
            name = f'img_run_{run}_motor_{0x6D3E - 100 * run:04X}_aperture_F{aperture}.jpg'
            Image.fromarray(texture(height, width)).save(scene / 'focus_stack' / name)
    depth = planes(height // 2, width // 2, 1.5, 6.0)
    depth[0] = np.nan
    np.save(scene / 'gt' / 'depth.npy', depth)
    np.savetxt(scene / 'gt' / 'K.txt', np.array([[100, 0, width / 4], [0, 100, height / 4], [0, 0, 1]]))
    return depth
