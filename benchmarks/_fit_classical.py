"""The constants of the uncertainty of the classical networks, fitted to procedural stacks of the training family.

    python benchmarks/_fit_classical.py --network best_focus --stacks 24

Maximum likelihood of the Laplace distribution of the error of u, over all pixels after every frame. Prints `error` for
`dfd_ros/networks/baselines/classical.py`, and by bins of the contrast the mean error beside what the fit says.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from _common import check, exit_with
from tqdm import tqdm

from dfd_ros import networks
from dfd_ros.core.errors import InputError
from dfd_ros.networks.baselines.classical import ClassicalNetwork, log_error
from dfd_ros.synthesis.procedural import StackSettings, render_stack

FIRST_SEED = 500_000_000  # neither training's nor validation's nor the test sets'
PIXELS = 400  # of each frame


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--network', default='variational')
    parser.add_argument('--stacks', type=int, default=24)
    parser.add_argument('--size', type=int, default=192)
    options = parser.parse_args(arguments)
    check(options, stacks=1, size=32)
    torch.manual_seed(0)
    network = networks.create(options.network)
    if not isinstance(network, ClassicalNetwork):
        raise InputError(f'--network {options.network}: give one of those of dfd_ros/networks/baselines/classical.py')
    contrast, gap, error = samples(network, options.stacks, options.size)
    constants = fit(contrast, gap, error)
    b = log_error(constants, contrast, gap).exp()
    print('error = (' + ', '.join(f'{c:.3f}' for c in constants.tolist()) + ')')
    print('contrast    share   mean error   mean b')
    for low, high in zip((0, 0.25, 0.5, 1, 2, 4, 8), (0.25, 0.5, 1, 2, 4, 8, 99)):
        here = (contrast >= low) & (contrast < high)
        share, mean_error, mean_b = (x.mean() for x in (here.float(), error[here], b[here]))
        print(f'{low:5g} to {high:<3g}  {share:5.2f}   {mean_error:10.3f}   {mean_b:6.3f}')
    print(f'all, mean error {error.mean():.4f}, mean b {b.mean():.4f}')


@torch.inference_mode()
def samples(network: ClassicalNetwork, stacks: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Contrast, gap and absolute error of u, at random pixels."""
    kept: dict[str, torch.Tensor] = {}
    collected = []
    update = network.update

    def listening(*arguments):
        u, contrast, gap, own = update(*arguments)
        kept.update(contrast=contrast, gap=gap)
        return u, contrast, gap, own

    network.update = listening  # type: ignore[method-assign]
    for seed in tqdm(range(stacks)):
        settings = StackSettings(height=size, width=size, frames=10, ramp=(3, 10))
        batch = render_stack(FIRST_SEED + seed, settings)
        state: list[torch.Tensor] = []
        for t in range(settings.frames):
            prediction, *state = network(batch.images[:, t].float() / 255, batch.focus[:, t], batch.blur_scale, *state)
            error = F.avg_pool2d((prediction.vergence - batch.vergence[:, t]).abs(), 2)
            maps = torch.stack([kept['contrast'], kept['gap'], error]).flatten(1)
            collected.append(maps[:, torch.randint(maps.shape[1], (PIXELS,))])
    all_contrast, all_gaps, all_errors = torch.cat(collected, 1)
    return all_contrast, all_gaps, all_errors


def fit(contrast: torch.Tensor, gap: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    contrast, gap, error = contrast.clone(), gap.clone(), error.clone()
    log_constants = torch.tensor([0.01, 0.3, 0.3, 1.0]).log().requires_grad_()
    optimiser = torch.optim.LBFGS([log_constants], max_iter=200, line_search_fn='strong_wolfe')

    def loss():
        optimiser.zero_grad()
        log_b = log_error(log_constants.exp(), contrast, gap)
        # The last term keeps a constant that the data do not tell from running away.
        value = (error * torch.exp(-log_b) + log_b).mean() + 1e-4 * log_constants.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    return log_constants.detach().exp()


if __name__ == '__main__':
    exit_with(main)
