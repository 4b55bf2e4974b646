"""Nodes of torchrun train one network, as docs/clusters.md says, here both on this machine."""

import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from processes import torchrun
from safetensors.torch import load_file
from tiny_training import BLENDER, TINY

SETTINGS = {
    'network_config': TINY,
    'steps': 3,
    'precision': 'fp32',
    'stages': [{'crop': 32, 'batch': 1, 'frames': 4, 'decode': 2}],
    'held_out': 0.3,
    'validation': 'samples',
    'validate_stacks': 1,
    'shards': str(BLENDER),
    'readers': 0,
}


def start(folder: Path, name: str, nodes: int, processes: int) -> list[subprocess.Popen]:
    config = folder / f'{name}.yaml'
    config.write_text(yaml.safe_dump({'name': name, **SETTINGS}))
    command = ['-m', 'dfd_ros.cli', 'train', config, '--device', 'cpu', '--out', folder]
    return torchrun(nodes, processes, *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow(reason='four processes that load torch')
def test_two_nodes_train_as_two_processes_of_one_do(tmp_path):
    running = [*start(tmp_path, 'nodes', 2, 1), *start(tmp_path, 'processes', 1, 2)]
    try:
        said = [process.communicate(timeout=250)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0, 0], said
    nodes, processes = (load_file(tmp_path / name / 'last.safetensors') for name in ('nodes', 'processes'))
    assert nodes.keys() == processes.keys()
    for name in nodes:
        torch.testing.assert_close(nodes[name], processes[name], rtol=0, atol=0)
    first, second, _ = said
    assert 'best weights' in first and 'best weights' not in second
