"""What Blender itself renders: the lens, the truth, the user's files. Skipped where bpy is missing; small images.

bpy is looked for in this Python, and in the one that DFD_BLENDER_PYTHON names.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from command_line import dfd
from PIL import Image

from dfd_ros.core.optics import Lens
from dfd_ros.datasets.shards import Samples
from dfd_ros.datasets.stack_batch import to_stack_batch
from dfd_ros.synthesis.blender import split_pools
from dfd_ros.synthesis.blender.blender_process import environment, query
from dfd_ros.synthesis.blender.render_settings import RenderSettings

PYTHON = os.environ.get('DFD_BLENDER_PYTHON') or (sys.executable if importlib.util.find_spec('bpy') else None)
pytestmark = [
    pytest.mark.skipif(PYTHON is None, reason='no bpy in this Python, and DFD_BLENDER_PYTHON names none'),
    pytest.mark.slow(reason='Blender starts and path-traces'),
]


def render(out: Path, *more: str) -> int:
    options = '--preset machine_vision --scenes 1 --height 40 --width 48 --samples 2 --device cpu --workers 1'
    return dfd('render', '--engine', 'blender', '--out', out, *options.split(), '--blender-python', PYTHON, *more)


@pytest.fixture(scope='module')
def moving(tmp_path_factory):
    """A small stack in which everything moves, and the folder that it is in."""
    out = tmp_path_factory.mktemp('blender') / 'moving'
    assert render(out, '--motion', 'both', '--seed', '3') == 0
    return next(iter(Samples(out))), out


def test_real_surfaces_are_partly_plain(tmp_path):
    out = tmp_path / 'real'
    assert render(out, '--surfaces', 'real', '--seed', '5') == 0
    scene = json.loads((out / 'scenes.jsonl').read_text().splitlines()[0])
    assert 'plain' in scene['textures'] and len(scene['textures']) > 2


def test_blur_agrees_with_the_thin_lens():
    """Within 5 % or half a pixel, at ten distances and focus settings: near and far, little blur and much."""
    lens = Lens(25e-3, 2.0, 27e-6)
    places = [(0.3, 0.6), (0.6, 0.3), (0.5, 0.6), (1.25, 0.5), (0.4, 0.3), (1.0, 0.4)]
    cases = [{**vars(lens), 'distance': d, 'focus_distance': f, 'breathing': False} for d, f in places]
    cases += [{**vars(lens), 'distance': d, 'focus_distance': f, 'breathing': True} for d, f in places[:2]]
    # A phone's: sensor and focal length smaller than Blender takes them.
    cases += [
        {
            'focal_length': 2.9e-3,
            'f_number': 1.0,
            'pixel_pitch': 6e-6,
            'distance': d,
            'focus_distance': f,
            'breathing': False,
        }
        for d, f in ((0.12, 0.5), (0.8, 0.1))
    ]
    assert len(cases) == 10
    for case, blur in zip(cases, query('lens_check', cases, PYTHON), strict=True):
        lens = Lens(case['focal_length'], case['f_number'], case['pixel_pitch'])
        expected = lens.coc_px(case['distance'], case['focus_distance'])
        assert expected > 3 and abs(blur - expected) <= max(0.5, 0.05 * expected), (case, blur, expected)


def test_more_samples_leave_less_noise():
    job = {
        'settings': asdict(RenderSettings(height=40, width=40)),
        'seeds': [0],
        'frames': [0, 4],
        'samples': [2, 32],
        'reference': 64,
    }
    found = query('noise_check', job, PYTHON)
    few, many = ([f for f in found if f['samples'] == count] for count in (2, 32))
    assert [f['frame'] for f in few] == [f['frame'] for f in many] == [0, 4]
    for what in ('typical', 'noise', 'error'):
        assert all(0 < b[what] < 0.7 * a[what] for a, b in zip(few, many))


def test_a_sample_has_all_its_truth(moving):
    sample, _ = moving
    settings = RenderSettings(preset='machine_vision', motion='both', height=40, width=48)
    assert sample.images.shape == (5, 40, 48, 3) and sample.images.std() > 10
    assert [state.focus_distance for state in sample.lens_states] == settings.focus_distances()
    for t, state in enumerate(sample.lens_states):
        np.testing.assert_allclose(sample.coc[t], state.lens.coc_px(sample.depth[t], state.focus_distance), rtol=1e-5)
    assert 20 <= sample.about['objects'] <= 30
    assert 0.02 < sample.background.mean() < 0.9
    # The wall lies behind all objects.
    assert sample.depth[~sample.background].max() < sample.depth[sample.background].max()
    assert np.isfinite(sample.depth).all() and sample.depth.min() > 0.1
    assert sample.flow.shape == (4, 40, 48, 2) and sample.all_in_focus.shape == sample.images.shape
    batch = to_stack_batch(sample)
    assert batch.focus[0].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_depth_is_along_the_optical_axis(moving):
    """A wall is a plane: its depth is the inverse of a linear function of the pixels, as distance from the camera is
    not."""
    sample, _ = moving
    wall = sample.background[0] & (sample.depth[0] > 1.2)
    y, x = np.nonzero(wall)
    inverse = 1 / sample.depth[0][wall].astype(float)
    design = np.stack([x, y, np.ones_like(x)], -1)
    plane, *_ = np.linalg.lstsq(design, inverse, rcond=None)
    assert len(x) > 50 and np.abs(design @ plane - inverse).max() < 1e-4


def _inner(mask: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours are in the mask as well."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def test_flow_leads_to_the_same_point(moving):
    """Where the flow leads, the next frame sees the depth that the point has there, unless it is hidden."""
    sample, _ = moving
    fx, fy, cx, cy = sample.intrinsics
    agreeing, on_objects, if_still = 0.0, [], []
    y, x = np.mgrid[:40, :48]
    for t in range(4):
        ahead = np.stack([x, y], -1) + sample.flow[t].astype(float)
        inside = ((ahead >= 0) & (ahead <= (47, 39))).all(-1)
        column, row = np.rint(np.where(inside[..., None], ahead, 0)).astype(int).transpose(2, 0, 1)
        # Of what stands still, the pose of the camera alone says what its depth is in the next frame.
        points = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x)], -1) * sample.depth[t, ..., None]
        step = np.linalg.inv(sample.poses[t + 1]) @ sample.poses[t]
        next_depth = points @ step[2, :3] + step[2, 3]
        still = inside & sample.background[t] & sample.background[t + 1][row, column]
        difference = np.abs(sample.depth[t + 1][row, column] - next_depth) / next_depth
        agreeing += (difference[still] < 0.01).mean() / 4
        # Objects move too, and turn: there the colour of the surface tells, away from edges.
        for rows, columns, agree in ((row, column, on_objects), (y, x, if_still)):
            objects = inside & _inner(~sample.background[t]) & _inner(~sample.background[t + 1])[rows, columns]
            colours = np.abs(sample.all_in_focus[t].astype(float) - sample.all_in_focus[t + 1][rows, columns]).mean(-1)
            agree.append(colours[objects])
    assert agreeing > 0.97
    on_objects, if_still = (np.concatenate(parts) for parts in (on_objects, if_still))
    assert len(on_objects) > 200 and on_objects.mean() < 0.85 * if_still.mean(), (on_objects.mean(), if_still.mean())
    assert np.nanmax(np.abs(sample.flow.astype(float))) > 0.2


def test_the_frame_is_sharp_where_its_focus_is(moving):
    """Frames keep more of the contrast of the all-in-focus image where the circle of confusion is small."""
    sample, _ = moving
    kept = []
    for where in (sample.coc < 1, sample.coc > 4):
        assert where.sum() > 100
        blurred, sharp = (
            np.hypot(*np.gradient(images.mean(-1), axis=(1, 2)))[where].sum()
            for images in (sample.images, sample.all_in_focus)
        )
        kept.append(blurred / sharp)
    assert kept[1] < 0.8 * kept[0], kept


def test_seed_and_split_determine_the_scene(tmp_path, moving):
    sample, _ = moving
    assert render(tmp_path / 'again', '--motion', 'both', '--seed', '3') == 0
    again = next(iter(Samples(tmp_path / 'again')))
    for name in ('images', 'depth', 'flow', 'all_in_focus', 'background'):
        np.testing.assert_array_equal(getattr(again, name), getattr(sample, name))
    assert render(tmp_path / 'test', '--motion', 'both', '--seed', '3', '--split', 'test') == 0
    other = next(iter(Samples(tmp_path / 'test')))
    for kind in ('meshes', 'textures'):
        assert not set(other.about[kind]) & set(sample.about[kind])
    assert other.about['light'] != sample.about['light']


def test_the_users_files_are_used(tmp_path):
    for folder in ('meshes', 'textures'):
        (tmp_path / folder).mkdir()
    names = iter(name for name in (f'part{i}' for i in range(99)))
    corners = np.array([[x, y, z] for x in (0, 40) for y in (0, 40) for z in (0, 90)])
    faces = [[1, 2, 4, 3], [5, 7, 8, 6], [1, 5, 6, 2], [3, 4, 8, 7], [1, 3, 7, 5], [2, 6, 8, 4]]
    obj = next(name for name in names if split_pools.split_of(f'{name}.obj') == 'train')
    (tmp_path / 'meshes' / f'{obj}.obj').write_text(
        ''.join(f'v {x} {y} {z}\n' for x, y, z in corners)
        + ''.join(f'f {" ".join(map(str, face))}\n' for face in faces)
    )
    ply = next(name for name in names if split_pools.split_of(f'{name}.ply') == 'train')
    (tmp_path / 'meshes' / f'{ply}.ply').write_text(
        'ply\nformat ascii 1.0\nelement vertex 8\nproperty float x\nproperty float y\nproperty float z\n'
        'element face 6\nproperty list uchar int vertex_indices\nend_header\n'
        + ''.join(f'{x} {y} {z}\n' for x, y, z in corners)
        + ''.join(f'4 {" ".join(str(i - 1) for i in face)}\n' for face in faces)
    )
    png = next(name for name in names if split_pools.split_of(f'{name}.png') == 'train')
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(
        tmp_path / 'textures' / f'{png}.png'
    )
    assert (
        render(
            tmp_path / 'set',
            '--meshes',
            str(tmp_path / 'meshes'),
            '--textures',
            str(tmp_path / 'textures'),
            '--frames',
            '2',
        )
        == 0
    )
    about = next(iter(Samples(tmp_path / 'set'))).about
    assert {f'{obj}.obj', f'{ply}.ply'} <= set(about['meshes']) and png in about['textures']


def in_blender(script: str, *arguments: object) -> list:
    """What a script that has bpy prints last, as JSON."""
    run = subprocess.run(
        [PYTHON, '-c', script, *map(str, arguments)], env=environment(), text=True, check=True, capture_output=True
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_what_moves_by_itself_in_a_file_does_not_move(tmp_path):
    """The pose of an object is the scene's alone, in every frame: the truth knows no other."""
    found = in_blender(
        """
import json, sys, bpy
from pathlib import Path
from dfd_ros.synthesis.blender import objects
path = Path(sys.argv[1])
bpy.ops.mesh.primitive_cube_add()
cube = bpy.context.object
cube.shape_key_add(name='Basis')
key = cube.shape_key_add(name='wide')
for point in key.data:
    point.co.x *= 3
for frame in (0, 10):
    cube.location.x = key.value = frame / 10
    cube.keyframe_insert('location', frame=frame)
    key.keyframe_insert('value', frame=frame)
bpy.ops.export_scene.gltf(filepath=str(path), export_animations=True)
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=str(path))
moving = any(o.animation_data and o.data.shape_keys.animation_data for o in bpy.data.objects)
bpy.ops.wm.read_factory_settings(use_empty=True)
added = objects.add_file(path)
added.location = (1, 2, 3)
seen = []
for frame in (0, 5, 10):
    bpy.context.scene.frame_set(frame)
    evaluated = added.evaluated_get(bpy.context.evaluated_depsgraph_get())
    corners = [evaluated.matrix_world @ vertex.co for vertex in evaluated.data.vertices]
    seen.append([round(max(c[axis] for c in corners), 4) for axis in range(3)])
print()
print(json.dumps([moving, seen]))
""",
        tmp_path / 'cube.glb',
    )
    half = pytest.approx(3**-0.5, abs=0.02)  # of a unit sphere
    assert found[0] and found[1][0] == found[1][1] == found[1][2]
    assert [seen - place for seen, place in zip(found[1][0], (1, 2, 3))] == [half] * 3


