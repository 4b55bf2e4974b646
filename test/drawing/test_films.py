"""Moving pictures."""

import cv2
import numpy as np
import pytest

from dfd_ros.drawing import films


@pytest.fixture(params=['h264', 'FMP4'])
def codec(request, monkeypatch):
    """What is written with PyAV, and without."""
    if request.param == 'h264':
        pytest.importorskip('av')
    else:
        monkeypatch.setattr(films.importlib.util, 'find_spec', lambda name: None)
    return request.param


@pytest.mark.usefixtures('codec')
def test_a_video_that_fails_leaves_nothing(tmp_path):
    def frames():
        yield np.zeros((48, 64, 3), np.uint8)
        raise RuntimeError('no more')

    (tmp_path / 'demo.mp4').write_bytes(b'the one before')
    with pytest.raises(RuntimeError, match='no more'):
        films.write_video(tmp_path / 'demo.mp4', frames(), (64, 48), 10.0)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'the one before']


@pytest.mark.parametrize('size', [(64, 48), (65, 49)])
def test_a_video_comes_back(tmp_path, codec, size):
    """Ten frames that grow brighter; H.264 has an even number of rows and columns."""
    frames = (np.full((*size[::-1], 3), 20 * i, np.uint8) for i in range(10))
    films.write_video(tmp_path / 'demo.mp4', frames, size, 3.76)
    capture = cv2.VideoCapture(str(tmp_path / 'demo.mp4'))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, 'little').decode() == codec
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(3.76, rel=1e-3)
    images = [capture.read()[1] for _ in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))]
    np.testing.assert_allclose([image.mean() for image in images], np.arange(10) * 20.0, atol=5)
    assert images[0].shape == (48, 64, 3) or codec == 'FMP4'
