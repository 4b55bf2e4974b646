"""Networks: one interface whatever the image, the lens and the length of the stream; weights load or say why not."""

import json
import math
import os
import resource
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.networks import Prediction
from dfd_ros.networks.stream import BestFocus, FilledFocus, focus_measures

TINY = {'channels': (8, 8, 8, 8), 'hypotheses': 6, 'kinds': (1, 2, 1), 'hidden': (4, 4)}


@pytest.fixture(scope='module')
def network():
    torch.manual_seed(0)
    module = networks.create('stream', **TINY)
    with torch.no_grad():  # heads that start near zero would hide what happens before them
        for head in (module.fine, module.coc, module.coarse):
            head.weight.normal_(0, 0.2)
    return module.eval()


def clip(frames=4, height=48, width=64, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(batch, frames, 3, height, width, generator=generator)
    focus = torch.rand(batch, frames, generator=generator)
    return images, focus, torch.tensor([12.0, math.nan])[:batch]


@torch.no_grad()
def stream(network, images, focus, blur_scale):
    """Frame by frame."""
    predictions, state = [], []
    for t in range(images.shape[1]):
        prediction, *state = network(images[:, t], focus[:, t], blur_scale, *state)
        predictions.append(prediction)
    return predictions, state


def assert_same(a: Prediction, b: Prediction, tolerance=1e-4):
    for name, x, y in zip(Prediction._fields, a, b):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance, msg=lambda m: f'{name}: {m}')


@given(st.integers(16, 70), st.integers(16, 70))
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_any_image_size(network, height, width):
    images, focus, blur_scale = clip(2, height, width, batch=1)
    predictions, _state = stream(network, images, focus, blur_scale)
    for prediction in predictions:
        for map_ in prediction:
            assert map_.shape == (1, 1, height, width) and map_.dtype == torch.float32
            assert torch.isfinite(map_).all()


