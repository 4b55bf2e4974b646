"""The sweep node against a lens played by the test, over DDS."""

import math
import time
from itertools import pairwise

import pytest

pytest.importorskip('rclpy')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_processes import wait_until
from std_msgs.msg import Float32
from std_srvs.srv import SetBool

from dfd_ros.core.errors import InputError
from dfd_ros.core.optics import VergenceRange
from dfd_ros.msg import FocusCommand, FocusRange
from dfd_ros.msg import LensState as LensStateMessage
from dfd_ros.ros.nodes.sweep import PatternTrial, SweepParameters, focus_distances

RANGE = VergenceRange(0.5, math.inf)
RAMP = [math.inf, 2.0, 1.0, 2 / 3, 0.5]


def first(count, **parameters):
    distances = focus_distances(SweepParameters(**parameters), RANGE)
    return [next(distances) for _ in range(count)]


def test_ramp_jumps_back():
    assert first(11) == pytest.approx(RAMP + RAMP + RAMP[:1])


def test_near_to_far():
    assert first(6, near_to_far=True) == pytest.approx(RAMP[::-1] + RAMP[-1:])


def test_ping_pong_turns_without_standing_still():
    assert first(10, pattern='ping_pong') == pytest.approx(RAMP + RAMP[-2::-1] + RAMP[1:2])


def test_jumps_are_a_new_order_each_cycle():
    cycles = first(10, pattern='jumps')
    assert sorted(cycles[:5]) == sorted(cycles[5:]) == pytest.approx(sorted(RAMP))
    assert cycles[:5] != cycles[5:]


def test_uneven_covers_the_range_each_cycle():
    cycles = first(10, pattern='uneven')
    assert cycles[0] == cycles[5] == math.inf and cycles[4] == cycles[9] == 0.5
    assert cycles[1] != cycles[6]


def test_the_focus_is_held_between_the_steps():
    held = first(9, focus_on=0.8, hold_steps=2)
    assert held == pytest.approx([math.inf, 0.8, 0.8, 2.0, 0.8, 0.8, 1.0, 0.8, 0.8])
    assert first(2, focus_on=math.inf) == [math.inf] * 2
    with pytest.raises(InputError, match='parameter focus_on: 5 m is outside of 0.1 to 1 m'):
        SweepParameters(focus_on=5.0, near=0.1, far=1.0).check()


@pytest.mark.parametrize(('settled_after_a_jump', 'kept'), [(False, 'ping_pong'), (True, 'ramp')])
def test_auto_keeps_the_pattern_that_costs_fewer_frames(settled_after_a_jump, kept):
    """A lens whose jump over the range costs two frames, or none."""
    trial = PatternTrial()
    distances = focus_distances(SweepParameters(pattern='auto'), RANGE, trial)
    last = next(distances)
    given = []
    for _ in range(60):
        given.append(next(distances))
        if abs(1 / given[-1] - 1 / last) > 1 and not settled_after_a_jump:
            trial.add(False)
            trial.add(False)
        trial.add(True)
        last = given[-1]
    assert trial.best == kept
    steps = [abs(1 / a - 1 / b) for a, b in pairwise(given[-20:])]
    assert (max(steps) > 1) == (kept == 'ramp')


class Lens:
    """A lens that the test moves by hand."""

    def __init__(self, observer, namespace):
        self.commands = observer.listen(FocusCommand, f'{namespace}/focus_command')
        self._publisher = observer.publisher(LensStateMessage, f'{namespace}/lens_state')
        self._observer = observer

    def state(self, focus_distance=1.0, *, settled=True, command_id=0, near=0.5, far=math.inf):
        message = LensStateMessage(
            focus_distance=focus_distance, settled=settled, command_id=command_id, near_distance=near, far_distance=far
        )
        message.header.frame_id = 'lens'
        message.header.stamp = self._observer.node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def first_command(self, **state):
        """Shows the lens at rest until the sweep begins."""

        def show_and_look():
            self.state(**state)
            time.sleep(0.05)
            return self.commands

        wait_until(show_and_look, 'the first focus command')
        time.sleep(0.2)
        return self.commands[-1]

    def step(self):
        """Answers the last command; gives the distance of the next."""
        count, last = len(self.commands), self.commands[-1]

        def answered():
            self.state(last.focus_distance, command_id=last.command_id)
            time.sleep(0.02)
            return len(self.commands) > count

        wait_until(answered, 'the next command')
        return self.commands[-1].focus_distance


