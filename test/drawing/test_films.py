"""Moving pictures."""

import cv2
import numpy as np
import pytest

from dfd_ros.drawing import films


def test_a_video_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((48, 64, 3), np.uint8)
        raise RuntimeError('no more')

    (tmp_path / 'demo.mp4').write_bytes(b'the one before')
    with pytest.raises(RuntimeError, match='no more'):
        films.write_video(tmp_path / 'demo.mp4', frames(), (64, 48), 10.0)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'the one before']


@pytest.fixture
def video(tmp_path):
    """Ten frames of 64x48 pixels that grow brighter."""
    films.write_video(
        tmp_path / 'demo.mp4', (np.full((48, 64, 3), 20 * i, np.uint8) for i in range(10)), (64, 48), 10.0
    )
    return tmp_path / 'demo.mp4'


def test_a_video_comes_back(video):
    capture = cv2.VideoCapture(str(video))
    frames = [capture.read()[1] for _ in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))]
    np.testing.assert_allclose([frame.mean() for frame in frames], np.arange(10) * 20.0, atol=5)
    assert frames[0].shape == (48, 64, 3)
