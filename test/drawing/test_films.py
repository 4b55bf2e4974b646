"""Moving pictures."""

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
