"""Gazebo worlds as visuals, COLLADA of old exporters, and the limits of the second layer: all without Blender."""

import math

import numpy as np
import pytest

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.worlds import sdf
from dfd_ros.synthesis.worlds.collada import repaired
from dfd_ros.synthesis.worlds.made_rooms import make_room
from dfd_ros.synthesis.worlds.sdf import read_world
from dfd_ros.synthesis.worlds.second_layer import limits

MODEL = """<?xml version="1.0"?>
<sdf version="1.6"><model name="chair"><pose>9 9 9 0 0 0</pose>
<link name="link"><pose>0 0 0.5 0 0 0</pose><visual name="seat"><pose>0.1 0 0 0 0 0</pose>
<geometry><mesh><uri>model://chair/meshes/Chair.DAE</uri><scale>2 2 2</scale></mesh></geometry>
</visual></link></model></sdf>"""


@pytest.fixture
def models(tmp_path):
    meshes = tmp_path / 'models' / 'chair' / 'meshes'
    meshes.mkdir(parents=True)
    (meshes / 'chair.dae').write_text('<COLLADA/>')  # of another case than the model says
    (meshes.parent / 'model.sdf').write_text(MODEL)
    return tmp_path / 'models'


def world(path, body):
    file = path / 'room.world'
    file.write_text(f'\n<?xml version="1.0"?><sdf version="1.6"><world name="w">{body}</world></sdf>')
    return file


def test_poses_are_composed_and_include_poses_take_precedence(tmp_path, models):
    turned = f'<include><uri>model://chair</uri><pose>1 2 0 0 0 {math.pi / 2}</pose></include>'
    plain = '<include><uri>model://chair</uri></include>'
    found = read_world(world(tmp_path, turned + plain), [models])
    first, second = found.visuals
    np.testing.assert_allclose(first.pose[:3, 3], [1, 2.1, 0.5], atol=1e-9)
    np.testing.assert_allclose(first.pose[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-9)
    np.testing.assert_allclose(second.pose[:3, 3], [9.1, 9, 9.5])
    assert first.mesh.name == 'chair.dae' and first.scale == (2, 2, 2)


def test_shapes_have_size_and_colour(tmp_path):
    body = """<model name="m"><link name="l">
      <visual name="b"><geometry><box><size>1 2 3</size></box></geometry>
        <material><diffuse>0.2 0.4 2 1</diffuse></material></visual>
      <visual name="c"><geometry><cylinder><radius>0.5</radius><length>2</length></cylinder></geometry>
        <material><script><name>Gazebo/Red</name></script></material></visual>
      <visual name="glass"><transparency>0.9</transparency><geometry><box><size>1 1 1</size></box></geometry></visual>
      </link></model>"""
    box, cylinder = read_world(world(tmp_path, body), []).visuals
    assert box.size == (1, 2, 3) and box.colour == (0.2, 0.4, 1)
    assert cylinder.size == (1, 1, 2) and cylinder.colour == (0.8, 0.1, 0.1)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path, models):
    body = """<include><uri>model://chair</uri></include><include><uri>model://sofa</uri></include>
      <include><uri>model://sun</uri></include>
      <model name="bad"><pose>1 2 nan 0 0 0</pose></model>
      <model name="out"><link name="l"><visual name="v"><geometry><mesh><uri>file://../../secret.dae</uri></mesh>
      </geometry></visual></link></model>"""
    (tmp_path.parent / 'secret.dae').write_text('x')
    found = read_world(world(tmp_path, body), [models])
    assert len(found.visuals) == 1
    sofa, bad, out = found.left_out
    assert 'sofa' in sofa and '--models' in sofa
    assert 'bad' in bad and 'nan' in bad
    assert 'outside the world' in out or 'no such file' in out


def test_a_model_config_that_cannot_be_read_leaves_its_model_usable(tmp_path, models):
    (models / 'chair' / 'model.config').write_text(
        '<model><sdf>other.sdf</sdf><description>rail & curtain</description>'
    )
    include = '<include><uri>model://chair</uri></include>'
    assert len(read_world(world(tmp_path, include), [models]).visuals) == 1
    (models / 'chair' / 'model.sdf').rename(models / 'chair' / 'other.sdf')
    with pytest.raises(InputError, match='nothing visible'):
        read_world(world(tmp_path, include), [models])


def test_models_are_excluded_by_name(tmp_path, models):
    with pytest.raises(InputError, match='nothing visible'):
        read_world(world(tmp_path, '<include><uri>model://chair</uri></include>'), [models], ('ch*',))


