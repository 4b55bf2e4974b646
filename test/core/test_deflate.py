"""Blocks of deflated data, by zlib and by ISA-L."""

import zlib

import numpy as np
import pytest

from dfd_ros.core import deflate
from dfd_ros.core.deflate import END, crc32, deflated, inflated, stored

RAMP = (1000 + np.arange(10000) // 7).astype(np.float32).tobytes()
NOISE = np.random.default_rng(0).bytes(5000)


@pytest.fixture(params=['zlib', 'isal'])
def library(request, monkeypatch):
    module = zlib if request.param == 'zlib' else pytest.importorskip('isal').isal_zlib
    monkeypatch.setattr(deflate, 'fast', module)


@pytest.mark.usefixtures('library')
def test_any_reader_unpacks_the_blocks_of_either_library():
    blocks = [deflated(RAMP), stored(NOISE), deflated(b''), deflated(NOISE)]
    content = RAMP + NOISE + NOISE
    assert zlib.decompress(b''.join(blocks) + END, -zlib.MAX_WBITS) == content
    assert len(blocks[0]) < 0.4 * len(RAMP)
    for first, expected in enumerate((content, NOISE + NOISE, NOISE, NOISE)):  # from any of them on
        assert inflated(b''.join(blocks[first:]), len(content)) == expected


@pytest.mark.usefixtures('library')
def test_no_more_than_the_limit_is_unpacked():
    assert inflated(deflated(RAMP), 100) == RAMP[:100]


@pytest.mark.usefixtures('library')
def test_damage_is_noticed():
    with pytest.raises(ValueError):
        inflated(b'\xff' * 20, 100)


@pytest.mark.usefixtures('library')
def test_views_are_taken_as_bytes_are():
    array = np.frombuffer(NOISE, np.float32).reshape(-1, 50)
    assert deflated(array[3:5].data.cast('B')) == deflated(array[3:5].tobytes())
    assert crc32(array.data, 5) == zlib.crc32(NOISE, 5)
