"""Networks that read whole focal stacks: one interface for all of them, and what each promises of its own."""

from __future__ import annotations

import copy
import functools
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from command_line import dfd

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.optics import VergenceRange
from dfd_ros.evaluation import evaluation_stacks, frame_figures
from dfd_ros.inference.estimator import DepthEstimator
from dfd_ros.networks.baselines.recurrent_autoencoder import RecurrentBlock
from dfd_ros.networks.stack_network import check_stack

pytestmark = pytest.mark.slow(reason='every network, several times')

SIZE = 32, 64
SMALL = {'width': 0.1}
VARIANTS = {
    'ddffnet': ('ddffnet', {}),
    'lstm_ddff, fully connected': ('lstm_ddff', {'size': SIZE}),
    'lstm_ddff, stacking': ('lstm_ddff', {'size': SIZE, 'kind': 'stacking'}),
    'lstm_ddff, no skip module': ('lstm_ddff', {'size': SIZE, 'skip_module': False}),
    'recurrent_autoencoder': ('recurrent_autoencoder', {}),
    'poolnet': ('poolnet', {}),
    'poolnet, focus': ('poolnet', {'focus_channel': True}),
}
TWO_STAGE = ('poolnet', {'focus_channel': True, 'two_stage': True})
WITH_COC = {
    **{f'{title}, CoC': (name, {**config, 'coc': True}) for title, (name, config) in VARIANTS.items()},
    'poolnet, two-stage': TWO_STAGE,
}
ALL = {**VARIANTS, **WITH_COC}
ANY_SIZE = {title: (name, config) for title, (name, config) in ALL.items() if 'size' not in config}


def each(variants):
    return pytest.mark.parametrize('name, config', variants.values(), ids=variants.keys())


def make(name, config, frames=4):
    """A copy of `shared`, to be changed."""
    return copy.deepcopy(shared(name, config, frames))


def shared(name, config, frames=4):
    """A network in evaluation mode, with batch statistics of its own: those at the start let next to nothing
    through."""
    return _made(name, json.dumps(config), frames)


@functools.cache
def _made(name, config, frames):
    torch.manual_seed(0)
    network = networks.create(name, frames=frames, **SMALL, **json.loads(config)).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all that comes
            module.train()
    with torch.no_grad():
        for seed in range(2):
            network.sequence(*clip(frames, seed=10 + seed))
    return network.eval()


