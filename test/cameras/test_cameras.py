"""Camera sources: where the focus is at which time, which frame answers, and what a missing thing says."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfd_ros.cameras.focus_drive import FocusDrive
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.cameras.stack_source import StackSource
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange

DISTANCES = [math.inf, 2.0, 1.0, 0.5]


@pytest.fixture
def stack_folder(tmp_path):
    """Four frames of 80x60, the grey value of each its number times 50; the depth a step from 1 to 2 m."""
    depth = np.full((60, 80), 1.0, np.float32)
    depth[:, 40:] = 2.0
    FocalStack(
        [np.full((60, 80, 3), 50 * i, np.uint8) for i in range(4)],
        [LensState(d, focal_length=0.004, f_number=1.8, pixel_pitch=2e-6) for d in DISTANCES],
        depth,
    ).write(tmp_path / 'stack')
    return tmp_path / 'stack'


class TestFocusDrive:
    def test_moves_linearly_in_vergence_and_settles(self):
        drive = FocusDrive(math.inf, settle_time=0.2)
        drive.command(0.5, 10.0)
        assert drive.at(10.0) == (math.inf, False)
        assert drive.at(10.1) == (pytest.approx(1.0), False)
        assert drive.at(10.21) == (0.5, True)
        assert drive.at(99.0) == (0.5, True)

    def test_a_command_on_the_way_starts_from_there(self):
        drive = FocusDrive(math.inf, settle_time=0.2)
        drive.command(0.5, 10.0)
        drive.command(math.inf, 10.1)
        assert drive.at(10.2) == (pytest.approx(2.0), False)
        assert drive.at(10.31) == (math.inf, True)

    def test_the_same_command_again_does_not_start_again(self):
        drive = FocusDrive(math.inf, settle_time=0.2)
        drive.command(0.5, 10.0)
        drive.command(0.5, 10.19)
        assert drive.at(10.21) == (0.5, True)

    def test_no_settle_time(self):
        drive = FocusDrive(1.0, settle_time=0.0)
        drive.command(0.5, 10.0)
        assert drive.at(10.0) == (0.5, True)

    def test_frames_exposed_before_a_command_do_not_answer_it(self):
        drive = FocusDrive(1.0, settle_time=0.1)
        drive.command(0.5, 10.0)
        assert drive.at(9.9) == (1.0, False)

    @given(st.floats(1e-3, 1e3))
    def test_ends_at_the_limit_of_the_lens(self, distance):
        drive = FocusDrive(2.0, 0.0, VergenceRange(0.5, 4.0))
        drive.command(distance, 0.0)
        assert drive.at(1.0)[0] == pytest.approx(min(max(distance, 0.5), 4.0))

    @pytest.mark.parametrize('distance', [0.0, -1.0, math.nan])
    def test_refuses_what_is_no_distance(self, distance):
        drive = FocusDrive(2.0, 0.0)
        with pytest.raises(InputError, match='focus command: focus distance'):
            drive.command(distance, 0.0)
        assert drive.at(1.0) == (2.0, True)


class TestStack:
    # In vergence the frames stand at 0, 0.5, 1 and 2: 1.5 m (0.67) is nearer to 2 m, in metres it is a tie.
    @pytest.mark.parametrize(
        'command, frame', [(math.inf, 0), (10.0, 0), (2.0, 1), (1.5, 1), (1.2, 2), (0.7, 2), (0.6, 3), (0.1, 3)]
    )
    def test_nearest_frame_in_vergence_answers(self, stack_folder, command, frame):
        source = StackSource(stack_folder)
        source.focus(command, 0.0)
        got = source.capture(1.0)
        assert got.image[0, 0, 0] == 50 * frame and got.lens_state.focus_distance == DISTANCES[frame]
        assert got.lens_state.settled and got.time_s == 1.0

    def test_frames_pass_by_while_the_focus_moves(self, stack_folder):
        source = StackSource(stack_folder, settle_time=1.0)
        source.focus(0.5, 0.0)
        states = [source.capture(t).lens_state for t in (0.0, 0.3, 0.6, 1.0)]
        assert [s.focus_distance for s in states] == DISTANCES
        assert [s.settled for s in states] == [False, False, False, True]

    def test_limits_are_those_of_the_stack(self, stack_folder):
        assert StackSource(stack_folder).capture(0.0).lens_state.range == VergenceRange(0.5, math.inf)

    def test_resized_with_pitch_and_truth(self, stack_folder):
        frame = StackSource(stack_folder, width=40).capture(0.0)
        assert frame.image.shape == (30, 40, 3) and frame.depth.shape == (30, 40)
        assert frame.lens_state.pixel_pitch == pytest.approx(4e-6)
        assert set(np.unique(frame.depth)) == {1.0, 2.0}  # no depth in between

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(InputError, match='nowhere: no such folder'):
            StackSource(tmp_path / 'nowhere')


class TestFocusTable:
    def test_linear_in_vergence_and_held_at_the_ends(self):
        table = FocusTable([0, 100, 250], [math.inf, 0.5, 0.1])
        assert [table.value(d) for d in (math.inf, 1.0, 0.5, 0.2, 0.1, 0.05)] == pytest.approx(
            [0, 50, 100, 100 + 150 * 3 / 8, 250, 250]
        )
        assert table.range == VergenceRange(0.1, math.inf)

    def test_falling_values_in_any_order(self):
        table = FocusTable([10, 200, 100], [0.1, math.inf, 0.2])
        assert table.value(0.2) == 100
        assert [table.focus_distance(value) for value in (0, 100, 150, 300)] == pytest.approx([0.1, 0.2, 0.4, math.inf])

    @pytest.mark.parametrize('value', [math.nan, -math.inf])
    def test_values_are_finite(self, value):
        with pytest.raises(InputError, match='every value must be a finite number'):
            FocusTable([value, 1.0], [1.0, 0.5])

    @pytest.mark.parametrize(
        'text, words',
        [
            ('focus_table: [{value: 0, focus_distance_m: 1}]', 'two or more entries'),
            (
                'focus_table: [{value: 0, focus_distance_m: 1}, {value: 9, focus_distance_m: 0}]',
                'focus_table[1], focus_distance_m: 0 should be at least 0.001',
            ),
            ('focus_table: [{value: 0, focus_distance_m: 1}, {value: 9, focus_distance_m: 1}]', 'must rise, or fall'),
            (
                'focus_table: [{value: 0, focus_distance_m: 1}, {value: 9, focus_distance_m: 2}, '
                '{value: 3, focus_distance_m: 3}]',
                'must rise, or fall',
            ),
            ('focus_table: [{value: x, focus_distance_m: 1}]', "focus_table[0], value: 'x' should be a number"),
            ('focus_table: 3', 'focus_table: 3 should be a list'),
            ('focus_table: [{value: -.inf, focus_distance_m: 1}]', 'focus_table[0], value: -inf should be'),
            ('focus_table: [{value: .nan, focus_distance_m: 1}]', 'focus_table[0], value: nan should be'),
            ('other: 3', 'focus_table: is missing'),
            ('focus_table: [', 'not YAML'),
        ],
    )
    def test_broken_file_is_one_line(self, tmp_path, text, words):
        (tmp_path / 'table.yaml').write_text(text)
        with pytest.raises(InputError) as error:
            FocusTable.load(tmp_path / 'table.yaml')
        assert words in str(error.value) and 'table.yaml' in str(error.value) and '\n' not in str(error.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(InputError, match='table.yaml: no such file'):
            FocusTable.load(tmp_path / 'table.yaml')


class TestSynthetic:
    def test_follows_the_focus_and_knows_the_truth(self):
        pytest.importorskip('torch')
        from dfd_ros.cameras.synthetic_source import SyntheticSource

        source = SyntheticSource(192, 144, seed=2, desk=False)
        limits = source.RANGE
        frames = []
        for distance in (limits.far, limits.near):
            source.focus(distance, 5.0)
            frames.append(source.capture(5.0))  # the scene stands still: the same time
        assert [f.lens_state.focus_distance for f in frames] == pytest.approx([limits.far, limits.near])
        assert frames[0].image.shape == (144, 192, 3) and frames[0].depth.shape == (144, 192)
        np.testing.assert_array_equal(frames[0].depth, frames[1].depth)

        def detail(image):
            """Energy of what is finer than 3 px and coarser than the noise."""
            grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
            return (grey - cv2.GaussianBlur(grey, (0, 0), 3.0)) ** 2

        at_far, at_near = (detail(frame.image) for frame in frames)
        nearest, farthest = np.quantile(frames[0].depth, (0.25, 0.75))
        near, far = frames[0].depth <= nearest, frames[0].depth >= farthest
        assert at_near[near].mean() > 1.5 * at_far[near].mean()
        assert at_far[far].mean() > 1.5 * at_near[far].mean()

    def test_the_scene_moves_with_time(self):
        pytest.importorskip('torch')
        from dfd_ros.cameras.synthetic_source import SyntheticSource

        source = SyntheticSource(96, 64, seed=3)
        first, later = source.capture(100.0), source.capture(102.0)
        assert (first.depth != later.depth).any()
        # Time counts from the first frame: when the node starts makes no difference.
        other = SyntheticSource(96, 64, seed=3)
        other.capture(0.0)
        np.testing.assert_array_equal(other.capture(2.0).depth, later.depth)