PICTURE = """
import json, sys, bpy
import numpy as np
from pathlib import Path
from dfd_ros.synthesis.blender import light, materials

def picture(material, light_up, angle):
    # A square that faces the camera, (32 * 32, 3): of what `material()` gives it, if anything, lit by `light_up()`.
    bpy.ops.wm.read_factory_settings(use_empty=True)
    data = bpy.data.meshes.new('plane')
    data.from_pydata([(-1, 4, -1), (1, 4, -1), (1, 4, 1), (-1, 4, 1)], [], [(0, 1, 2, 3)])
    plane = bpy.data.objects.new('plane', data)
    if made := material():
        data.materials.append(made)
    camera = bpy.data.objects.new('camera', bpy.data.cameras.new('camera'))
    camera.rotation_euler, camera.data.angle = (np.pi / 2, 0, 0), angle
    scene = bpy.context.scene
    scene.camera = camera
    for added in (plane, camera):
        scene.collection.objects.link(added)
    light_up()
    scene.render.engine, scene.cycles.samples = 'CYCLES', 4
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.filepath = sys.argv[1]
    bpy.ops.render.render(write_still=True)
    return np.array(bpy.data.images.load(sys.argv[1]).pixels[:]).reshape(-1, 4)[:, :3]

def even():
    light._surround(np.random.default_rng(0), 1.0)
"""


