"""Parameters: declared once, checked at start and at run time, the same in ROS, YAML and documents."""

import math
from dataclasses import dataclass

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

rclpy = pytest.importorskip('rclpy')

from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from dfd_ros.core.errors import InputError  # noqa: E402
from dfd_ros.ros import parameter_reference  # noqa: E402
from dfd_ros.ros.bound_parameters import BoundParameters  # noqa: E402
from dfd_ros.ros.parameters import Parameters, check_range, parameter, run_time_parameter, yaml_scalar  # noqa: E402


@dataclass(frozen=True)
class Example(Parameters):
    rate: float = run_time_parameter(10.0, 'Images a second.', unit='Hz', within=(0.5, 100.0))
    steps: int = run_time_parameter(5, 'Steps.', within=(2, None))
    mode: str = run_time_parameter('fast', 'Mode.', choices=('fast', 'good'))
    near: float = run_time_parameter(0.1, 'Near.', unit='m', within=(0.0, None))
    far: float = run_time_parameter(math.inf, 'Far.', unit='m')
    device: str = parameter('cpu', 'Device.')

    def check(self):
        super().check()
        if not self.near < self.far:
            raise InputError(f'parameter near: {self.near} m is not nearer than far ({self.far} m)')


@pytest.fixture
def make_node():
    rclpy.init()
    yield lambda *arguments: Node('example', cli_args=['--ros-args', *arguments])
    rclpy.shutdown()


def test_defaults_and_overrides(make_node, tmp_path):
    file = tmp_path / 'parameters.yaml'
    file.write_text('/**/example:\n  ros__parameters: {steps: 7, far: .inf}\n')
    bound = BoundParameters(make_node('--params-file', str(file), '-p', 'rate:=2.5'), Example)
    assert bound.values == Example(rate=2.5, steps=7)


@pytest.mark.parametrize(
    'argument, words',
    [
        ('rate:=0.1', 'parameter rate: out of range, expected 0.5 to 100.0 Hz'),
        ('rate:=1', 'write 1.0, not 1'),
        ('steps:=1', 'parameter steps: out of range, expected from 2'),
        ('mode:=slow', "parameter mode: 'slow' is not one of: fast, good"),
        ('rate:=.nan', 'parameter rate: out of range'),
        ('far:=0.05', 'parameter near: 0.1 m is not nearer than far (0.05 m)'),
    ],
)
def test_bad_value_at_start_is_one_line(make_node, argument, words):
    with pytest.raises(InputError) as error:
        BoundParameters(make_node('-p', argument), Example)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_change_at_run_time(make_node):
    node = make_node()
    changes = []
    bound = BoundParameters(node, Example, on_change=changes.append)
    before = bound.values
    assert node.set_parameters([Parameter('rate', value=20.0)])[0].successful
    assert bound.values.rate == 20.0 and changes == [bound.values]
    assert before.rate == 10.0  # who took the values before still has one consistent set


@pytest.mark.parametrize(
    'name, value, words',
    [
        ('rate', 1000.0, 'out of range'),
        ('mode', 'slow', 'one of: fast, good'),
        ('far', 0.01, 'not nearer than far'),
        ('device', 'cuda', 'read-only'),
    ],
)
def test_refused_change_has_a_reason_and_no_effect(make_node, name, value, words):
    node = make_node()
    bound = BoundParameters(node, Example, on_change=lambda _: pytest.fail('changed'))
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful and words in result.reason
    assert bound.values == Example()


def test_changes_that_only_together_make_sense(make_node):
    node = make_node()
    bound = BoundParameters(node, Example)
    result = node.set_parameters_atomically([Parameter('near', value=2.0), Parameter('far', value=4.0)])
    assert result.successful and (bound.values.near, bound.values.far) == (2.0, 4.0)
    # Alone neither end could get there.
    assert not node.set_parameters([Parameter('far', value=1.0)])[0].successful


def test_descriptor_has_range_and_unit(make_node):
    node = make_node()
    BoundParameters(node, Example)
    descriptor = node.describe_parameter('rate')
    (range_,) = descriptor.floating_point_range
    assert (range_.from_value, range_.to_value) == (0.5, 100)
    assert descriptor.description == 'Images a second. [Hz]' and not descriptor.read_only
    assert node.describe_parameter('device').read_only
    assert node.describe_parameter('mode').additional_constraints == 'one of: fast, good'


@pytest.mark.parametrize(
    'values, words',
    [
        (dict(steps=1.5), 'parameter steps: expected integer, got 1.5'),
        (dict(steps=True), 'parameter steps: expected integer, got True'),
        (dict(rate=math.nan), 'parameter rate: nan Hz is out of range (0.5 to 100.0)'),
        (dict(rate='fast'), "parameter rate: expected double, got 'fast'"),
    ],
)
def test_values_from_python_are_checked_too(values, words):
    with pytest.raises(InputError) as error:
        Example(**values).check()
    assert str(error.value) == words
    Example(rate=1).check()  # where only ROS is strict about it


@pytest.mark.parametrize('near, far', [(math.inf, 0.0), (5e-324, 0.0), (1e-9, 1.0), (1e308, math.inf), (0.5, 1e-6)])
def test_distances_that_no_lens_has_are_refused(near, far):
    with pytest.raises(InputError, match='parameter (near|far): .* no lens has that; expected 0.001 to .* m, or 0'):
        check_range(near, far, need_both=False)


@given(
    st.one_of(
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(),
        st.text(st.characters(exclude_categories=('C', 'Z'))),
    )
)
def test_yaml_scalar_comes_back_in_value_and_type(value):
    back = yaml.safe_load(yaml_scalar(value))
    assert type(back) is type(value)
    assert back == value or (isinstance(value, float) and math.isnan(value) and math.isnan(back))


def test_files_written_from_the_declarations_are_up_to_date():
    assert not parameter_reference.stale(parameter_reference.ROOT), 'run python -m dfd_ros.ros.parameter_reference'


@pytest.mark.parametrize('name', parameter_reference.NODES)
def test_configuration_is_read_by_ros(make_node, name):
    cls = parameter_reference.NODES[name]
    node = Node(
        name,
        namespace='/robot',
        cli_args=['--ros-args', '--params-file', str(parameter_reference.ROOT / parameter_reference.CONFIG)],
    )
    assert BoundParameters(node, cls).values == cls()


def test_configuration_overrides_what_a_node_declares(make_node, tmp_path):
    """The file's keys reach a node in a namespace: what is changed there arrives."""
    text = parameter_reference.configuration().replace('steps: 5', 'steps: 9')
    (tmp_path / 'changed.yaml').write_text(text)
    node = Node('sweep', namespace='/robot', cli_args=['--ros-args', '--params-file', str(tmp_path / 'changed.yaml')])
    assert BoundParameters(node, parameter_reference.NODES['sweep']).values.steps == 9