def clip(frames=4, height=SIZE[0], width=SIZE[1], batch=2, seed=0):
    """Noise on patches, focus rising, and one known and one unknown blur scale."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch * frames, 3, height, width, generator=generator)
    patches = torch.rand(batch * frames, 3, 5, 5, generator=generator)
    images = (noise * F.interpolate(patches, size=(height, width))).unflatten(0, (batch, frames))
    focus = torch.linspace(0, 1, frames).repeat(batch, 1)
    return images, focus, torch.tensor([12.0, math.nan])[:batch]


@torch.no_grad()
def stream(network, images, focus, blur_scale, *state):
    """Frame by frame: the predictions, and the state after each."""
    predictions, states = [], []
    for t in range(images.shape[1]):
        prediction, *state = network(images[:, t], focus[:, t], blur_scale, *state)
        predictions.append(prediction)
        states.append(state)
    return predictions, states


def same(a, b, tolerance=1e-4):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


# One interface.


@each(ALL)
def test_every_weight_is_trained(name, config):
    network = networks.create(name, **SMALL, **config).train()
    images, focus, blur_scale = clip()
    prediction, logits, _ = network.sequence(images, focus, blur_scale)
    assert logits == []
    assert all(p.shape == (2, 4, 1, *SIZE) for p in prediction)
    loss = prediction.vergence[:, -1].square().mean()
    if config.get('coc') or config.get('two_stage'):
        assert torch.isfinite(prediction.coc).all()
        loss = loss + torch.asinh(prediction.coc).square().mean()
    loss.backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()] == []
    assert [n for n, p in network.named_parameters() if p.ndim > 1 and not p.grad.any()] == []


@each(ALL)
@torch.no_grad()
def test_stack_networks_hold_their_map_until_the_next_stack(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip(8)
    focus = torch.cat([focus[:, ::2], focus[:, 1::2]], 1)
    predictions, states = stream(network, images, focus, blur_scale)
    maps = [p.vergence for p in predictions]
    assert all(torch.isnan(u).all() for u in maps[:3])
    assert all(torch.isfinite(u).all() for u in maps[3:])
    assert all(torch.equal(u, maps[3]) for u in maps[4:7])
    assert (maps[7] - maps[3]).abs().mean() > 1e-4
    assert all(torch.isfinite(p.log_scale).all() for p in predictions)
    assert [s[0].shape[1] for s in states] == [4, 8, 12, 0, 4, 8, 12, 0]
    assert all(s.ndim == 4 and s.shape[2:] == SIZE and s.dtype == torch.float32 for state in states for s in state)
    alone, _, _ = network.sequence(images[:, 4:], focus[:, 4:], blur_scale, decode=[3])
    same(alone.vergence[:, 0], maps[7])  # nothing of a stack is left when the next begins


@each(ALL)
@torch.no_grad()
def test_a_sequence_is_its_frames_one_by_one(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip(8)
    predictions, states = stream(network, images, focus, blur_scale)
    together, _, state = network.sequence(images, focus, blur_scale)
    for t, prediction in enumerate(predictions):
        same(prediction.vergence, together.vergence[:, t])
        same(prediction.log_scale, together.log_scale[:, t])
        if t % 4 == 3:  # in the others the decoder's CoC is for training
            same(prediction.coc, together.coc[:, t])
    for a, b in zip(states[-1], state):
        same(a, b)
    some, _, _ = network.sequence(images, focus, blur_scale, decode=[3, 5])
    for whole, part in zip(together, some):
        same(whole[:, [3, 5]], part)
    # From the middle of a stack on.
    begun = states[1]
    rest, _, _ = network.sequence(images[:, 2:6], focus[:, 2:6], blur_scale, *begun)
    same(rest.vergence, together.vergence[:, 2:6])


@each(ALL)
@torch.no_grad()
def test_frames_may_come_in_any_order(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip()
    rising, _, _ = network.sequence(images, focus, blur_scale)
    order = [2, 0, 3, 1]
    shuffled, _, _ = network.sequence(images[:, order], focus[:, order], blur_scale)
    same(rising.vergence[:, -1], shuffled.vergence[:, -1])
    if config.get('coc') or config.get('two_stage'):
        same(rising.coc[:, order], shuffled.coc)  # of each frame, wherever it came
    # Each stack of a batch in its own order.
    mixed = torch.stack([images[0], images[1].flip(0)]), torch.stack([focus[0], focus[1].flip(0)])
    same(rising.vergence[:, -1], network.sequence(*mixed, blur_scale)[0].vergence[:, -1])


@each(ALL)
@torch.no_grad()
def test_stacks_of_a_batch_do_not_touch_each_other(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip()
    both, _, _ = network.sequence(images, focus, blur_scale)
    for i in range(2):
        one, _, _ = network.sequence(images[i : i + 1], focus[i : i + 1], blur_scale[i : i + 1])
        for a, b in zip(both, one):
            # Convolutions of other batch sizes add in another order, and the CoC is a sinh of the last.
            same(a[i : i + 1], b, 1e-3)


@each(VARIANTS)
@torch.no_grad()
def test_without_a_coc_decoder_coc_follows_depth(name, config):
    images, focus, blur_scale = clip()
    prediction = stream(shared(name, config), images, focus, blur_scale)[0][-1]
    same(prediction.coc[0], 12 * (prediction.vergence[0] - 1))
    assert torch.isnan(prediction.coc[1]).all()  # unknown blur scale


@each(WITH_COC)
@torch.no_grad()
def test_the_decoder_tells_the_coc_of_an_unknown_lens_too(name, config):
    images, focus, blur_scale = clip()
    predictions, _ = stream(shared(name, config), images, focus, blur_scale)
    assert torch.isfinite(predictions[-1].coc).all()
    same(predictions[2].coc, torch.full_like(predictions[2].coc, math.nan))


@each(ANY_SIZE)
@pytest.mark.parametrize('size', [(16, 70), (33, 64)])
@torch.no_grad()
def test_any_image_size(name, config, size):
    network = shared(name, config)
    prediction = stream(network, *clip(4, *size))[0][-1]
    assert all(map_.shape == (2, 1, *size) for map_ in prediction)
    assert torch.isfinite(prediction.vergence).all()


@each(ALL)
@torch.inference_mode()
def test_bf16(name, config):
    """No more is lost than by noise of the size of what it rounds away; networks of random weights enlarge both."""
    network = shared(name, config)
    images, focus, blur_scale = clip()
    exact = stream(network, images, focus, blur_scale)[0][-1]
    with torch.autocast('cpu', torch.bfloat16):
        rough, states = stream(network, images, focus, blur_scale)
    noisy = stream(network, images + 2e-3 * torch.randn_like(images), focus, blur_scale)[0][-1]
    lost, by_noise = ((p.vergence - exact.vergence).abs().mean() for p in (rough[-1], noisy))
    assert 0 < lost < 2 * by_noise
    assert all(map_.dtype == torch.float32 for map_ in (*rough[-1], *states[-1]))


# What each promises.


@torch.no_grad()
def test_ddffnet_weighs_the_frames_by_a_last_convolution():
    network = make('ddffnet', {})
    network.score.weight.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0])[None, :, None, None])
    images, focus, blur_scale = clip()
    other = images.clone()
    other[:, [0, 2, 3]] = torch.rand(2, 3, 3, *SIZE)
    same(network.stack(images, focus, blur_scale)[0], network.stack(other, focus, blur_scale)[0])
    other[:, 1] = torch.rand(2, 3, *SIZE)
    assert (network.stack(images, focus, blur_scale)[0] - network.stack(other, focus, blur_scale)[0]).abs().max() > 1e-3


def test_ddffnet_is_vgg16_with_a_mirrored_decoder():
    with torch.device('meta'):
        network = networks.create('ddffnet')
        encoder = [m for m in network.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in encoder] == [64, 64, 128, 128, 256, 256, 256] + 6 * [512]
    # Of VGG-16's 14,714,688 in 13 layers 4,224 are biases, which batch normalisation makes needless.
    assert sum(c.weight.numel() for c in encoder) == 14_714_688 - 4_224
    decoder = [m for m in network.decoder.modules() if isinstance(m, torch.nn.Conv2d)]
    mirrored = [(c.out_channels, c.in_channels) for c in reversed(encoder)]
    mirrored[6] = (512, 256)  # the third stage has the encoder's features beside its own
    mirrored[-1] = (64, 1)
    assert [(c.in_channels, c.out_channels) for c in decoder] == mirrored


@each({title: v for title, v in VARIANTS.items() if v[0] == 'poolnet'})
@torch.no_grad()
def test_poolnet_reads_a_set(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip()
    order = [3, 1, 0, 2]
    u, _ = network.stack(images, focus, blur_scale)
    same(u, network.stack(images[:, order], focus[:, order], blur_scale)[0])
    other_focus, _ = network.stack(images, focus[:, order], blur_scale)
    assert ((u - other_focus).abs().max() > 1e-3) == network.focus_channel


@torch.no_grad()
def test_two_stage_poolnet_makes_depth_of_the_coc_alone():
    network = make(*TWO_STAGE)
    images, focus, blur_scale = clip()
    depth, coc = network.stack(images, focus, blur_scale)
    network.coc_output[-1].weight.zero_()
    without, _ = network.stack(images, focus, blur_scale)
    another, _ = network.stack(torch.rand_like(images), focus, blur_scale)
    same(without, another)
    assert (depth - without).abs().mean() > 1e-3 and coc.std() > 1e-3


@pytest.mark.parametrize(
    'name, config',
    [
        ('recurrent_autoencoder', {}),
        ('lstm_ddff', {'size': SIZE}),
        ('lstm_ddff', {'size': SIZE, 'kind': 'stacking', 'skip_module': False}),
    ],
)
@torch.no_grad()
def test_recurrent_networks_remember_every_frame(name, config):
    network = shared(name, config)
    images, focus, blur_scale = clip()
    u, _ = network.stack(images, focus, blur_scale)
    for t in range(4):
        other = images.clone()
        other[:, t] = other[:, t].flip(-1) ** 2
        assert (network.stack(other, focus, blur_scale)[0] - u).abs().max() > 1e-4


@torch.no_grad()
def test_recurrent_block_is_causal_and_outputs_its_state():
    torch.manual_seed(0)
    block = RecurrentBlock(3, 5, 4).eval()
    x = torch.rand(1, 4, 3, 8, 8)
    whole = block(x)
    same(block(x[:, :2]), whole[:, :2])
    same(block.step(block.input(x[:, 2]), whole[:, 1], 2), whole[:, 2])


@torch.no_grad()
def test_recurrent_block_agrees_between_training_and_use():
    """Its statistics are those of each frame, so that nothing shifts when they take the place of a batch's."""
    torch.manual_seed(0)
    block, x = RecurrentBlock(3, 5, 4), torch.rand(4, 4, 3, 16, 16)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    trained = block(x)
    same(block.eval()(x), trained, 1e-2)


