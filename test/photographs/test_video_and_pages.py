"""Focal stacks from videos of a focus pull and from TIFF files with pages."""

import cv2
import numpy as np
import pytest
from focus_pictures import HEIGHT, WIDTH, photograph, sweep
from PIL import Image

from dfd_ros.core.errors import InputError
from dfd_ros.photographs import read_focal_stack
from dfd_ros.photographs.video import choose, read_focus_pull

pytestmark = pytest.mark.slow(reason='videos are written and estimated')

RATE = 30


def write_video(path, foci, **options):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), RATE, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for focus in foci:
        writer.write(photograph(float(focus), **options)[..., ::-1])
    writer.release()
    return path


def foci_of(pull, foci):
    return [foci[round(time * RATE)] for time in pull.times]


@pytest.mark.parametrize('reverse', [False, True])
def test_frames_cover_the_pull_and_no_more(tmp_path, reverse):
    """The focus rests, moves, and rests again."""
    foci = np.concatenate([np.zeros(20), np.linspace(0, 1, 40), np.ones(20)])
    foci = foci[::-1] if reverse else foci
    pull = read_focus_pull(write_video(tmp_path / 'pull.mp4', foci, breathing=0.05))
    found = foci_of(pull, foci)
    assert len(found) == 10
    assert found == sorted(found, reverse=reverse) and max(found) > 0.95 and min(found) < 0.05
    assert np.abs(np.diff(found)).max() < 0.3 and np.abs(np.diff(found)).min() > 0.02
    assert pull.order.order == (tuple(range(9, -1, -1)) if reverse else tuple(range(10)))
    stack = read_focal_stack(tmp_path / 'pull.mp4')
    assert not stack.is_metric and stack.images[0].shape == (HEIGHT, WIDTH, 3)
    # The nearest column, at the right, is sharpest in the last frames, wherever the video starts.
    detail = [cv2.Laplacian(image[:, -40:], cv2.CV_32F).var() for image in stack.images]
    assert np.argmax(detail) >= 7
    assert 'videos have no focus distances' in stack.focus_source


def test_a_pull_that_turns_round_is_taken_once(tmp_path):
    foci = np.concatenate([np.linspace(0, 1, 30), np.linspace(1, 0, 30)])
    found = foci_of(read_focus_pull(write_video(tmp_path / 'pull.mp4', foci)), foci)
    steps = np.diff(found)
    assert ((steps > 0).all() or (steps < 0).all()) and np.ptp(found) > 0.9


def test_a_pull_after_a_rest_goes_by_time_without_breathing(tmp_path):
    foci = np.concatenate([np.zeros(20), np.linspace(0, 1, 20)])
    pull = read_focus_pull(write_video(tmp_path / 'pull.mp4', foci))
    assert pull.order.order == tuple(range(len(pull.times))) and pull.times[0] > 0
    assert 'the first is assumed to be focused farthest' in pull.focus_source


def test_choice_follows_the_position():
    assert choose(np.linspace(0, 1, 10)) == list(range(10))
    assert choose(np.array([1, 0.5, 0.0])) == [0, 1, 2]
    held = np.concatenate([np.zeros(50), np.linspace(0, 1, 11)])
    assert min(choose(held)) >= 49


@pytest.mark.parametrize(
    'foci, says',
    [
        ([0.5] * 30, 'no focus pull: the same places are sharp all the time'),
        ([0.5], 'cannot be read as a video of at least two frames'),
    ],
)
def test_videos_without_a_pull(tmp_path, foci, says):
    with pytest.raises(InputError, match=f'pull.mp4: {says}'):
        read_focal_stack(write_video(tmp_path / 'pull.mp4', foci))


