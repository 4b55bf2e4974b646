"""Pairs by stamp: the synchronisers that stand in for message_filters."""

import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('rclpy')

from builtin_interfaces.msg import Time

from dfd_ros.ros import synchronisation as sync

MS = 1_000_000


def message(stamp_ns):
    stamp = Time(sec=stamp_ns // sync.NANOSECONDS, nanosec=stamp_ns % sync.NANOSECONDS)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), ns=stamp_ns)


def pairs(synchroniser_of, arrivals, inputs=2):
    """Stamps of the sets that come out, in ms. `arrivals`: (input, stamp in ms) in order of arrival."""
    filters = [sync.OwnFilter() for _ in range(inputs)]
    out = []
    synchroniser_of(filters).registerCallback(lambda *messages: out.append(tuple(m.ns / MS for m in messages)))
    for index, stamp in arrivals:
        filters[index].signalMessage(message(round(stamp * MS)))
    return out


def exact(queue_size=10):
    return lambda filters: sync.OwnTimeSynchronizer(filters, queue_size)


def approximate(slop, queue_size=10):
    return lambda filters: sync.OwnApproximateTimeSynchronizer(filters, queue_size, slop)


def test_exact_pairs_only_equal_stamps():
    assert pairs(exact(), [(0, 10), (1, 11), (1, 10), (0, 20), (0, 30), (1, 30)]) == [(10, 10), (30, 30)]


def test_either_may_come_first():
    assert pairs(exact(), [(1, 10), (0, 10), (0, 20), (1, 20)]) == [(10, 10), (20, 20)]


def test_queue_keeps_the_newest():
    # 10 has left the queue of two when its counterpart comes.
    assert pairs(exact(2), [(0, 10), (0, 20), (0, 30), (1, 10), (1, 20)]) == [(20, 20)]


def test_approximate_takes_the_nearest_within_slop():
    assert pairs(approximate(0.005), [(1, 8), (1, 11), (0, 10), (1, 21)]) == [(10, 11)]


def test_a_second_off_gives_no_pair():
    arrivals = [(i % 2, 100 * i + 1000 * (i % 2)) for i in range(8)]
    assert pairs(approximate(0.005), arrivals) == []


def test_a_message_is_used_once():
    assert pairs(approximate(0.005), [(0, 10), (1, 11), (1, 9)]) == [(10, 11)]


def test_three_inputs():
    assert pairs(approximate(0.01), [(0, 10), (1, 12), (2, 15), (0, 20), (2, 26), (1, 21)], 3) == [
        (10, 12, 15),
        (20, 21, 26),
    ]


def test_callback_may_feed_the_synchroniser():
    """A callback that publishes to an input in the same thread must not wait for itself."""
    filters = [sync.OwnFilter(), sync.OwnFilter()]
    synchroniser, out = sync.OwnTimeSynchronizer(filters, 5), []

    def callback(a, b):
        out.append(a.ns)
        if a.ns < 3:
            filters[0].signalMessage(message(a.ns + 1))
            filters[1].signalMessage(message(a.ns + 1))

    synchroniser.registerCallback(callback)
    filters[0].signalMessage(message(1))
    filters[1].signalMessage(message(1))
    assert out == [1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60)), max_size=40, unique=True),
    st.integers(1, 6),
    st.integers(1, 12),
)
def test_no_better_partner_was_waiting(arrivals, queue_size, slop):
    """Against a plain search: a new message goes with the nearest that waits, with none if all are far."""
    waiting, expected = ([], []), []
    for index, stamp in arrivals:
        mine, others = waiting[index], waiting[1 - index]
        mine.append(stamp)
        if len(mine) > queue_size:
            mine.remove(min(mine))
        near = [o for o in others if abs(o - stamp) < slop]
        if stamp in mine and near:
            best = min(near, key=lambda o: abs(o - stamp))
            expected.append((stamp, best) if index == 0 else (best, stamp))
            mine.remove(stamp)
            others.remove(best)
    assert pairs(approximate(slop / 1000, queue_size), arrivals) == expected


@given(st.permutations(list(itertools.product((0, 1), range(6)))))
def test_exact_finds_every_pair_in_any_order(arrivals):
    assert sorted(pairs(exact(), arrivals)) == [(i, i) for i in range(6)]


