"""Views as files, and photographed: what a lens makes of two layers."""

import math

import numpy as np
import pytest
import torch

from dfd_ros.core.errors import InputError
from dfd_ros.synthesis.draws import Random
from dfd_ros.synthesis.procedural import StackSettings, render_stack
from dfd_ros.synthesis.worlds import view_scene
from dfd_ros.synthesis.worlds.view import View, views
from dfd_ros.synthesis.worlds.view_scene import ViewScene

HEIGHT = WIDTH = 120


@pytest.fixture(autouse=True)
def whole_view(monkeypatch):
    """Scenes of 96 px and a margin of 12 show all of a view, in its own scale."""
    monkeypatch.setattr(view_scene, 'SCALE', (1.0, 1.0))


def card_before_a_wall(behind: bool = True) -> View:
    """A dark card at 0.5 m before a wall at 2 m, red where the card hides it and green elsewhere."""
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    card = np.s_[40:80, 40:80]
    depth[card] = 0.5
    colour = np.tile(np.float32([0, 0.5, 0]), (HEIGHT, WIDTH, 1))
    colour[card] = 0.02
    hidden = np.full_like(depth, np.nan)
    hidden[card] = 2.0
    red = np.where(np.isfinite(hidden)[..., None], np.float32([0.8, 0, 0]), 0)
    return View(colour, depth, 100.0, red, hidden) if behind else View(colour, depth, 100.0)


def scene(tmp_path, view: View, seed: int = 0, grain: float = 0.0) -> ViewScene:
    tmp_path.mkdir(exist_ok=True)
    view.write(tmp_path / 'a.npz')
    return ViewScene.random(Random(seed), 96, 96, str(tmp_path), near=0.4, margin=12, grain=grain)


def photograph(scene: ViewScene, focus: float, blur: float, camera=(0.0, 0.0)):
    poses = scene.poses(torch.zeros(1), torch.tensor([camera]), torch.zeros(1, 2), torch.ones(1))
    return scene.photograph(poses, torch.tensor([blur]), torch.tensor([focus]), torch.tensor([8.0]))


def test_a_view_is_read_as_it_was_written(tmp_path):
    view = card_before_a_wall()
    view.about = {'world': 'card', 'seed': 3}
    view.write(tmp_path / 'a.npz')
    again = View.read(tmp_path / 'a.npz')
    np.testing.assert_allclose(again.colour, view.colour, atol=1e-3)
    np.testing.assert_array_equal(again.depth, view.depth)
    np.testing.assert_array_equal(again.behind_depth, view.behind_depth)
    assert again.about == view.about and again.focal_length == 100
    assert views(tmp_path) == [tmp_path / 'a.npz']


@pytest.mark.parametrize('content', [b'', b'x' * 1000, b'PK\x03\x04' + b'x' * 100])
def test_what_is_no_view_is_refused_by_name(tmp_path, content):
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(InputError, match='a.npz') as refused:
        View.read(tmp_path / 'a.npz')
    assert '\n' not in str(refused.value)


def test_layers_of_different_size_are_refused(tmp_path):
    view = card_before_a_wall()
    view.behind_depth = view.behind_depth[:-1]
    view.write(tmp_path / 'a.npz')
    with pytest.raises(InputError, match='behind_depth'):
        View.read(tmp_path / 'a.npz')


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('colour', lambda x: x * np.nan),
        ('depth', lambda x: -x),
        ('depth', lambda x: x * np.inf),
        ('depth', lambda x: x[:0]),
        ('behind_depth', lambda x: x * 0),
        ('behind_depth', lambda x: None),
        ('focal_length', lambda x: x * 0),
    ],
)
def test_values_that_no_view_has_are_refused_by_name(tmp_path, name, change):
    view = card_before_a_wall()
    view.write(tmp_path / 'a.npz')
    arrays = dict(np.load(tmp_path / 'a.npz'))
    arrays[name] = change(arrays[name])
    np.savez(tmp_path / 'a.npz', **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=f'a.npz: .*{name}|a.npz: .*colours'):
        View.read(tmp_path / 'a.npz')


