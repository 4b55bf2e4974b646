"""Validation stacks: rendered once, kept beside the runs, and rendered again for other settings or code."""

from dataclasses import replace

import pytest
import torch

from dfd_ros.synthesis.procedural import StackBatch, StackSettings
from dfd_ros.synthesis.scene import SceneSettings
from dfd_ros.training import kept_stacks, validation
from dfd_ros.training.validation import Kept

CPU = torch.device('cpu')
SETTINGS = StackSettings(height=16, width=16, frames=3, ramp=(3, 3), scene=SceneSettings(objects=(1, 2)))


@pytest.fixture
def rendered(monkeypatch):
    """The seeds that were rendered."""
    seeds = []
    render = validation.render_stack
    monkeypatch.setattr(validation, 'render_stack', lambda seed, *rest: seeds.append(seed) or render(seed, *rest))
    return seeds


def test_stacks_are_rendered_once(tmp_path, rendered):
    first = Kept(tmp_path / 'validation').stacks('data', SETTINGS, 2, CPU)
    again = Kept(tmp_path / 'validation').stacks('data', SETTINGS, 2, CPU)
    assert len(rendered) == 2 and len(list((tmp_path / 'validation').iterdir())) == 1
    for name in StackBatch.__dataclass_fields__:
        torch.testing.assert_close(getattr(first, name), getattr(again, name), rtol=0, atol=0, equal_nan=True)


def test_other_settings_or_code_render_others(tmp_path, rendered, monkeypatch):
    for settings, count in ((SETTINGS, 1), (SETTINGS, 2), (replace(SETTINGS, width=24), 1)):
        assert len(Kept(tmp_path).stacks('data', settings, count, CPU).images) == count
    assert len(rendered) == 4
    monkeypatch.setattr(kept_stacks, '_code', lambda: 'other')
    Kept(tmp_path).stacks('data', SETTINGS, 1, CPU)
    assert len(rendered) == 5 and len(list(tmp_path.iterdir())) == 4


def test_files_count_by_their_content(tmp_path, rendered, monkeypatch):
    monkeypatch.setattr(validation, 'render_stack', lambda seed, settings, device: stack)
    stack = validation.StackBatch(*(torch.zeros(1) for _ in StackBatch.__dataclass_fields__))
    for path, content in (('a', '1'), ('b', '1'), ('b', '2')):
        Kept(tmp_path, {'views': content}).stacks('data', replace(SETTINGS, views=path), 1, CPU)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_file_is_made_again(tmp_path, rendered):
    whole = Kept(tmp_path).stacks('data', SETTINGS, 1, CPU)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    again = Kept(tmp_path).stacks('data', SETTINGS, 1, CPU)
    assert len(rendered) == 2 and torch.equal(whole.images, again.images)
    assert torch.equal(Kept(tmp_path).stacks('data', SETTINGS, 1, CPU).images, whole.images) and len(rendered) == 2