def test_other_bad_videos(tmp_path, monkeypatch):
    path = tmp_path / 'pull.mp4'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), RATE, (WIDTH, HEIGHT))
    for i in range(30):
        writer.write(photograph(i / 30, seed=i // 20))
    writer.release()
    with pytest.raises(InputError, match='no focus pull: at 0.7 s it shows another scene'):
        read_focal_stack(path)
    monkeypatch.setattr('dfd_ros.photographs.video.MAX_DURATION', 0.5)
    with pytest.raises(InputError, match='1 s long, more than 0 s; cut it'):
        read_focal_stack(path)
    path.write_bytes(b'no video at all')
    with pytest.raises(InputError, match='pull.mp4: cannot be read as a video; convert it'):
        read_focal_stack(path)
    path.unlink()
    with pytest.raises(InputError, match='pull.mp4: no such file'):
        read_focal_stack(path)


def test_lists_of_files_and_patterns_of_names_are_no_videos(tmp_path):
    write_video(tmp_path / 'pull.mp4', np.linspace(0, 1, 30))
    (tmp_path / 'list.mp4').write_text("ffconcat version 1.0\nfile 'pull.mp4'\n")
    for i in range(3):
        Image.fromarray(photograph(i / 2)).save(tmp_path / f'{i}.png')
    (tmp_path / '0.png').rename(tmp_path / '0.mp4')
    (tmp_path / '%d.mp4').write_bytes((tmp_path / '1.png').read_bytes())
    for name in ('list.mp4', '0.mp4', '%d.mp4'):
        with pytest.raises(InputError, match=f'{name}: cannot be read as a video'):
            read_focal_stack(tmp_path / name)
    (tmp_path / 'file:a').mkdir()
    read_focal_stack(write_video(tmp_path / 'file:a' / '%d.mp4', np.linspace(0, 1, 30)))


def test_large_videos_are_reduced(tmp_path, monkeypatch, capsys):
    path = write_video(tmp_path / 'pull.mp4', np.linspace(0, 1, 30))
    monkeypatch.setattr('dfd_ros.core.image_io.MAX_STACK', 3 * HEIGHT * WIDTH)
    assert read_focal_stack(path).images[0].shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert f'10 images of {WIDTH}x{HEIGHT} are read at 1/2 of their size' in capsys.readouterr().err
    monkeypatch.setattr('dfd_ros.core.video_files.MAX_PIXELS', 100)
    with pytest.raises(InputError, match=f'pull.mp4: a video of {WIDTH}x{HEIGHT} pixels, more than'):
        read_focal_stack(path)


def write_pages(path, images):
    pages = [Image.fromarray(image) for image in images]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return path


@pytest.mark.parametrize('kind', ['colour', 'grey', 'deep'])
def test_pages_of_a_tiff_file_are_frames(tmp_path, kind, capsys):
    images = sweep(6)
    if kind != 'colour':
        images = [image[..., 1] for image in images]
    if kind == 'deep':
        images = [image.astype(np.uint16) * 16 for image in images]
    stack = read_focal_stack(write_pages(tmp_path / 'stack.tif', images))
    assert len(stack) == 6 and not stack.is_metric and 'TIFF files have no focus distances' in stack.focus_source
    expected = images[2] if kind != 'deep' else images[2] // 16
    np.testing.assert_array_equal(stack.images[2][..., 1], expected if expected.ndim == 2 else expected[..., 1])
    assert ('use 12 bits' in capsys.readouterr().err) == (kind == 'deep')
    assert [s.focus_distance for s in read_focal_stack(tmp_path / 'stack.tif', 'near_to_far').lens_states] == [
        s.focus_distance for s in stack.lens_states
    ]


@pytest.mark.parametrize(
    'images, says',
    [
        (sweep(2)[:1], 'no focal stack: one page'),
        ([photograph(0.5), photograph(0.5, seed=3)], 'no focal stack: page 2 shows another scene than page 1'),
        ([photograph(0.5)] * 3, 'no focal stack: the same places are sharp in all'),
        ([photograph(0.5), photograph(0.5)[:90]], 'page 2 is 240x90, page 1 240x180; give pages of one size'),
    ],
)
def test_pages_that_are_no_focal_stack(tmp_path, images, says):
    with pytest.raises(InputError, match=f'stack.tiff: .*{says}'):
        read_focal_stack(write_pages(tmp_path / 'stack.tiff', images))


def test_other_files_are_refused(tmp_path):
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(InputError, match='a.txt: give a folder of images, a video of a focus pull, or a TIFF file'):
        read_focal_stack(tmp_path / 'a.txt')