@pytest.fixture
def lens(start_node, observer, request):
    """The sweep node in a namespace of the test's own, and a lens for it."""
    namespace = '/' + request.node.name.partition('[')[0]
    parameters = getattr(request, 'param', {})
    process = start_node('sweep', '-r', f'__ns:={namespace}', **parameters)
    lens = Lens(observer, namespace)
    lens.process, lens.name = process, f'{namespace}/sweep'
    return lens


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_next_command_only_for_a_settled_answer(lens):
    command = lens.first_command(command_id=41)
    # The number counts on from the camera's last.
    assert (command.focus_distance, command.command_id) == (math.inf, 42)
    count = len(lens.commands)
    lens.state(math.inf, settled=False, command_id=41)
    lens.state(math.inf, settled=True, command_id=41)
    lens.state(math.inf, settled=False, command_id=42)
    time.sleep(0.5)
    assert len(lens.commands) == count
    lens.state(math.inf, settled=True, command_id=42)
    wait_until(lambda: len(lens.commands) > count, 'the next command')
    assert (lens.commands[-1].focus_distance, lens.commands[-1].command_id) == (2.0, 43)


@pytest.mark.parametrize('lens', [{'timeout': 30.0, 'frames_per_step': 2, 'near': 0.25, 'far': 1.0}], indirect=True)
def test_a_camera_without_command_numbers(lens):
    """By where the focus is; near and far are the parameters', not the lens's; two frames at each step."""
    assert lens.first_command(focus_distance=0.7).focus_distance == 1.0
    count = len(lens.commands)
    lens.state(1.3)  # 8 % of the range off
    lens.state(1.005)
    time.sleep(0.5)
    assert len(lens.commands) == count
    lens.state(1.0)
    wait_until(lambda: len(lens.commands) > count, 'the next command')
    assert lens.commands[-1].focus_distance == pytest.approx(1 / 1.75)


@pytest.mark.parametrize('lens', [{'timeout': 60.0, 'pipelined': True, 'frames_per_step': 2}], indirect=True)
def test_pipelined_it_does_not_wait(lens):
    """Every second frame brings the next command, whatever the frame shows."""
    lens.first_command(settled=False)
    for _ in range(2):
        count = len(lens.commands)
        lens.state(1.0, settled=False)
        time.sleep(0.3)
        lens.state(1.0, settled=False)
        wait_until(lambda: len(lens.commands) > count, 'the next command')
    ids = [command.command_id for command in lens.commands]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize('lens', [{'timeout': 1.0, 'pipelined': True}], indirect=True)
def test_pipelined_it_waits_where_nothing_settles(lens):
    lens.first_command(settled=False)

    def warned():
        lens.state(1.0, settled=False)
        time.sleep(0.05)
        return 'pipelined, and no settled frame within 1 s' in lens.process.output

    wait_until(warned, 'a warning')
    time.sleep(0.5)
    command = lens.commands[-1].command_id
    for _ in range(10):
        lens.state(1.0, settled=False)
        time.sleep(0.02)
    time.sleep(0.3)
    assert lens.commands[-1].command_id == command


@pytest.mark.parametrize('lens', [{'timeout': 0.2}], indirect=True)
def test_a_command_that_gets_no_answer_is_sent_again(lens):
    began = time.monotonic()
    command = lens.first_command()
    wait_until(lambda: len(lens.commands) >= 10, 'the command again')
    assert {c.command_id for c in lens.commands} == {command.command_id}
    wait_until(lambda: 'sending it again' in lens.process.output, 'a warning')
    assert lens.process.output.count('sending it again') <= 1 + (time.monotonic() - began) / 5  # throttled