def test_a_folder_without_views_is_refused(tmp_path):
    with pytest.raises(InputError, match='no views'):
        views(tmp_path)
    with pytest.raises(InputError, match='no such folder'):
        views(tmp_path / 'none')


def test_a_view_in_focus_stays_and_u_is_affine_in_inverse_depth(tmp_path):
    room = scene(tmp_path, card_before_a_wall())
    image, u, _ = photograph(room, 0.5, 0.0)
    near, far = u.max().item(), u.min().item()
    # u = (1 / depth - 1 / range.far) / range.width for a scale of the depth: the ratio of the depths is kept.
    inverse = [v * room.range.width + 1 / room.range.far for v in (near, far)]
    assert inverse[0] / inverse[1] == pytest.approx(4, rel=1e-3)
    dark = image[0].sum(0) < 0.1
    assert (u[0, 0][dark] > near - 1e-3).float().mean() > 0.95
    assert room.range.near == pytest.approx(0.4)


def test_grain_shows_where_a_plain_wall_is_in_focus(tmp_path):
    plain, grained = (scene(tmp_path, card_before_a_wall(), grain=grain) for grain in (0.0, 1.0))
    far = plain.slices[0].vergence.min().item()

    def texture(room, focus):
        wall = photograph(room, focus, 16.0)[0][0, 1, 4:20, 4:-4]
        return (wall.diff().std() / wall.mean()).item()

    assert texture(plain, far) < 1e-3
    assert 2 * texture(grained, far + 1) < texture(grained, far) < 0.15


def test_behind_a_blurred_edge_the_second_layer_shows(tmp_path):
    with_layer, without = (scene(tmp_path / str(behind), card_before_a_wall(behind)) for behind in (True, False))
    far = with_layer.slices[0].vergence.min().item()
    (seen, u, _), (filled, _, _) = (photograph(room, far, 16.0) for room in (with_layer, without))
    assert seen[0, 0].max() > 0.2, 'the red wall shows through the rim of the card'
    assert filled[0, 0].max() < 0.1, 'without the layer it goes on as it is beside the card'
    inside = u[0, 0] == u.max()
    assert seen[0, 0][~inside].max() < 0.3, 'beside the card the wall is green'


def test_a_sharp_near_edge_stays_sharp_before_a_blurred_wall(tmp_path):
    room = scene(tmp_path, card_before_a_wall())
    image, u, _ = photograph(room, u_near := room.slices[-1].vergence.max().item(), 16.0)
    card = u[0, 0] > u_near - 0.01
    assert image[0, 1][card].quantile(0.95) < 0.06


def test_what_is_near_moves_more(tmp_path):
    room = scene(tmp_path, card_before_a_wall())
    _, still, _ = photograph(room, 0.5, 0.0)
    _, moved, _ = photograph(room, 0.5, 0.0, camera=(8.0, 0.0))
    near = still.max().item()
    columns = [(u[0, 0] > near - 0.01).any(0).nonzero()[:, 0].float().mean().item() for u in (still, moved)]
    assert columns[1] - columns[0] == pytest.approx(8 * near, abs=1)


def test_stacks_of_views_are_the_same_again_and_finite(tmp_path):
    card_before_a_wall().write(tmp_path / 'a.npz')
    settings = StackSettings(height=64, width=64, frames=4, ramp=(4, 4), views=str(tmp_path), views_share=1.0)
    one, two = (render_stack(5, settings) for _ in range(2))
    assert torch.equal(one.images, two.images) and torch.equal(one.vergence, two.vergence)
    assert torch.isfinite(one.vergence).float().mean() > 0.98
    assert one.images.float().std() > 1
    assert math.isclose(one.near.item(), one.ranges()[0].near)


def test_a_share_of_no_views_changes_nothing(tmp_path):
    plain = StackSettings(height=64, width=64, frames=3, ramp=(3, 3))
    assert torch.equal(
        render_stack(7, plain).images,
        render_stack(7, StackSettings(height=64, width=64, frames=3, ramp=(3, 3), views=None, views_share=1.0)).images,
    )
