"""A phone's frames or video beside the bag of an RGB-D sensor on another clock."""

import csv
import os
import shutil

import numpy as np
import pytest

pytest.importorskip('rosbags')
cv2 = pytest.importorskip('cv2')

from command_line import dfd  # noqa: E402
from PIL import Image  # noqa: E402
from recorded_rig import FOCUS, POSE, RATE, SIZE, START, Options, calibration_file, picture, room, view_at, write_bag  # noqa: E402

from dfd_ros.bags import phone_recording  # noqa: E402
from dfd_ros.bags.phone_recording import PhoneRecording, fingerprint  # noqa: E402
from dfd_ros.core.errors import InputError  # noqa: E402
from dfd_ros.datasets.shards import Samples  # noqa: E402

CLOCK = 1234.5  # s that the phone's clock is behind the bag's
NAMES = (
    'SENSOR_TIMESTAMP',
    'LENS_FOCUS_DISTANCE',
    'SENSOR_EXPOSURE_TIME',
    'LENS_APERTURE',
    'LENS_FOCAL_LENGTH',
    'LENS_STATE',
)


def record(folder, *, video=False, sweeps=3):
    """What a phone at the focus camera's place sees, as it would leave it."""
    folder.mkdir()
    writer = None
    if video:
        writer = cv2.VideoWriter(str(folder / 'video.avi'), cv2.VideoWriter_fourcc(*'MJPG'), RATE, SIZE[::-1])
    with open(folder / 'frames.csv', 'w', newline='') as file:
        table = csv.writer(file)
        table.writerow([*NAMES, *([] if video else ['file'])])
        for i, focus in enumerate(FOCUS * sweeps):
            image = picture(room(view_at(focus), POSE)[1])
            stamp = round((START + i / RATE - CLOCK) * 1e9) - 2_000_000
            row = [stamp, 1 / focus, 4_000_000, 1.8, 4.3, 0]
            if video:
                writer.write(image[..., ::-1].copy())
            else:
                Image.fromarray(image).save(folder / f'{i}.png')
                row.append(f'{i}.png')
            table.writerow(row)
    if video:
        writer.release()
    return folder


@pytest.mark.parametrize('video', [False, True])
def test_a_phone_and_a_bag_become_samples(tmp_path, capsys, video):
    phone, bag = record(tmp_path / 'phone', video=video), write_bag(tmp_path / 'bag', Options(tf=False))
    options = '--clock-offset', -CLOCK, '--calibration', calibration_file(tmp_path / 'rig.yaml')
    status = dfd('convert', bag, '--phone', phone, '--out', tmp_path / 'out', *options)
    assert status == 0, capsys.readouterr().err
    samples = list(Samples(tmp_path / 'out'))
    truth, points = room(view_at(0.5), POSE)
    assert len(samples) == 3
    for sample in samples:
        assert [state.focus_distance for state in sample.lens_states] == list(FOCUS)
        assert sample.lens_states[0].f_number == 1.8 and sample.lens_states[0].focal_length == pytest.approx(0.0043)
        error = np.abs(sample.depth / truth - 1)
        assert np.isfinite(error).mean() > 0.8 and np.nanmax(error) < 0.02
        assert np.abs(sample.images[0][4:-4, 4:-4].astype(float) - picture(points)[4:-4, 4:-4]).mean() < 8
    assert samples[0].lens_states[0].stamp == pytest.approx(START - CLOCK, abs=1e-6)  # middle of the exposure