def test_the_recorded_error_is_a_running_mean_over_known_pixels():
    network = networks.create('poolnet', **SMALL)
    truth = torch.rand(2, 1, 8, 8)
    estimate = truth + torch.tensor([0.02, -0.04])[:, None, None, None]
    truth[:, :, 0], estimate[:, :, 1] = math.nan, math.nan
    for _ in range(2000):
        network.record_error(estimate, truth)
    assert network.log_error.exp() == pytest.approx(0.03, rel=1e-3)
    network.record_error(torch.full_like(truth, math.nan), truth)
    assert network.log_error.exp() == pytest.approx(0.03, rel=1e-3)
    with torch.no_grad():
        prediction, _, _ = network.sequence(*clip())
    same(prediction.log_scale, torch.full_like(prediction.log_scale, math.log(0.03)), 1e-3)


# In the estimator.

RANGE = VergenceRange(0.25, 1.25)
FOCI = [RANGE.denormalise(v) for v in (0, 1 / 3, 2 / 3, 1)]


def estimator(network, **options):
    return DepthEstimator(network=network, device='cpu', range_=RANGE, **options)


def moved(t, height=SIZE[0], width=SIZE[1], step=3):
    """A textured scene, `step` pixels further to the left in each frame."""
    import cv2

    scene = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    scene = cv2.resize(scene, (6 * width, 3 * height), interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(scene[height : 2 * height, width + step * t : 2 * width + step * t])


@each({title: ALL[title] for title in ('ddffnet', 'lstm_ddff, stacking, CoC', 'poolnet, two-stage')})
@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_depth_of_a_stack_and_nan_before(name, config, precision):
    estimator_ = estimator(make(name, config), precision=precision)
    estimates = [estimator_.push(moved(0), LensState(focus)) for focus in FOCI + FOCI]
    for estimate in estimates[:3]:
        assert np.isnan(estimate.depth).all() and not estimate.confidence.any()
    for estimate in estimates[3:]:
        assert not np.isnan(estimate.depth).any() and (estimate.confidence > 0).all()
    np.testing.assert_allclose(estimates[4].depth, estimates[3].depth)
    np.testing.assert_allclose(estimates[7].depth, estimates[3].depth, rtol=1e-3)


@pytest.mark.parametrize('resolution', [None, 40])
def test_a_held_map_moves_with_the_view(resolution):
    estimator_ = estimator(make('ddffnet', {}), resolution=resolution)
    estimates = [estimator_.push(moved(t), LensState(FOCI[t % 4])) for t in range(8)]
    done, next_ = estimates[3].vergence, estimates[5].vergence
    unknown = np.isnan(next_)
    assert not np.isnan(done).any() and not np.isnan(estimates[7].vergence).any()
    assert unknown[:, -4:].all() and not unknown[:, 8:-12].any()
    assert not estimates[5].confidence[unknown].any() and np.isnan(estimates[5].depth[unknown]).all()
    inner = slice(12, -12)
    shifted, still = (np.nanmean(np.abs(next_[inner, 8:-16] - a)) for a in (done[inner, 14:-10], done[inner, 8:-16]))
    assert shifted < 0.35 * still


def test_earlier_frames_go_with_the_view():
    """Frames that are out of register, and put into it, give what frames in register give."""
    network = make('recurrent_autoencoder', {})
    still, moving, loose = (estimator(network, registration=registers) for registers in (False, True, False))
    for t, focus in enumerate(FOCI):
        a = still.push(moved(3), LensState(focus)).vergence
        b, c = (e.push(moved(t, step=4 if t < 3 else 3), LensState(focus)).vergence for e in (moving, loose))
    inner = (slice(8, -8), slice(8, -20))
    assert np.abs(a - b)[inner].mean() < 0.6 * np.abs(a - c)[inner].mean()


def test_figures_are_those_of_the_frames_with_depth():
    estimator_ = estimator(make('poolnet', {'focus_channel': True}), registration=False)
    stacks = evaluation_stacks.procedural_stacks('study', 1, frames=8, size=64, sweep=4)
    figures = frame_figures.evaluate(estimator_, stacks, (1, 3, 4, 5, 8))
    assert [f.frame for f in figures] == [4, 5, 8]
    assert all(f.known == 1 and math.isfinite(f.rms) and math.isfinite(f.mae_u) for f in figures)


# Bad input: one line that says what the network takes.


def refused(match, function, *arguments, **options):
    with pytest.raises(InputError, match=match) as caught:
        function(*arguments, **options)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('kind, millions', [('fully_connected', 403), ('stacking', 51)])
def test_the_lstms_of_the_study_are_within_the_limit_of_parameters(kind, millions):
    with torch.device('meta'):  # no memory
        network = networks.create('lstm_ddff', kind=kind)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == millions


@pytest.mark.parametrize(
    'name, config, match',
    [
        ('ddffnet', {'frames': 1}, 'frames: 1, a stack has at least 2'),
        ('poolnet', {'width': 0}, 'width: 0 must be above 0'),
        ('poolnet', {'coc': True, 'two_stage': True}, 'two_stage predicts the CoC already'),
        ('lstm_ddff', {'kind': 'large'}, 'kind: "large" must be one of fully_connected, stacking'),
        ('lstm_ddff', {'size': (256,)}, 'size: .* is not height and width'),
    ],
)
def test_impossible_networks(name, config, match):
    refused(f'^network "{name}": {match}', networks.create, name, **config)


@each(VARIANTS)
def test_sequences_of_another_length(name, config):
    network = networks.create(name, **SMALL, **config)
    refused(f'{name}: sequences of 6 frames, but it reads stacks of 4', network.sequence, *clip(6))


@pytest.mark.parametrize('kind', ['fully_connected', 'stacking'])
def test_images_of_another_size(kind):
    network = networks.create('lstm_ddff', size=(64, 96), kind=kind, **SMALL)
    for size in ((64, 64), (60, 96), (128, 96)):  # also what would be padded to the same
        images, focus, blur_scale = clip(4, *size)
        match = f'lstm_ddff: takes images of 96x64 only, these have {size[1]}x{size[0]}'
        refused(match, network.sequence, images, focus, blur_scale)
        refused(match, network, images[:, 0], focus[:, 0], blur_scale)  # with the first frame, not the last
        refused(
            match,
            DepthEstimator(network=network, device='cpu', range_=RANGE).push,
            np.zeros((*size, 3), np.uint8),
            LensState(0.5),
        )


def test_stacks_that_a_network_cannot_read():
    check_stack('ddffnet', 4, [0, 0.3, 0.7, 1])
    check_stack('ddffnet', 4, [0, 0.3, 0.7, 1, 1, 0.7, 0.3, 0])
    refused('ddffnet: reads stacks of 4 frames, this one has 6', check_stack, 'ddffnet', 4, [0, 0.2, 0.4, 0.6, 0.8, 1])
    refused('frames 1 to 4 cover only 43% of the range', check_stack, 'ddffnet', 4, [i / 7 for i in range(8)])


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'poolnet.safetensors'
    networks.save(path, make('poolnet', {'coc': True}))
    return path


def write_stack(folder, foci):
    FocalStack(
        [moved(0, 48, 64) for _ in foci], [LensState(f) for f in foci], np.full((48, 64), 0.5, np.float32)
    ).write(folder)
    return folder


def test_dfd_estimate(weights, tmp_path, capsys):
    out = tmp_path / 'out'
    assert dfd('estimate', write_stack(tmp_path / 'four', FOCI), '--out', out, '--weights', weights) == 0
    assert not np.isnan(np.load(out / 'depth.npy')).any()
    five = write_stack(tmp_path / 'five', FOCI + [0.5])
    assert dfd('estimate', five, '--out', tmp_path / 'none', '--weights', weights) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert 'poolnet: reads stacks of 4 frames, this one has 5' in said
    assert not (tmp_path / 'none').exists()


def test_dfd_evaluate(weights, tmp_path, capsys):
    write_stack(tmp_path / 'stacks' / 'four', FOCI)
    assert dfd('evaluate', '--data', tmp_path / 'stacks', '--weights', weights) == 0
    assert ' last ' in capsys.readouterr().out
    write_stack(tmp_path / 'stacks' / 'six', FOCI + FOCI[:2])
    assert dfd('evaluate', '--data', tmp_path / 'stacks', '--weights', weights) == 2
    assert 'reads stacks of 4 frames, this one has 6' in capsys.readouterr().err


def test_evaluate_draws_sweeps_of_the_networks_length(weights, capsys):
    assert dfd('evaluate', '--data', 'study', '--stacks', 1, '--size', 64, '--weights', weights) == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if ' % ' in line and 'MAE' not in line]
    assert rows == ['4', '8', '12']
    assert dfd('evaluate', '--data', 'study', '--stacks', 1, '--size', 64, '--sweep', 5, '--weights', weights) == 2
    assert 'this one has 15' in capsys.readouterr().err
    assert dfd('evaluate', '--data', 'study', '--sweep', 1, '--weights', weights) == 2
    assert '--sweep 1: must be at least 2' in capsys.readouterr().err
