"""Moving pictures."""

import base64

import chromium
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


@pytest.mark.slow(reason='starts a browser')
@pytest.mark.skipif(chromium.browser() is None, reason='no Chromium on this machine')
def test_a_browser_plays_it(video, tmp_path):
    source = 'data:video/mp4;base64,' + base64.b64encode(video.read_bytes()).decode()
    with chromium.chromium(tmp_path / 'profile') as running:
        tab = running.new_tab()
        tab.run(f"window.v = document.createElement('video'); v.muted = true; v.src = '{source}'; v.play(); 0")
        tab.wait_for('v.ended')
        assert tab.run('[v.videoWidth, v.videoHeight]') == [64, 48]