@pytest.mark.parametrize(
    'text, said',
    [
        ('a,b\n1,2\n', 'frames.csv: no column timestamp_ns'),
        ('timestamp_ns,focus_dioptre,file\n', 'frames.csv: no rows'),
        ('timestamp_ns,focus_dioptre,file\n1,far,a.png\n', "row 1: focus_dioptre: 'far' is not a number"),
        ('timestamp_ns,focus_dioptre,file\n1,-1,a.png\n', 'row 1: focus_dioptre is -1.0; must be 0 (infinity) to 1000'),
        ('timestamp_ns,focus_dioptre,file\n2,1,a.png\n1,1,b.png\n', 'row 2: timestamp_ns is not after'),
        ('timestamp_ns,focus_dioptre,file\n1,1,a.png\n2,1,\n', 'row 2: file is given in some rows only'),
        ('timestamp_ns,focus_dioptre\n1,1\n', '0 videos and no column file'),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, text, said):
    (tmp_path / 'frames.csv').write_text(text)
    with pytest.raises(InputError) as caught:
        PhoneRecording(tmp_path)
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_table_of_more_rows_than_memory_is_for_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(phone_recording, '_MAX_ROWS', 3)
    with pytest.raises(InputError, match='more than 3 rows'):
        PhoneRecording(record(tmp_path / 'phone', sweeps=1))


def test_too_short_video_and_missing_image(tmp_path):
    folder = record(tmp_path / 'video', video=True, sweeps=1)
    with open(folder / 'frames.csv', 'a') as file:
        file.write(f'{10**18},1,,,,\n')
    with pytest.raises(InputError, match='4 frames, but .* has 5 rows'):
        list(PhoneRecording(folder).exposures())
    folder = record(tmp_path / 'frames', sweeps=1)
    (folder / '2.png').unlink()
    with pytest.raises(InputError, match='2.png: no such file, named by frames.csv'):
        [exposure.load() for exposure in PhoneRecording(folder).exposures()]
    with pytest.raises(InputError, match='frames.csv: no such file'):
        PhoneRecording(tmp_path)


def test_a_video_of_more_frames_than_rows_is_refused(tmp_path):
    """Which rows are missing cannot be known: every frame could have another one's focus distance."""
    folder = record(tmp_path / 'video', video=True)
    lines = (folder / 'frames.csv').read_text().splitlines(keepends=True)
    (folder / 'frames.csv').write_text(''.join([lines[0], *lines[4:]]))
    with pytest.raises(InputError, match='video.avi: 12 frames, but .*frames.csv has 9 rows; which row belongs'):
        PhoneRecording(folder)


def test_frames_of_a_video_can_be_loaded_in_any_order(tmp_path):
    loads = [exposure.load for exposure in PhoneRecording(record(tmp_path / 'video', video=True)).exposures()]
    images = [load() for load in loads]
    for number in (5, 2, 11, 0):
        np.testing.assert_array_equal(loads[number](), images[number])


def test_columns_named_as_the_keys_of_camera2(tmp_path):
    names = 'timestamp', 'focusDistance', 'exposureTime', 'focalLength', 'info.minimumFocusDistance'
    prefixes = 'android.sensor.', 'android.lens.', 'android.sensor.', 'android.lens.', 'android.lens.'
    head = ','.join(prefix + name for prefix, name in zip(prefixes, names))
    (tmp_path / 'frames.csv').write_text(f'{head},file\n1000000000,2,4000000,4.3,10,a.png\n')
    (exposure,) = PhoneRecording(tmp_path).exposures()
    state = exposure.state
    assert state.focus_distance == 0.5 and state.focal_length == pytest.approx(4.3e-3) and state.near == 0.1
    assert state.stamp == pytest.approx(1.002)


@pytest.mark.parametrize('value, warned', [('0', True), ('UNCALIBRATED', True), ('1', False), ('2', False)])
def test_focus_distances_that_are_not_in_metres_are_warned_of(tmp_path, value, warned):
    (tmp_path / 'frames.csv').write_text(
        f'timestamp_ns,focus_dioptre,LENS_INFO_FOCUS_DISTANCE_CALIBRATION,file\n1,2,{value},a.png\n'
    )
    notes = PhoneRecording(tmp_path).notes()
    assert bool(notes) == warned and all(f'{tmp_path}/frames.csv: warning: ' in note for note in notes)


@pytest.mark.parametrize('name', ['frames.csv', '0.png', 'video.mp4'])
def test_fifos_are_not_opened(tmp_path, name):
    folder = record(tmp_path / 'phone', sweeps=1)
    if name == 'video.mp4':
        (folder / 'frames.csv').write_text('timestamp_ns,focus_dioptre\n1,1\n')
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=f'{name}: is a FIFO'):
        [exposure.load() for exposure in PhoneRecording(folder).exposures()]


def test_phone_images_keep_the_orientation_of_the_sensor(tmp_path):
    folder = record(tmp_path / 'phone', sweeps=1)
    stored = np.asarray(Image.open(folder / '0.png'))
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(stored).save(folder / '0.png', exif=exif)
    first = next(iter(PhoneRecording(folder).exposures()))
    assert (first.load() == stored).all()


def test_all_16_bit_images_of_a_phone_have_one_exposure(tmp_path, capsys):
    folder = record(tmp_path / 'phone', sweeps=1)
    levels = (116, 30, 255, 60)
    for number, level in enumerate(levels):
        Image.fromarray(np.full((8, 8), level << 4, np.uint16)).save(folder / f'{number}.png')
    read = [exposure.load() for exposure in PhoneRecording(folder).exposures()]
    assert tuple(int(image.mean()) for image in read) == levels
    assert f'{folder}: the 16-bit images use 12 bits, and are scaled accordingly' in capsys.readouterr().err


def test_a_changed_table_or_image_makes_another_recording(tmp_path):
    folder = record(tmp_path / 'phone', sweeps=1)
    found = [fingerprint(folder)]
    table = (folder / 'frames.csv').read_text()
    (folder / 'frames.csv').write_text(table.replace(',0.5,', ',0.6,'))
    found.append(fingerprint(folder))
    (folder / 'frames.csv').write_text(table)
    (folder / '1.png').write_bytes((folder / '2.png').read_bytes())
    found.append(fingerprint(folder))
    assert len(set(found)) == 3
    assert fingerprint(shutil.copytree(folder, tmp_path / 'copy')) == found[2]