def test_a_model_that_includes_itself_ends(tmp_path, models):
    (models / 'chair' / 'model.sdf').write_text(
        '<sdf version="1.6"><model name="chair"><include><uri>model://chair</uri></include></model></sdf>'
    )
    with pytest.raises(InputError, match='deep'):
        read_world(world(tmp_path, '<include><uri>model://chair</uri></include>'), [models])


def test_exponential_includes_are_refused(tmp_path, models, monkeypatch):
    monkeypatch.setattr(sdf, 'MAX_ELEMENTS', 1000)
    (models / 'chair' / 'model.sdf').write_text(
        f'<sdf version="1.6"><model name="chair">{20 * "<include><uri>model://chair</uri></include>"}</model></sdf>'
    )
    with pytest.raises(InputError, match='elements'):
        read_world(world(tmp_path, '<include><uri>model://chair</uri></include>'), [models])


def test_an_impossible_file_name_costs_only_its_visual(tmp_path, models):
    (tmp_path / 'loop.dae').symlink_to('loop.dae')
    visuals = ''.join(
        f'<visual name="v"><geometry><mesh><uri>{uri}</uri></mesh></geometry></visual>'
        for uri in ('x' * 5000 + '.dae', 'loop.dae', 'model://chair/meshes/Chair.DAE')
    )
    found = read_world(world(tmp_path, f'<model name="m"><link name="l">{visuals}</link></model>'), [models])
    assert len(found.visuals) == 1 and len(found.left_out) == 2
    assert all(len(line) < 400 for line in found.left_out)


@pytest.mark.parametrize('content', ['', 'no xml', '<sdf/>', '<robot/>', '<sdf><world/></sdf>', '<a>' * 100_000])
def test_what_is_no_world_is_refused_in_one_line(tmp_path, content):
    file = tmp_path / 'x.world'
    file.write_text(content)
    with pytest.raises(InputError, match='x.world') as refused:
        read_world(file, [])
    assert '\n' not in str(refused.value)


def test_a_folder_of_models_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match='no such folder'):
        read_world(world(tmp_path, ''), [tmp_path / 'none'])


def test_collada_ids_samplers_and_image_paths_are_repaired(tmp_path):
    (tmp_path / 'meshes').mkdir()
    (tmp_path / 'textures').mkdir()
    (tmp_path / 'textures' / 'Wood.PNG').write_bytes(b'x')
    dae = tmp_path / 'meshes' / 'a.dae'
    dae.write_text(
        '<library_images><image id="my wood#1"><init_from>C:\\work\\wood.png</init_from></image>'
        '</library_images><effect id="e 1"><profile_COMMON><technique><texture texture="my wood#1"/>'
        '</technique></profile_COMMON></effect><x url="#e 1"/>'
    )
    text = repaired(dae)
    assert 'id="my_wood_1"' in text and 'url="#e_1"' in text
    assert '<texture texture="my_wood_1-sampler"/>' in text
    assert '<newparam sid="my_wood_1-sampler"><sampler2D><source>my_wood_1-surface</source>' in text
    assert f'<init_from>{tmp_path}/textures/Wood.PNG</init_from>' in text
    assert '<init_from>my_wood_1</init_from>' in text


def test_peeling_limits_lie_between_both_sides_of_an_edge():
    depth = np.full((60, 80), 4.0)
    depth[20:50, 10:60] = 1.0
    limit = limits(depth, reach=6)
    inside = np.isfinite(limit)
    assert inside[20:26, 10:60].all() and inside[30, 10:16].all()
    assert not inside[30, 20:50].any(), 'far from every edge nothing has to be rendered'
    assert not inside[:20].any(), 'what is behind an edge hides nothing'
    assert ((limit[inside] > 1) & (limit[inside] < 4)).all()


def test_a_slanted_plane_hides_nothing():
    depth = 1 / np.linspace(0.2, 2, 480)[None].repeat(60, 0)
    assert not np.isfinite(limits(depth, reach=8)).any()


def test_generated_rooms_are_furnished_and_reproducible(tmp_path):
    models, pictures = [tmp_path / 'cup.obj'], [tmp_path / 'page.png']
    for seed in range(20):
        room, again = (make_room(seed, models, pictures) for _ in range(2))
        names = {visual.name for visual in room.visuals}
        assert {'floor', 'wall', 'ceiling', 'box', 'poster'} <= names
        assert len(room.visuals) > 15
        assert all(
            np.array_equal(a.pose, b.pose) and a.texture == b.texture for a, b in zip(room.visuals, again.visuals)
        )
        assert all(min(v.size) > 0 for v in room.visuals if v.shape == 'box')
    assert not any(v.mesh or v.texture for v in make_room(1, [], []).visuals)
