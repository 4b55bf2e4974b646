"""The contract of `Network`: every network of the package keeps it, and so does one that only writes `forward`.

Whoever adds a network adds it to `_NETWORKS`; a line in `SMALL` makes it quick to test.
"""

import math

import pytest
import torch
from newcomer import Newcomer

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.inference.backends import OnnxBackend, TorchBackend
from dfd_ros.inference.onnx_export import export_onnx
from dfd_ros.networks import Network, Prediction
from dfd_ros.networks.network import signed_coc
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.losses import sequence_loss

HEIGHT, WIDTH, FRAMES = 32, 64, 4
STACK = {'frames': 2, 'width': 0.1}
SMALL = {
    'stream': {'channels': (8, 8, 8, 8), 'hypotheses': 6, 'kinds': (1, 2, 1), 'hidden': (4, 4)},
    'ddffnet': STACK,
    'recurrent_autoencoder': STACK,
    'poolnet': STACK,
    'lstm_ddff': {**STACK, 'size': (HEIGHT, WIDTH), 'kind': 'stacking'},
    'newcomer:Newcomer': {'channels': 4},
}
NAMES = [*networks.names(), 'newcomer:Newcomer']
each = pytest.mark.parametrize('name', NAMES)
WITH_WEIGHTS = [name for name in NAMES if networks.needs_weights(name)]


def make(name) -> Network:
    torch.manual_seed(0)
    return networks.create(name, **SMALL.get(name, {})).eval()


def clip():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, FRAMES, 3, HEIGHT, WIDTH, generator=generator)
    focus = torch.linspace(0, 1, FRAMES).repeat(2, 1)
    return images, focus, torch.tensor([12.0, math.nan])


def stream(network, images, focus, blur_scale, *state):
    """Frame by frame."""
    predictions, state = [], list(state)
    for t in range(images.shape[1]):
        prediction, *state = network(images[:, t], focus[:, t], blur_scale, *state)
        predictions.append(prediction)
    return Prediction(*(torch.stack(maps, 1) for maps in zip(*predictions))), state


def assert_same(ours, theirs, tolerance=1e-4):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


@each
def test_its_name_finds_it(name):
    network = make(name)
    assert network.name == name and networks.find(network.name) is type(network)
    assert networks.needs_weights(name) == network.needs_weights
    assert (network.frames is not None) == network.reads_stacks


@each
@torch.no_grad()
def test_a_sequence_is_its_frames_one_by_one(name):
    network, given = make(name), clip()
    by_frame, state = stream(network, *given)
    together, logits, last = network.sequence(*given)
    for map_ in together:
        assert map_.shape == (2, FRAMES, 1, HEIGHT, WIDTH) and map_.dtype == torch.float32
    assert_same(by_frame, together)
    assert_same(state, last)
    assert bool(logits) == (network.centres is not None)
    assert torch.isfinite(together.vergence[:, -1]).all() and torch.isfinite(together.log_scale).all()


@each
@torch.no_grad()
def test_it_decodes_the_frames_that_are_asked_for_and_goes_on(name):
    network, (images, focus, blur_scale) = make(name), clip()
    all_, _, _ = network.sequence(images, focus, blur_scale)
    some, _, _ = network.sequence(images, focus, blur_scale, decode=[1, 3])
    assert_same([map_[:, [1, 3]] for map_ in all_], some)
    _, _, state = network.sequence(images[:, :2], focus[:, :2], blur_scale)
    rest, _, _ = network.sequence(images[:, 2:], focus[:, 2:], blur_scale, *state)
    assert_same([map_[:, 2:] for map_ in all_], rest)


@each
@torch.no_grad()
def test_its_state_is_maps_that_start_as_zeros(name):
    network, (images, focus, blur_scale) = make(name), clip()
    initial = network.initial_state(2, HEIGHT, WIDTH)
    without, *state = network(images[:, 0], focus[:, 0], blur_scale)
    with_zeros, *_ = network(images[:, 0], focus[:, 0], blur_scale, *initial)
    assert_same(without, with_zeros)
    assert len(initial) == len(state) and not network.training
    for map_, zeros in zip(state, initial):
        assert map_.ndim == 4 and map_.shape[0] == 2 and map_.shape[2:] == zeros.shape[2:] and not zeros.any()
        assert math.log2(HEIGHT / map_.shape[2]).is_integer() and HEIGHT * map_.shape[3] == WIDTH * map_.shape[2]


