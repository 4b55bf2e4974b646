"""The trainer node over DDS: progress, services, a kill, and weights for a running depth node."""

import json
import math
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy')

from ros_processes import wait_until
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from tiny_training import ENDLESS

from dfd_ros import networks
from dfd_ros.msg import TrainingProgress
from dfd_ros.ros import image_messages
from dfd_ros.ros.nodes.trainer import LATCHED, handed_over_besides

DATA = Path(__file__).parents[1] / 'data' / 'blender'


class Trainer:
    """The node in a namespace of its own, and what it says."""

    def __init__(self, start_node, observer, namespace, folder):
        self._start_node, self._observer, self._namespace = start_node, observer, namespace
        self.name, self.folder = f'{namespace}/trainer', folder
        (folder / 'config.yaml').write_text(ENDLESS)
        self.start()

    def start(self, **parameters):
        self._observer.silence(f'{self.name}/progress')
        parameters = {
            'data': DATA,
            'config': self.folder / 'config.yaml',
            'output': self.folder,
            'device': 'cpu',
            **parameters,
        }
        self.process = self._start_node('trainer', '-r', f'__ns:={self._namespace}', **parameters)
        self.heard = self._observer.listen(TrainingProgress, f'{self.name}/progress', LATCHED)

    def call(self, name):
        self.heard.clear()  # before the call: the node may answer with its only message in the new state at once
        response = self._observer.call(Trigger, f'{self.name}/{name}', Trigger.Request())
        assert response.success
        return response.message

    def wait_for(self, state, step=1):
        """The first message in this state, after so many steps, since the node started or was last called."""
        return wait_until(
            lambda: next((m for m in list(self.heard) if m.state == state and m.step >= step), None),
            f'{state} after step {step}:\n{self.process.output}',
        )


@pytest.fixture
def trainer(start_node, observer, request, tmp_path):
    return Trainer(start_node, observer, '/' + request.node.name, tmp_path)


def test_pause_resume_stop_and_restart(trainer, observer):
    preview = observer.listen(Image, f'{trainer.name}/preview', LATCHED)
    progress = trainer.wait_for(TrainingProgress.TRAINING, 11)
    assert progress.run == str(trainer.folder / 'tiny') and progress.steps == 1000000
    assert math.isfinite(progress.loss) and progress.seconds_left > 0
    assert progress.validated_step in (10, 20, 30, 40, 50) and progress.figures[0] == 'mae'
    assert 0 < progress.values[0] < 1
    for line in ('of 1000000: loss ', 'step 10: mae 0.', ', the best weights so far'):
        assert line in trainer.process.output

    assert 'pausing' in trainer.call('pause')
    paused = trainer.wait_for(TrainingProgress.PAUSED).step
    time.sleep(0.5)
    assert trainer.heard[-1].step == paused
    trainer.call('resume')
    trainer.wait_for(TrainingProgress.TRAINING, paused + 1)

    picture = image_messages.to_rgb(wait_until(lambda: list(preview), 'a preview')[-1], 'preview')
    assert picture.shape[1] == 1600 and picture.std() > 10  # one sample: an image and five maps, with titles
    assert str(trainer.folder) in trainer.call('stop')
    stopped = trainer.wait_for(TrainingProgress.STOPPED).step
    assert trainer.process.wait() == 0
    assert {'best.safetensors', 'checkpoint.pt', 'README.md'} <= {p.name for p in (trainer.folder / 'tiny').iterdir()}
    assert networks.load(trainer.folder / 'tiny' / 'best.safetensors').config['hypotheses'] == 6

    trainer.start(steps=stopped + 3)
    assert trainer.process.wait() == 0
    steps = [json.loads(line)['step'] for line in (trainer.folder / 'tiny' / 'log.jsonl').read_text().splitlines()]
    assert steps[-1] == stopped + 3 and steps == sorted(steps)  # nothing was done twice
    assert 'done' in trainer.process.output


def test_a_kill_costs_the_steps_since_the_last_checkpoint(trainer):
    killed_at = trainer.wait_for(TrainingProgress.TRAINING, 6).step
    trainer.process.stop(signal.SIGKILL)
    trainer.start()
    first = wait_until(lambda: list(trainer.heard), 'progress')[0].step
    assert first > killed_at - 5 - 1
    assert trainer.process.stop() == 0  # Ctrl-C is a stop, too


def test_weights_just_handed_over_are_kept(tmp_path):
    for step in (1, 2):
        (tmp_path / f'handed_over_{step:07d}.safetensors').touch()
    assert handed_over_besides(tmp_path / 'handed_over_0000002.safetensors') == [
        tmp_path / 'handed_over_0000001.safetensors'
    ]


def test_better_weights_go_to_a_running_depth_node(start_node, observer, random_weights, tmp_path):
    depth = start_node('depth', '-r', '__ns:=/handed', weights=random_weights, device='cpu')
    trainer = Trainer(start_node, observer, '/handing', tmp_path)
    assert observer.set_parameter(trainer.name, 'depth_node', '/handed/depth').successful
    wait_until(lambda: f'weights: {tmp_path}/tiny/handed_over_' in depth.output, 'the weights:\n' + depth.output)
    wait_until(lambda: '/handed/depth has the weights of step' in trainer.process.output, 'the answer')
    trainer.call('stop')
    assert trainer.process.wait() == 0
    assert len(list((tmp_path / 'tiny').glob('handed_over_*'))) <= 2  # the newest, and the one before


@pytest.mark.parametrize(
    'parameters, line',
    [
        ({'data': '/nowhere'}, 'error: /nowhere: no such folder or shard'),
        ({'data': DATA, 'config': '/nowhere.yaml'}, 'error: /nowhere.yaml: no such file'),
        ({'data': DATA, 'steps': -1}, 'error: parameter steps: out of range'),
        ({'data': DATA, 'depth_node': '/depth/'}, "error: parameter depth_node: '/depth/' is not a node name such as"),
        ({'data': DATA, 'depth_node': 'my depth'}, "error: parameter depth_node: 'my depth' is not a node name"),
    ],
)
def test_what_cannot_work_is_told_in_one_line(start_node, parameters, line):
    process = start_node('trainer', **parameters)
    assert process.wait() == 2
    assert process.output.strip().startswith(line) and process.output.count('\n') == 1