@pytest.mark.parametrize('lens', [{'timeout': 30.0, 'enabled': False}], indirect=True)
def test_enable_service(lens, observer):
    for _ in range(5):
        lens.state()
        time.sleep(0.1)
    assert not lens.commands
    assert observer.call(SetBool, f'{lens.name}/enable', SetBool.Request(data=True)).success
    command = lens.first_command()
    response = observer.call(SetBool, f'{lens.name}/enable', SetBool.Request(data=False))
    assert response.success and 'stopped' in response.message
    count = len(lens.commands)
    lens.state(command.focus_distance, command_id=command.command_id)
    time.sleep(0.5)
    assert len(lens.commands) == count


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_pattern_changes_at_run_time(lens, observer):
    lens.first_command()
    assert not observer.set_parameter(lens.name, 'pattern', 'zigzag').successful
    assert observer.set_parameter(lens.name, 'near_to_far', True).successful
    count = len(lens.commands)
    lens.state()
    wait_until(lambda: len(lens.commands) > count, 'the first command of the new pattern')
    assert lens.commands[-1].focus_distance == 0.5


@pytest.mark.parametrize('lens', [{'timeout': 30.0, 'hold_steps': 1}], indirect=True)
def test_the_topic_focus_on_moves_the_focus_that_is_held(lens, observer):
    focus_on = observer.publisher(Float32, f'{lens.name.removesuffix("/sweep")}/focus_on')
    lens.first_command()

    def hold(distance, held):
        """Publishes it until the sweep holds the focus there, every other step."""

        def is_held():
            focus_on.publish(Float32(data=distance))
            return [lens.step() for _ in range(4)].count(pytest.approx(held)) >= 2  # the sweep itself comes there once

        wait_until(is_held, f'the focus at {held} m')
        steps = [lens.step() for _ in range(6)]
        assert steps[::2] == pytest.approx([held] * 3) or steps[1::2] == pytest.approx([held] * 3)

    hold(0.8, 0.8)
    focus_on.publish(Float32(data=0.81))  # trembles: 0.8 % of the range
    time.sleep(0.3)
    hold(0.81, 0.8)
    hold(0.7, 0.7)
    hold(0.1, 0.5)
    assert 'focus_on: 0.1 m is outside of 0.5 to inf m, which are swept' in lens.process.output

    for none in (math.nan, -0.7):

        def only_sweeps():
            focus_on.publish(Float32(data=none))
            return [lens.step() for _ in range(5)] in (pytest.approx(RAMP[i:] + RAMP[:i]) for i in range(5))

        wait_until(only_sweeps, 'a sweep without a held focus')
        hold(math.inf, math.inf)
    assert 'focus_on: -0.7 m is no distance: give one above 0' in lens.process.output


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_a_part_of_the_range_is_swept_while_it_is_asked_for(lens, observer):
    part = observer.publisher(FocusRange, f'{lens.name.removesuffix("/sweep")}/focus_range')
    lens.first_command()

    def sweeps(near, far, *expected):
        def swept():
            if near:
                part.publish(FocusRange(near_distance=near, far_distance=far))
            foci = [lens.step() for _ in range(5)]
            return foci in [pytest.approx([*expected[i:], *expected[:i]]) for i in range(5)]

        wait_until(swept, f'a sweep of {near} to {far} m')

    narrow = [1.0, 1 / 1.25, 1 / 1.5, 1 / 1.75, 0.5]
    sweeps(0.5, 1.0, *narrow)
    sweeps(0.1, 1.0, *narrow)  # what of it the lens can focus
    sweeps(None, None, *RAMP)  # nobody asks any more
    sweeps(0.5, 1.0, *narrow)
    sweeps(0.1, 0.2, *RAMP)
    assert 'focus_range: 0.1 to 0.2 m is outside of 0.5 to inf m: everything is swept' in lens.process.output
    part.publish(FocusRange(near_distance=1.0, far_distance=0.5))
    wait_until(lambda: 'near_distance 1 m and far_distance 0.5 m are no range' in lens.process.output, 'a warning')
    part.publish(FocusRange())
    assert 'rests at' not in lens.process.output


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_a_new_sweep_does_not_take_the_answer_to_a_command_on_its_way(lens, observer):
    command = lens.first_command(command_id=41)
    assert observer.set_parameter(lens.name, 'near_to_far', True).successful
    count = len(lens.commands)
    lens.state(command_id=41)  # a frame from before the command has reached the camera
    wait_until(lambda: len(lens.commands) > count, 'the first command of the new sweep')
    assert (lens.commands[-1].focus_distance, lens.commands[-1].command_id) == (0.5, 43)
    lens.state(command.focus_distance, command_id=command.command_id)
    lens.state(0.5, command_id=43)
    wait_until(lambda: lens.commands[-1].command_id == 44, 'the second command of the new sweep')
    assert 'rests at' not in lens.process.output