def test_pictures_are_seen_on_meshes_without_uv(tmp_path):
    """They lie on all sides of it; with the coordinates of a mesh that has none, all of it had one colour."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / 'x.png')
    deviations = in_blender(
        PICTURE
        + """
deviations = [float(picture(lambda: materials.image(np.random.default_rng(0), Path(sys.argv[2]), 1, has_uv), even, 0.4)
                    .std(0).mean()) for has_uv in (False, True)]
print()
print(json.dumps(deviations))
""",
        tmp_path / 'out.png',
        tmp_path / 'x.png',
    )
    boxed, as_if_it_had_uv = deviations
    assert boxed > 0.04 and boxed > 3 * as_if_it_had_uv


def test_no_family_of_materials_or_light_is_in_two_splits():
    for families in in_blender("""
import json
from dfd_ros.synthesis.blender import light, materials
print()
print(json.dumps([[[family.__name__ for family in families] for families in module.FAMILIES.values()]
                  for module in (light, materials)]))
"""):
        assert len(families) == 3 and all(families)
        assert len(set().union(*families)) == sum(map(len, families))


def test_every_material_has_texture_and_every_light_lights(tmp_path):
    found = in_blender(
        PICTURE
        + """
def textured(family):
    materials.FAMILIES['one'] = (family,)
    made = materials.procedural(np.random.default_rng(1), 'one')
    # Without the noise that lies over all of them.
    next(node for node in made.node_tree.nodes if node.type == 'MIX').inputs['Factor'].default_value = 0
    return made

families = [family for split in materials.FAMILIES.values() for family in split]
textures = {family.__name__: float(picture(lambda: textured(family), even, 0.2).mean(1).std()) for family in families}
lights = {family.__name__: float(picture(lambda: None, lambda: family(np.random.default_rng(1), 5.0), 0.2).mean())
          for split in light.FAMILIES.values() for family in split}
print()
print(json.dumps([textures, lights]))
""",
        tmp_path / 'out.png',
    )
    textures, lights = found
    assert not {name: deviation for name, deviation in textures.items() if deviation < 0.01}
    assert not {name: mean for name, mean in lights.items() if mean < 0.03}


def test_what_blender_cannot_read_is_named(tmp_path, capsys):
    (tmp_path / 'meshes').mkdir()
    names = (f'bad{i}.ply' for i in range(99))
    name = next(name for name in names if split_pools.split_of(name) == 'train')
    (tmp_path / 'meshes' / name).write_text('no mesh')
    assert render(tmp_path / 'set', '--meshes', str(tmp_path / 'meshes')) == 2
    assert name in capsys.readouterr().err.splitlines()[-1]
