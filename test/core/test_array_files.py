"""Arrays whose headers promise more than there is."""

import io
import os
import zipfile

import numpy as np
import pytest

from dfd_ros.core.array_files import read_archive, read_array
from dfd_ros.core.errors import InputError

ARRAY = np.arange(12, dtype=np.float32).reshape(3, 4)


def with_header(shape, data: bytes, descr='<f4') -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {'descr': descr, 'fortran_order': False, 'shape': shape})
    return buffer.getvalue() + data


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(f'{name}.npy', data)
    return buffer.getvalue()


def test_arrays_are_as_numpy_reads_them(tmp_path):
    for array in (ARRAY, np.asfortranarray(ARRAY), ARRAY.astype('>i2'), np.zeros((0, 3)), np.array('text')):
        np.save(tmp_path / 'a.npy', array)
        np.savez_compressed(tmp_path / 'a.npz', a=array, b=ARRAY)
        np.testing.assert_array_equal(read_array(tmp_path / 'a.npy'), array)
        read = read_archive(tmp_path / 'a.npz', 'a')
        np.testing.assert_array_equal(read['a'], array)
        read['b'][0] = 1  # may be written to
    assert read_archive(tmp_path / 'a.npz', 'a', ['b']).keys() == {'b'}


@pytest.mark.parametrize(
    'data, says',
    [
        (with_header((2**40,), b''), '4194304 MB, more than 1024'),
        (with_header((2**60, 2**60), b''), 'more than 1024'),
        (with_header((5,), bytes(19)), 'truncated: 19 bytes of 20'),
        (with_header((1,), b'cos\nsystem', '|O'), 'Python objects'),
        (with_header((-5,), bytes(20)), 'NumPy array'),
        (b'\x93NUMPY\x01\x00\x10\x00' + b'{' * 16, 'NumPy array'),
        (b'', 'NumPy array'),
    ],
)
def test_what_is_no_array_is_one_line(tmp_path, data, says):
    (tmp_path / 'a.npy').write_bytes(data)
    with pytest.raises(InputError, match=says) as caught:
        read_array(tmp_path / 'a.npy')
    assert str(tmp_path / 'a.npy') in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(InputError, match='^b.npz: cannot be read as an archive'):
        read_archive(archive(a=data), 'b.npz')


def test_an_archive_has_a_limit_for_all_its_arrays(tmp_path):
    zeros = with_header((2**20,), bytes(2**22))
    with pytest.raises(InputError, match='4 MB, more than 2'):
        read_archive(archive(a=zeros, b=zeros), 'b.npz', largest=6 * 2**20)
    os.mkfifo(tmp_path / 'pipe')
    for read in (read_array, lambda path: read_archive(path, 'a')):
        with pytest.raises(InputError, match='pipe: is a FIFO'):
            read(tmp_path / 'pipe')