@pytest.mark.parametrize('lens', [{}], indirect=True)
def test_what_the_lens_can_focus_is_not_known(lens):
    for settled, words in ((True, 'focus: set the parameters near'), (False, 'see the log of the camera or its focus')):

        def warned():
            lens.state(near=math.nan, far=math.nan, settled=settled)
            time.sleep(0.05)
            return words in lens.process.output

        wait_until(warned, 'a warning')
    assert not lens.commands


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_another_lens_starts_the_sweep_again(lens):
    command = lens.first_command(near=0.15, far=1.5)
    count = len(lens.commands)
    lens.state(1.5, command_id=command.command_id, near=0.151, far=1.5)  # breathing, no other lens
    wait_until(lambda: len(lens.commands) > count, 'the next command')
    assert lens.commands[-1].focus_distance < 1.0
    count = len(lens.commands)
    lens.state(command_id=0, near=0.6, far=6.0)
    wait_until(lambda: len(lens.commands) > count, 'the first command of the new range')
    assert lens.commands[-1].focus_distance == 6.0
    wait_until(
        lambda: 'now covers 0.6 to 6 m, not 0.15 to 1.5 m; the sweep starts again' in lens.process.output, 'a line'
    )


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_an_answer_from_elsewhere_is_a_warning(lens, observer):
    reports = observer.listen(DiagnosticArray, '/diagnostics')
    command = lens.first_command()
    assert command.header.frame_id == 'lens'
    count = len(lens.commands)
    lens.state(0.9, command_id=command.command_id)  # infinity was wanted
    wait_until(lambda: len(lens.commands) > count, 'the next command: the sweep goes on')
    line = f'the answer to command {command.command_id} (inf m) rests at 0.9 m: beyond the limits of the lens, or its'
    wait_until(lambda: line in lens.process.output, 'a warning')

    def reported():
        return [s for r in reports for s in r.status if s.message == 'the focus rests elsewhere than commanded']

    status = wait_until(reported, 'diagnostics')[0]
    assert status.level == DiagnosticStatus.WARN
    assert ('answered elsewhere', '1') in {(v.key, v.value) for v in status.values}


@pytest.mark.parametrize('lens', [{'timeout': 30.0}], indirect=True)
def test_range_limits_beyond_the_lens_are_refused_at_run_time(lens, observer):
    lens.first_command(near=0.15, far=1.5)
    for near in (2.0, math.inf, 5e-324):
        result = observer.set_parameter(lens.name, 'near', near)
        assert not result.successful and 'near' in result.reason
    assert observer.set_parameter(lens.name, 'near', 0.5).successful
    for focus_on in (0.1, math.inf):
        result = observer.set_parameter(lens.name, 'focus_on', focus_on)
        assert (
            not result.successful and f'parameter focus_on: {focus_on:g} m is outside of 0.5 to 1.5 m' in result.reason
        )
    assert observer.set_parameter(lens.name, 'focus_on', 1.0).successful


@pytest.mark.parametrize('lens', [{'timeout': 0.2, 'use_sim_time': True}], indirect=True)
def test_a_command_is_sent_again_while_simulated_time_stands(lens):
    lens.first_command()
    wait_until(lambda: len(lens.commands) >= 4, 'the command again')


def test_a_silent_camera_is_a_warning_that_names_the_topic(start_node):
    process = start_node('sweep', '-r', '__ns:=/alone')
    wait_until(lambda: 'nothing on /alone/lens_state: is the camera running?' in process.output, 'a warning')
    assert process.stop() == 0 and 'Traceback' not in process.output


def test_near_beyond_far_is_refused(start_node):
    process = start_node('sweep', near=2.0, far=1.0)
    assert process.wait() == 2
    assert process.output == 'error: parameter near: 2.0 m is not nearer than far (1.0 m)\n'