@torch.no_grad()
def test_the_state_is_maps_in_the_view_of_the_image(network):
    """So that it can be warped: each cell belongs to one place, and the strides are powers of two."""
    for height, width in ((48, 64), (50, 70)):
        _, *state = network(torch.rand(2, 3, height, width), torch.rand(2), torch.tensor([5.0, math.nan]))
        padded = [-(-n // network.STRIDE) * network.STRIDE for n in (height, width)]
        assert [padded[0] // s.shape[2] for s in state] == [padded[1] // s.shape[3] for s in state] == [2, 4, 8, 16]
        assert all(s.ndim == 4 and s.shape[0] == 2 and s.dtype == torch.float32 for s in state)
        initial = network.initial_state(2, height, width)
        assert [s.shape for s in initial] == [s.shape for s in state]


@torch.no_grad()
def test_state_changes_stay_local(network):
    image = torch.rand(1, 3, 128, 128)
    other = image.clone()
    other[..., :32, :32] = torch.rand(3, 32, 32)
    focus, k = torch.tensor([0.5]), torch.tensor([10.0])
    for a, b in zip(network(image, focus, k)[1:], network(other, focus, k)[1:]):
        far = a.shape[2] * 3 // 4
        changed = (a - b).abs().amax(1)[0]
        assert changed[: far // 4, : far // 4].max() > 0
        assert changed[far:, far:].max() < 1e-5


@torch.no_grad()
def test_a_sequence_may_go_on_and_decode_only_some_frames(network):
    images, focus, blur_scale = clip(5)
    whole, logits, _ = network.sequence(images, focus, blur_scale)
    some, some_logits, _ = network.sequence(images, focus, blur_scale, decode=[1, 4])
    assert_same(Prediction(*(p[:, [1, 4]] for p in whole)), some)
    for a, b in zip(logits, some_logits):
        torch.testing.assert_close(a[:, [1, 4]], b, rtol=1e-4, atol=1e-4)
    _, _, state = network.sequence(images[:, :2], focus[:, :2], blur_scale)
    rest, _, _ = network.sequence(images[:, 2:], focus[:, 2:], blur_scale, *state)
    assert_same(Prediction(*(p[:, 2:] for p in whole)), rest)


@torch.no_grad()
def test_the_memory_counts(network):
    """The last frame alone says something else than the last frame after the others; and their lens matters."""
    images, focus, blur_scale = clip(4)
    after_all = stream(network, images, focus, blur_scale)[0][-1]
    alone = stream(network, images[:, -1:], focus[:, -1:], blur_scale)[0][-1]
    assert (after_all.vergence - alone.vergence).abs().mean() > 1e-3
    other_focus = stream(network, images, focus.flip(1), blur_scale)[0][-1]
    assert (after_all.vergence - other_focus.vergence).abs().mean() > 1e-3
    other_lens = stream(network, images, focus, blur_scale * 2)[0][-1]
    assert (after_all.vergence[0] - other_lens.vergence[0]).abs().mean() > 1e-4


@torch.no_grad()
def test_unknown_blur_scales_stay_with_their_image(network):
    """Row by row of the batch: NaN in one may not touch the other."""
    images, focus, _ = clip(2)
    both_known, one_unknown = torch.tensor([12.0, 12.0]), torch.tensor([12.0, math.nan])
    known = stream(network, images, focus, both_known)[0][-1]
    unknown = stream(network, images, focus, one_unknown)[0][-1]
    assert_same(Prediction(*(p[:1] for p in known)), Prediction(*(p[:1] for p in unknown)))
    assert all(torch.isfinite(p).all() for p in unknown)
    assert (known.vergence[1] - unknown.vergence[1]).abs().mean() > 1e-4


@torch.no_grad()
def test_without_its_decoder_the_coc_is_that_of_the_vergence(network):
    images, focus, _ = clip(1)
    blur_scale = torch.tensor([12.0, 30.0])
    decoded, *state = network(images[:, 0], focus[:, 0], blur_scale)
    spared, *same_state = network(images[:, 0], focus[:, 0], blur_scale, decode_coc=False)
    torch.testing.assert_close(spared.vergence, decoded.vergence)
    torch.testing.assert_close(spared.log_scale, decoded.log_scale)
    torch.testing.assert_close(same_state, state)
    defocus = spared.vergence - focus[:, 0, None, None, None]
    torch.testing.assert_close(spared.coc, blur_scale[:, None, None, None] * defocus)
    assert not torch.allclose(spared.coc, decoded.coc)


@pytest.mark.slow(reason='hundreds of frames')
@torch.no_grad()
def test_the_state_stays_bounded_over_hundreds_of_frames_of_anything(network):
    generator = torch.Generator().manual_seed(0)
    state, largest = [], []
    for t in range(250):
        image = torch.rand(1, 3, 32, 32, generator=generator)
        if t % 50 > 40:  # black, white and flicker, too
            image = image.round()
        k = torch.tensor([math.nan if t % 7 == 0 else 2.0 ** (t % 8)])
        prediction, *state = network(image, torch.rand(1, generator=generator) * 2 - 0.5, k, *state)
        largest.append(max(float(s.abs().max()) for s in state))
        assert all(torch.isfinite(p).all() for p in prediction)
    assert max(largest) < 20
    assert max(largest[200:]) <= 1.05 * max(largest[50:200])


@pytest.mark.slow(reason='hundreds of frames')
@torch.no_grad()
def test_the_state_of_a_still_scene_settles(network):
    """The same sweep again and again: neither decay nor growth after many."""
    images, focus, blur_scale = clip(3, batch=1)
    state, after = [], []
    for _ in range(60):
        for t in range(3):
            prediction, *state = network(images[:, t], focus[:, t], blur_scale, *state)
        after.append(prediction.vergence)
    assert (after[-1] - after[-2]).abs().max() < 1e-2
    assert after[-1].std() > 0.3 * after[5].std()


def test_focus_measures_rise_with_sharpness():
    generator = torch.Generator().manual_seed(0)
    sharp = torch.rand(1, 3, 64, 64, generator=generator)
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    for a, b in zip(focus_measures(sharp), focus_measures(blurred)):
        assert a.shape == b.shape and a[:, 0].mean() > b[:, 0].mean() > 0
    assert all(not m.any() for m in focus_measures(torch.full((1, 3, 64, 64), 0.5)))
    assert [m.shape[2] for m in focus_measures(sharp)] == [32, 16, 8]


def test_best_focus_keeps_the_sharpest_and_forgets_slowly():
    best, state = BestFocus(1, leak=0.1), torch.zeros(1, 3, 1, 1)
    at = []
    for measure, focus in ((0.5, 0.1), (1.0, 0.4), (0.8, 0.6), (0.75, 0.9)):
        payload = torch.full((1, 1, 1, 1), 10 * focus)
        state = best(torch.full((1, 1, 1, 1), measure), torch.tensor([focus]), payload, state)
        at.append([round(x, 4) for x in state.flatten().tolist()])
    # (best measure, its focus, payload): 1.0 leaks to 0.9 and beats 0.8, then to 0.8 and beats 0.75.
    assert at == [[0.5, 0.1, 1.0], [1.0, 0.4, 4.0], [0.9, 0.4, 4.0], [0.8, 0.4, 4.0]]


# Weights.


CENTRES = torch.linspace(-0.06, 1.06, 16)


def filled_focus(sharpnesses, focus, at_focus=0.5):
    """`FilledFocus` after frames of (h, w) measures: the filled focus with the longer reach, and weights."""
    filled = FilledFocus(CENTRES)
    height, width = sharpnesses[0].shape
    state = torch.zeros(1, filled.state_channels, height, width)
    for sharpness, v in zip(sharpnesses, focus):
        state = filled.remember(sharpness.expand(1, filled.BANDS, height, width), torch.tensor([v]), state)
    result = filled(state, torch.tensor(at_focus).reshape(1, 1, 1, 1))
    assert result.shape == (1, filled.channels, height, width)
    shares, offset = result[0, :16], result[0, 16]
    value = (shares * CENTRES[:, None, None]).sum(0)
    assert torch.allclose(shares.sum(0), torch.ones(()), atol=1e-4) and torch.allclose(
        value - at_focus, offset, atol=1e-4
    )
    return value, result[0, -2]


def test_filled_focus_spreads_into_plain_areas():
    near, far = torch.full((20, 33), 0.2), torch.full((20, 33), 0.2)
    near[:, :3] = near[:, 13:16] = 1.5  # two outlines that are sharp at 0.8, and one at 0.2
    far[:, 30:] = 1.5
    filled, _ = filled_focus([near, far], [0.8, 0.2])
    assert torch.allclose(filled[:, :16], torch.tensor(0.8), atol=0.06)
    assert torch.allclose(filled[:, 28:], torch.tensor(0.2), atol=0.06)


def test_filled_focus_of_one_focus_has_no_evidence():
    sharp = torch.full((8, 8), 1.5)
    assert filled_focus([sharp, sharp], [0.4, 0.4])[1].max() == 0
    assert filled_focus([sharp, sharp * 0.2], [0.4, 0.6])[1].min() > 0


def test_filled_focus_ignores_exposure_changes():
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.2
    filled = FilledFocus(CENTRES)
    dark, bright = (filled.measure(x, focus_measures(x)[1]) for x in (0.7 * image, image))
    plain = [focus_measures(x)[1][:, : filled.BANDS] for x in (0.7 * image, image)]
    assert (bright - dark).abs().mean() < 0.2 * (plain[1] - plain[0]).abs().mean()


@pytest.fixture
def weights(network, tmp_path):
    path = tmp_path / 'tiny.safetensors'
    networks.save(path, network, {'steps': '3'})
    return path


@torch.no_grad()
def test_weights_there_and_back(network, weights):
    loaded = networks.load(weights, network='stream')
    assert not loaded.training and loaded.config == json.loads(json.dumps(network.config))
    images, focus, blur_scale = clip(2)
    assert_same(stream(network, images, focus, blur_scale)[0][-1], stream(loaded, images, focus, blur_scale)[0][-1], 0)
    assert list(weights.parent.iterdir()) == [weights]


def refused(path, match, **arguments):
    with pytest.raises(InputError, match=match) as caught:
        networks.load(path, **arguments)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)


def test_adding_context_to_old_weights_keeps_their_output(network, weights):
    grown = networks.load(weights, changes={'context': 8})
    assert grown.config['context'] == 8 and grown.context is not None
    images, focus, blur_scale = clip(height=50, width=70)
    assert_same(stream(network, images, focus, blur_scale)[0][-1], stream(grown, images, focus, blur_scale)[0][-1])


def test_context_sees_the_whole_image(network, weights):
    grown = networks.load(weights, changes={'context': 8})
    with torch.no_grad():
        for layer in (grown.context.mean, grown.context.out):
            layer.weight.normal_(0, 0.5)
    images, focus, blur_scale = clip(frames=1, height=32, width=640, batch=1)
    other = images.clone()
    other[..., :32] = 1 - other[..., :32]
    far = [
        stream(n, x, focus, blur_scale)[0][-1].vergence[..., -16:] for n in (network, grown) for x in (images, other)
    ]
    assert torch.equal(far[0], far[1]) and not torch.equal(far[2], far[3])


def test_half_precision_weights_are_half_as_large_and_agree(network, weights, tmp_path):
    networks.save_half(tmp_path / 'half.safetensors', weights)
    assert (tmp_path / 'half.safetensors').stat().st_size < 0.6 * weights.stat().st_size
    half = networks.load(tmp_path / 'half.safetensors')
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters())
    assert half.config == network.config
    images, focus, blur_scale = clip()
    predictions = [stream(n, images, focus, blur_scale)[0][-1].vergence for n in (network, half)]
    assert (predictions[0] - predictions[1]).abs().max() < 5e-3


def test_absent_weights(tmp_path):
    refused(tmp_path / 'none.safetensors', 'no such file')
    refused(tmp_path, 'is a folder')
    refused(tmp_path / ('y' * 300), 'File name too long')
    os.mkfifo(tmp_path / 'fifo')
    refused(tmp_path / 'fifo', 'is a FIFO')


@pytest.mark.parametrize('share', [0.0, 0.001, 0.5, 0.999])
def test_weights_cut_short(weights, share):
    content = weights.read_bytes()
    weights.write_bytes(content[: int(len(content) * share)])
    refused(weights, 'not a complete safetensors file')


def test_weights_that_are_no_safetensors(weights):
    torch.save({'a': torch.zeros(3)}, weights)  # a pickle, which could run code: never read
    refused(weights, 'not a complete safetensors file')
    weights.write_text('hello')
    refused(weights, 'not a complete safetensors file')


def test_weights_of_another_network(weights):
    refused(weights, 'of the network "stream", not of "other"', network='other')


def test_weights_of_another_project(weights):
    save_file(load_file(weights), weights)
    refused(weights, 'not written by dfd_ros')
    save_file(load_file(weights), weights, {'format': 'dfd_ros-99', 'network': 'stream', 'config': '{}'})
    refused(weights, 'not written by dfd_ros')


@pytest.mark.parametrize(
    'change',
    [
        {'hypotheses': 7},
        {'nonsense': 1},
        {'channels': 'many'},
        {'name': 'x'},
        # Larger than memory, unless it is refused before anything is built.
        {'channels': [20000] * 4},
        {'hypotheses': 10**9},
        {'hypotheses': 10**6},
        {'kinds': [10**6] * 3},
        {'blocks': [10**6] * 4},
        {'hypotheses': float('nan')},
    ],
)
def test_weights_that_do_not_fit_their_own_description(network, weights, change):
    config = {**network.config, **change}
    save_file(load_file(weights), weights, {'format': 'dfd_ros-1', 'network': 'stream', 'config': json.dumps(config)})
    refused(weights, 'tiny.safetensors')


def test_a_refused_network_takes_no_memory(weights):
    """Not even address space, which a robot may limit: one of its layers alone would take 8 GB."""
    config = json.dumps({**TINY, 'kinds': [10**6] * 3})
    save_file(load_file(weights), weights, {'format': 'dfd_ros-1', 'network': 'stream', 'config': config})
    in_use = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**30, before[1]))
    try:
        refused(weights, 'a network of more than .* parameters')
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    'metadata',
    [{}, {'network': 'stream'}, {'network': 'nobody', 'config': '{}'}, {'network': 'stream', 'config': 'no JSON'}],
)
def test_weights_with_a_damaged_description(weights, metadata):
    save_file(load_file(weights), weights, {'format': 'dfd_ros-1', **metadata})
    refused(weights, 'tiny.safetensors')


@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_weights_that_are_not_finite(weights, value):
    tensors, metadata = load_file(weights), {'format': 'dfd_ros-1', 'network': 'stream', 'config': json.dumps(TINY)}
    tensors['fine.bias'][0] = value
    save_file(tensors, weights, metadata)
    refused(weights, "'fine.bias' has values that are not finite")


def test_a_header_larger_than_any_network_needs(weights):
    weights.write_bytes((2**27).to_bytes(8, 'little') + b'{}' + b' ' * 1000)
    refused(weights, 'not a complete safetensors file .a header of 134217728 bytes')


@pytest.mark.parametrize('name', ['dfd_ros.networks.network:Network', 'os.path:join', 'stream:', 'x' * 100_000])
def test_weights_of_what_is_not_a_network(weights, name):
    save_file(load_file(weights), weights, {'format': 'dfd_ros-1', 'network': name, 'config': '{}'})
    refused(weights, 'tiny.safetensors')


def test_unknown_network_is_refused_in_one_line():
    with pytest.raises(InputError, match='no network "strem": choose one of .*stream'):
        networks.create('strem')
    assert set(networks.names()) >= {'stream', 'ddffnet', 'lstm_ddff', 'recurrent_autoencoder', 'poolnet'}