@given(st.integers(2, 3), st.integers(1, 8), st.sampled_from([0.0, 0.001, 0.005, 0.02]), st.data())
def test_the_same_as_message_filters(inputs, queue_size, slop, data):
    """Where ROS is installed: random streams through both give the same sets in the same order."""
    message_filters = pytest.importorskip('message_filters')
    from builtin_interfaces.msg import Time
    from std_msgs.msg import Header

    arrivals = data.draw(st.lists(st.tuples(st.integers(0, inputs - 1), st.integers(0, 60)), max_size=40))
    outputs = []
    for simple_filter, exact_type, approximate_type in (
        (sync.OwnFilter, sync.OwnTimeSynchronizer, sync.OwnApproximateTimeSynchronizer),
        (message_filters.SimpleFilter, message_filters.TimeSynchronizer, message_filters.ApproximateTimeSynchronizer),
    ):
        filters = [simple_filter() for _ in range(inputs)]
        synchroniser = approximate_type(filters, queue_size, slop) if slop else exact_type(filters, queue_size)
        outputs.append([])
        synchroniser.registerCallback(lambda *messages: outputs[-1].append([m.number for m in messages]))
        for number, (index, stamp) in enumerate(arrivals):
            filters[index].signalMessage(
                SimpleNamespace(number=number, header=Header(stamp=Time(sec=1, nanosec=stamp * MS)))
            )
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize('slop', [0.0, 0.005])
def test_stamps_that_fall_back_begin_anew(slop):
    """A bag whose images end a second before its lens states, played twice."""
    arrivals = [(i, stamp) for stamp in range(0, 4000, 100) for i in (1, 0) if i or stamp < 3000]
    assert len(pairs(lambda filters: sync.Synchroniser(filters, 10, slop), 2 * arrivals)) == 2 * 30
    # A message that is late by less is no jump.
    assert pairs(
        lambda filters: sync.Synchroniser(filters, 10, slop), [(0, 1000), (1, 2000), (1, 1000), (0, 2000)]
    ) == [(1000, 1000), (2000, 2000)]


@pytest.mark.parametrize('slop', [0.0, 0.01])
def test_while_stamps_stand_only_the_first_of_them_counts(slop):
    filters, out = [sync.OwnFilter(), sync.OwnFilter()], []
    synchroniser = sync.Synchroniser(filters, 10, slop)
    synchroniser.registerCallback(lambda a, b: out.append((a.number, b.number)))
    for number, second in enumerate((5, 5, 5, 6)):
        for source in filters:
            source.signalMessage(SimpleNamespace(header=message(second * 10**9).header, number=number))
    assert out == [(0, 0), (3, 3)] and synchroniser.repeated == [2, 2] and synchroniser.arrived == [2, 2]


def test_stamps_are_shifted():
    assert sync.shifted(Time(sec=3, nanosec=100), -0.15) == Time(sec=2, nanosec=850_000_100)
    assert sync.shifted(Time(sec=3, nanosec=900_000_000), 0.15) == Time(sec=4, nanosec=50_000_000)


def test_slop_0_means_exact():
    filters = [sync.OwnFilter(), sync.OwnFilter()]
    assert type(sync.Synchroniser(filters, 5, 0.0).implementation) is sync.TimeSynchronizer
    assert type(sync.Synchroniser(filters, 5, 0.1).implementation) is sync.ApproximateTimeSynchronizer


@pytest.mark.parametrize('slop', [0.0, 0.005])
def test_stamps_that_cannot_be_go_no_further(slop):
    filters, refused, out = [sync.OwnFilter(), sync.OwnFilter()], [], []
    synchroniser = sync.Synchroniser(filters, 5, slop, lambda index, stamp: refused.append((index, stamp.sec)))
    synchroniser.registerCallback(lambda a, b: out.append(a.ns))
    for stamp in (-1, -(10**9) * 3, 10**9):
        for source in filters:
            source.signalMessage(message(stamp))
    assert refused == [(0, -1), (1, -1), (0, -3), (1, -3)] and out == [10**9]
    assert synchroniser.arrived == [1, 1]


@pytest.mark.parametrize('slop', [0.0, 0.005])
def test_an_exception_of_the_callback_does_not_stop_the_pairs(slop):
    """message_filters holds its lock while it calls back."""
    filters, out = [sync.OwnFilter(), sync.OwnFilter()], []

    def callback(a, b):
        out.append(a.ns)
        raise OverflowError

    sync.Synchroniser(filters, 5, slop).registerCallback(callback)
    for stamp in (1, 2, 3):
        filters[0].signalMessage(message(stamp * 10**8))
        with pytest.raises(OverflowError):
            filters[1].signalMessage(message(stamp * 10**8))
    assert out == [10**8, 2 * 10**8, 3 * 10**8]


def test_what_finds_no_counterpart_is_counted():
    filters = [sync.OwnFilter(), sync.OwnFilter()]
    synchroniser = sync.Synchroniser(filters, 3, 0.0)
    for i in range(10):
        filters[0].signalMessage(message(i * 10**8))
        if i % 2:
            filters[1].signalMessage(message(i * 10**8))
    assert synchroniser.sets == 5
    assert synchroniser.unpaired(0) == 5 - len(synchroniser.implementation.queues[0]) and synchroniser.unpaired(1) == 0
