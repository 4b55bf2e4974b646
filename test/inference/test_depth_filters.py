"""`dfd_ros.inference.depth_filters`."""

import numpy as np

from dfd_ros.core.optics import VergenceRange
from dfd_ros.inference.depth_filters import MedianOfThree, clean, flying_edges, limited, speckles


def two_surfaces():
    u = np.full((40, 60), 0.2, np.float32)
    u[:, 30:] = 0.8
    return u


def test_speckles_are_small_surfaces():
    u = two_surfaces()
    u[5:8, 5:8] = 0.6  # 9 px
    u[20:24, 40:45] = -0.1  # 20 px, beyond the range
    u[30:] = np.nan
    found = speckles(u, 10)
    assert found.sum() == 9 and found[5:8, 5:8].all()
    assert speckles(u, 21).sum() == 29
    assert not speckles(u, 2).any()


def test_flying_edges_are_pixels_between_two_surfaces():
    u = two_surfaces()
    u[:, 30] = 0.5  # flies
    u[10:12, 10:12] = np.nan  # not an edge
    found = flying_edges(u, 0.2)
    assert found[:, 29:32].all() and found.sum() == 3 * 40
    assert not flying_edges(u, 0.7).any()


def test_depth_out_of_range():
    depth, range_ = np.array([[0.1, 0.3, 1.0, 3.0, 3.1, np.inf, np.nan]], np.float32), VergenceRange(0.3, 3.0)
    nothing, inf = np.nan, np.inf
    np.testing.assert_array_equal(limited(depth, range_, inf), [[-inf, depth[0, 1], 1, 3, inf, inf, nothing]])
    np.testing.assert_array_equal(limited(depth, range_, nothing), [[nothing, depth[0, 1], 1, 3] + [nothing] * 3])
    assert limited(depth, VergenceRange(0.3, inf), nothing)[0, 5] == inf  # the far end is there


def test_filters_of_depth_and_none():
    u = two_surfaces()
    depth, range_ = VergenceRange(0.3, 3.0).denormalise(u), VergenceRange(0.3, 3.0)
    assert clean(depth, range_) is depth
    cleaned = clean(depth, range_, edge_jump=0.2, speckle_size=50)
    assert np.isnan(cleaned[:, 29:31]).all() and np.isnan(cleaned).sum() == 80
    np.testing.assert_array_equal(cleaned[:, :29], depth[:, :29])


def test_the_median_takes_out_what_lasts_for_one_image():
    median, depth = MedianOfThree(), np.ones((4, 5), np.float32)
    assert median(depth) is depth
    flash = depth.copy()
    flash[1, 1], flash[2, 2] = 3.0, np.nan
    assert median(flash) is flash
    result = median(depth)
    assert (result == 1).all()
    assert median(np.ones((2, 2), np.float32)).shape == (2, 2)  # of another size
