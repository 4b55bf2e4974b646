"""The log of a training."""

import json

import numpy as np
import pytest

from dfd_ros.drawing.visualise import write_picture
from dfd_ros.training.config import TrainingConfig
from dfd_ros.training.run_log import RunLog


def test_tensorboard_shows_configuration_figures_and_pictures(tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    log = RunLog(tmp_path, TrainingConfig(name='mine', network_config={'channels': [8]}))
    log.write('training', {'step': 20, 'loss': 0.5, 'learning_rate': 1e-3})
    picture = tmp_path / 'samples.png'
    write_picture(picture, np.zeros((4, 6, 3), np.uint8))
    log.show(picture, 30)
    log.close()
    assert json.loads((tmp_path / 'log.jsonl').read_text())['learning_rate'] == 1e-3
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    (text,) = events.Tensors('configuration/text_summary')
    assert 'name: mine' in text.tensor_proto.string_val[0].decode()
    assert events.Scalars('training/learning_rate')[0].value == pytest.approx(1e-3)
    (image,) = events.Images('validation/samples')
    assert (image.step, image.width, image.height) == (30, 6, 4)