@each
def test_it_learns_where_it_has_weights(name):
    network, (images, focus, blur_scale) = make(name).train(), clip()
    blur_scale = blur_scale.nan_to_num(8.0)
    config = TrainingConfig(coc=0.3 if network.decodes_coc else 0.0)
    prediction, logits, _ = network.sequence(images, focus, blur_scale, decode=[1, 3])
    u = torch.full_like(prediction.vergence, 0.3)
    coc = torch.stack([signed_coc(u[:, i], focus[:, t], blur_scale) for i, t in enumerate((1, 3))], 1)
    if not network.needs_weights:
        assert not list(network.parameters())
        return
    loss, parts = sequence_loss(prediction, logits, network.centres, u, coc, torch.tensor([4.0, 4.0]), config)
    loss.backward()
    assert torch.isfinite(loss) and ('coarse' in parts) == bool(logits)
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)
    network.record_error(prediction.vergence, u)


@pytest.mark.parametrize('name', WITH_WEIGHTS)
@torch.no_grad()
def test_its_weights_come_back(name, tmp_path):
    network, given = make(name), clip()
    networks.save(tmp_path / 'a.safetensors', network)
    loaded = networks.load(tmp_path / 'a.safetensors', network=name)
    assert loaded.config == network.config and type(loaded) is type(network) and not loaded.training
    assert_same(network.sequence(*given)[0], loaded.sequence(*given)[0], 0)


@pytest.mark.slow(reason='networks are exported')
@pytest.mark.parametrize(
    'name, half', [*((name, False) for name in WITH_WEIGHTS), ('newcomer:Newcomer', True)], ids=str
)
@torch.no_grad()
def test_its_export_gives_the_same(name, half, tmp_path):
    pytest.importorskip('onnxruntime')
    network, (images, focus, blur_scale) = make(name), clip()
    path = tmp_path / 'network.onnx'
    if network.reads_stacks:
        with pytest.raises(InputError, match='reads stacks of 2 frames'):
            export_onnx(network, path)
        return
    export_onnx(network, path, (HEIGHT, WIDTH), half)  # a fixed size takes a fraction of the time of any
    backends = TorchBackend(network, torch.device('cpu'), 'fp32'), OnnxBackend(path, torch.device('cpu'))
    assert backends[0].network_name == backends[1].network_name == name
    # An unknown blur scale: with a known one torch leaves out the decoder of the CoC.
    ours, theirs = (stream(backend, images[1:], focus[1:], blur_scale[1:])[0] for backend in backends)
    if half:
        assert_same([map_.mean() for map_ in ours], [map_.mean() for map_ in theirs], 1e-2)
    else:
        assert_same(ours, theirs)


# Networks of one's own


def test_weights_alone_do_not_decide_which_code_runs(tmp_path, monkeypatch):
    (tmp_path / 'stranger.py').write_text(
        'from dfd_ros.networks import Network\nclass Stranger(Network):\n    pass\nclass NoNetwork:\n    pass\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / 'a.safetensors'
    with monkeypatch.context() as patch:
        patch.setattr(networks, 'name_of', lambda cls: 'stranger:Stranger')
        networks.save(path, Newcomer())
    with pytest.raises(InputError, match="of 'stranger:Stranger', which is not a network of dfd_ros; give that name"):
        networks.load(path)
    with pytest.raises(InputError, match='of the network "stranger:Stranger", not of "stream"'):
        networks.load(path, network='stream')


@pytest.mark.parametrize(
    'name, says',
    [
        ('nowhere.at_all:Network', 'Python finds no module nowhere; install it, or put its folder on PYTHONPATH'),
        ('newcomer:Nobody', 'the module newcomer has no class "Nobody"'),
        ('newcomer:math', 'has to be a class that derives from dfd_ros.networks.network.Network'),
        ('os:system', 'has to be a class that derives from'),
        (':Network', 'give module:Class, such as'),
        ('newcomr', 'choose one of .*, or give your own as module:Class'),
    ],
)
def test_a_name_that_is_no_network_is_refused_in_one_line(name, says):
    with pytest.raises(InputError, match=says) as caught:
        networks.create(name)
    assert '\n' not in str(caught.value)


def test_the_outermost_constructor_is_what_is_recorded():
    class Wide(Newcomer):
        def __init__(self, factor=2, **others):
            super().__init__(channels=4 * factor)
            self.others = others

    assert Wide(3, depth=(1, 2)).config == {'factor': 3, 'depth': [1, 2]}
    assert Newcomer(5).config == {'channels': 5} and Network().config == {}


def test_a_module_that_is_no_network_is_refused():
    with pytest.raises(InputError, match='Conv2d does not derive from dfd_ros.networks.Network'):
        TorchBackend(torch.nn.Conv2d(3, 3, 1), torch.device('cpu'))
