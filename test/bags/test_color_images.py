"""The images of a bag, decoded on demand."""

import pytest
from recorded_rig import Options, write_bag

from dfd_ros.bags.bag_reader import Bag
from dfd_ros.bags.color_images import ColorImages


def test_only_the_newest_image_is_not_read_again(tmp_path):
    bag = Bag(write_bag(tmp_path / 'bag'))
    topic = Options().image_topic
    images, reads = ColorImages(bag, topic), []

    def counted(item):
        return item._replace(reload=lambda: reads.append(item.time) or item.reload())

    first, second = (counted(item) for item, _ in zip(bag.read([topic]), range(2)))
    loads = [images.loader(item) for item in (first, second)]
    assert loads[1]().shape == loads[0]().shape
    assert reads == [first.time]


@pytest.mark.parametrize('compressed', [False, True])
def test_an_image_is_the_same_when_it_is_read_again(tmp_path, compressed):
    options = Options(compressed=compressed)
    bag = Bag(write_bag(tmp_path / 'bag', options))
    topic = next(name for name in bag.topics if name.startswith(options.image_topic))
    images = ColorImages(bag, topic)
    item = next(bag.read([topic]))
    load = images.loader(item)
    at_once = load()
    images.loader(item._replace(reload=lambda: None))
    assert (load() == at_once).all()
