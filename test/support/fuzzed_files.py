"""Folders of files of all kinds, damaged, for what reads them."""

import contextlib
import json
import math
import os
import re
import shutil
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import yaml
from focus_pictures import save_all, sweep
from fuzz_subject import Collection, Fault, Files
from mutations import INTEGERS, mutate_arrays, mutate_folder, mutate_number, mutate_text, number, value
from PIL import Image
from recorded_rig import FOCUS, POSE, RATE, SIZE, START, Options, calibration_file, picture, room, view_at, write_bag
from tiny_training import ENDLESS, TINY

from dfd_ros import cli, networks
from dfd_ros.bags.convert_recordings import Job, convert_one
from dfd_ros.calibration.calibration_file import Calibration, FocusMap, read_focus_table
from dfd_ros.calibration.calibration_import import CalibrationSource, read_rig
from dfd_ros.calibration.recorded_sweep import Sweep
from dfd_ros.cameras.focus_table import FocusTable
from dfd_ros.core.errors import InputError
from dfd_ros.core.focal_stack import FocalStack
from dfd_ros.core.lens_state import LensState
from dfd_ros.core.resources import resource
from dfd_ros.core.sample import Sample
from dfd_ros.datasets.public.ddff12 import Ddff12
from dfd_ros.datasets.public.fod500 import Fod500
from dfd_ros.datasets.public.zedd import Zedd
from dfd_ros.datasets.shards import Samples, write_sample
from dfd_ros.datasets.stack_batch import part_of, to_stack_batch
from dfd_ros.datasets.stored_sample import Area
from dfd_ros.drawing.films import write_video
from dfd_ros.evaluation.study import study_scenes
from dfd_ros.evaluation.study.study_rows import read_rows
from dfd_ros.evaluation.study.study_run import Settings, Study
from dfd_ros.inference.backends import OnnxBackend
from dfd_ros.inference.onnx_export import METADATA_KEY
from dfd_ros.photographs import read_focal_stack
from dfd_ros.synthesis.rgbd_sets.view_sources import open_views
from dfd_ros.synthesis.worlds.collada import repaired
from dfd_ros.synthesis.worlds.sdf import instances, read_world
from dfd_ros.synthesis.worlds.view import View, views
from dfd_ros.synthesis.worlds.view_scene import ViewScene
from dfd_ros.training.config import TrainingConfig, load_config, make_config
from dfd_ros.training.loop import train
from dfd_ros.viewing.recorded_scenes import FocalScene, StreamScene, recorded

FOREIGN_CALIBRATIONS = Path(__file__).resolve().parents[1] / 'data' / 'calibrations'


class Stacks(Files):
    def write(self, folder):
        draw = np.random.default_rng(0)
        images = [draw.integers(0, 255, (24, 32, 3), dtype=np.uint8) for _ in range(3)]
        states = [LensState(d, 0.0043, 1.8, 2e-4) for d in (math.inf, 2.0, 0.5)]
        FocalStack(images, states, draw.uniform(0.5, 2, (24, 32)).astype(np.float32)).write(folder, overwrite=True)
        content = yaml.safe_load((folder / 'stack.yaml').read_text())
        for frame, suffix in zip(content['frames'], ('.jpg', '.tif', '.png')):
            image = Image.open(folder / frame['file'])
            image.save(folder / f'odd{suffix}')
            (folder / frame['file']).unlink()
            os.rename(folder / f'odd{suffix}', folder / (frame['file'] + suffix))
            frame['file'] += suffix
        (folder / 'stack.yaml').write_text(yaml.safe_dump(content))

    def read(self, folder):
        stack = FocalStack.read(folder)
        with contextlib.suppress(InputError):
            assert 0 < stack.range.near < stack.range.far


class Calibrations(Files):
    def write(self, folder):
        focus = FocusMap((0.0, 100.0, 200.0), (math.inf, 1.0, 0.5), 0.01, 3)
        calibration_file(folder / 'calibration.yaml', focus=focus)

    def read(self, folder):
        calibration = Calibration.read(folder / 'calibration.yaml')
        calibration.camera_at(1.0, 128, 96)
        if calibration.focus is not None:
            read_focus_table(folder / 'calibration.yaml').focus_distance(50.0)


class ForeignCalibrations(Files):
    """Those of camera_calibration, Kalibr and OpenCV."""

    def write(self, folder):
        for path in FOREIGN_CALIBRATIONS.iterdir():
            shutil.copy(path, folder)

    def read(self, folder):
        for path in sorted(folder.iterdir()):
            rig = read_rig([CalibrationSource(path)])
            for camera in (rig.calibration.focus_camera, rig.calibration.rgbd_camera):
                if camera is not None and not np.isfinite(camera.matrix).all():
                    raise Fault('a matrix that is not finite')


class FocusTables(Files):
    def write(self, folder):
        entries = [{'value': value, 'focus_distance_m': distance} for value, distance in ((0, math.inf), (250, 0.1))]
        (folder / 'table.yaml').write_text(yaml.safe_dump({'focus_table': entries}))

    def read(self, folder):
        table = FocusTable.load(folder / 'table.yaml')
        if not math.isfinite(table.value(0.5)) or not table.focus_distance(table.value(0.5)) > 0:
            raise Fault('a focus table without a value')


class Commands(Files):
    """Command lines of `dfd` with odd values, and odd files for them."""

    LINES = (
        'estimate stack --weights tiny.safetensors --confidence 0.3 --sweeps 1 --out out',
        'refocus stack --focus 0.7 --f-number 4 --network variational --sweeps 1 --out out',
        'calibrate target --out target.png --square 20',
        'export --weights tiny.safetensors --format safetensors --out export.safetensors',
        'render --preset study --stacks 1 --frames 2 --height 32 --width 32 --seed 3 --out stacks',
    )

    REPEATS = ('--stacks', '--frames', '--sweeps')
    MANY = r'[5-9]\d|\d{3,7}'

    def write(self, folder):
        os.chdir(folder)
        line = 'render --preset study --stacks 1 --frames 5 --height 64 --width 64 --seed 1 --out stacks'
        self.run(line.split())
        (folder / 'stacks' / '0000').rename(folder / 'stack')
        shutil.rmtree(folder / 'stacks')
        Weights.write(self, folder)

    def prepare(self):
        super().prepare()
        os.chdir(self.folder)  # odd names are names within it

    def one(self, rng):
        os.chdir(self.folder)
        mutate_folder(self.folder / 'sound', self.given, self.outside, rng)
        if rng.random() < 0.6:  # most of the readers have a kind of their own
            shutil.rmtree(self.given)
            shutil.copytree(self.folder / 'sound', self.given)
        os.chdir(self.given)
        line = rng.choice(self.LINES).split()
        options = [i for i, word in enumerate(line) if word.startswith('--')]
        for i in rng.sample(options, rng.choice((0, 1, 1, 2))):
            line[i + 1] = str(value(rng)).replace('\0', '')
            if line[i] in self.REPEATS and re.fullmatch(self.MANY, line[i + 1]):
                raise InputError('takes too long to be tried here')
        self.run(line)

    def read(self, folder):
        os.chdir(folder)
        for line in self.LINES[:2]:
            self.run(line.split())

    @staticmethod
    def run(line):
        try:
            status = cli.main(line)
        except SystemExit as stop:
            status = stop.code
        if status == 2:
            raise InputError('refused')
        if status:
            raise Fault(f'status {status} of {" ".join(line)[:200]}')


class Sweeps(Files):
    def write(self, folder):
        images = [np.full((16, 16, 3), i, np.uint8) for i in range(3)]
        Sweep('sweep', np.arange(3.0), images, 0.5).write(folder)

    def read(self, folder):
        Sweep.read(folder)


class Shards(Files):
    def write(self, folder):
        draw = np.random.default_rng(0)
        images = draw.integers(0, 255, (3, 24, 32, 3), dtype=np.uint8)
        states = [LensState(d, 0.0043, 1.8, 2e-4) for d in (math.inf, 2.0, 0.5)]
        depth = draw.uniform(0.5, 2, (3, 24, 32)).astype(np.float32)
        for name in ('a', 'b'):
            write_sample(folder / f'{name}.tar', name, Sample(images, states, depth, background=depth > 1))

    def read(self, folder):
        samples = Samples(folder)
        for i in range(len(samples)):
            with samples.opened(i) as stored:
                height, width = stored.size
                part_of(stored, [1, 0, 1], Area(height // 3, width // 3, height // 2, width // 2))
            to_stack_batch(samples[i])


class Weights(Files):
    def write(self, folder):
        networks.save(folder / 'tiny.safetensors', networks.create('stream', **TINY))

    def read(self, folder):
        network = networks.load(folder / 'tiny.safetensors')
        if not all(parameter.isfinite().all() for parameter in network.parameters()):
            raise Fault('weights that are not finite were loaded')


class Checkpoints(Files):
    def _training(self):
        network = networks.create('stream', **TINY)
        average = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
        return network, average, torch.optim.AdamW(network.parameters(), 1e-3)

    def write(self, folder):
        from dfd_ros.training.checkpoint import Position, save

        network, average, optimiser = self._training()
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        average.update_parameters(network)
        save(folder / 'checkpoint.pt', network, average, optimiser, Position(1), {'seed': '0'})

    def read(self, folder):
        from dfd_ros.training.checkpoint import resume

        network, average, optimiser = self._training()
        resume(folder / 'checkpoint.pt', network, average, optimiser, {'seed': '0'}, torch.device('cpu'))
        for parameter in network.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimiser.step()


class Trainings(Files):
    def write(self, folder):
        (folder / 'run.yaml').write_text(yaml.safe_dump(_plain(asdict(TrainingConfig())), sort_keys=False))

    def read(self, folder):
        config = load_config(folder / 'run.yaml')
        if config.network == 'stream':
            networks.create(config.network, **config.network_config)


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _plain(part) for name, part in tree.items()}
    return [_plain(part) for part in tree] if isinstance(tree, list | tuple) else tree


class Rows(Files):
    def write(self, folder):
        shutil.copy(resource('config/study.yaml'), folder / 'rows.yaml')

    def read(self, folder):
        read_rows(folder / 'rows.yaml')


class OneStepTrainings(Files):
    """Configurations of `dfd train`, each of which trains for a step on samples."""

    MAX_PIXELS = 10**6  # pixels of a step: more takes longer than is tried here

    def write(self, folder):
        Shards.write(self, folder)
        config = {**yaml.safe_load(ENDLESS), 'network_config': TINY, 'shards': 'samples', 'validate_stacks': 1}
        config |= {'stages': [{'crop': 16, 'batch': 1, 'frames': 2, 'decode': 2}], 'held_out': 0.5}
        config = _plain(asdict(make_config(config, 'tiny')))
        (folder / 'run.yaml').write_text(yaml.safe_dump(config, sort_keys=False))

    def one(self, rng):
        """Mostly what may well reach a step: numbers that are plausible, or sound settings and odd samples."""
        mutate_folder(self.folder / 'sound', self.given, self.outside, rng)
        if (draw := rng.random()) < 0.8:
            config = yaml.safe_load((self.folder / 'sound' / 'run.yaml').read_text())
            if draw < 0.5:
                shutil.rmtree(self.given)
                shutil.copytree(self.folder / 'sound', self.given)
                config = mutate_number(config, rng)
            (self.given / 'run.yaml').unlink(missing_ok=True)
            (self.given / 'run.yaml').write_text(yaml.safe_dump(config, sort_keys=False))
        self.read(self.given)

    def read(self, folder):
        config = load_config(folder / 'run.yaml', steps=1, validate_stacks=1, validations=0, hours=0.0, readers=0)
        if config.shards == 'samples':
            config = replace(config, shards=str(folder))
        if any(stage.batch * stage.frames * stage.crop**2 > self.MAX_PIXELS for stage in config.stages):
            raise InputError('too large to be tried here')
        shutil.rmtree(out := self.folder / 'run', ignore_errors=True)
        train(config, out, 'cpu')


class OnnxFiles(Files):
    """Files as `dfd export` writes them, of a network of one layer: a real export takes half a minute."""

    def write(self, folder):
        from onnx import TensorProto, helper, save

        def tensor(name, *shape):
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        maps, state = ('vergence', 'log_scale', 'coc'), (1, 4, 'r', 'c')
        inputs = [tensor('image', 1, 3, 'h', 'w'), *(tensor(n, 1) for n in ('focus', 'blur_scale'))]
        graph = helper.make_graph(
            [
                *(helper.make_node('Conv', ['image', 'weights'], [name], pads=[1, 1, 1, 1]) for name in maps),
                helper.make_node('Identity', ['state0'], ['next_state0']),
            ],
            'tiny',
            [*inputs, tensor('state0', *state)],
            [*(tensor(name, 1, 1, 'h', 'w') for name in maps), tensor('next_state0', *state)],
            [helper.make_tensor('weights', TensorProto.FLOAT, (1, 3, 3, 3), np.full(27, 0.1))],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 20)], ir_version=10)
        helper.set_model_props(model, {METADATA_KEY: json.dumps({'network': 'stream', 'state': [[4, 16]]})})
        save(model, folder / 'tiny.onnx')

    def one(self, rng):
        if (draw := rng.random()) < 0.3:
            return super().one(rng)
        from onnx import load, save

        model = load(self.folder / 'sound' / 'tiny.onnx')
        if draw < 0.6:
            model.metadata_props[0].value = mutate_text(model.metadata_props[0].value, rng)
        else:
            self._mutate(model.graph, rng)
        shutil.rmtree(self.given, ignore_errors=True)
        self.given.mkdir()
        save(model, self.given / 'tiny.onnx')
        self.read(self.given)

    @staticmethod
    def _mutate(graph: Any, rng: Random) -> None:
        """A graph that ONNX can store, with another operation, order, name, size or weight."""
        node, weights = rng.choice(graph.node), graph.initializer[0]
        end = rng.choice([*graph.input, *graph.output])
        kind = rng.randrange(6)
        if kind == 0:
            node.op_type = rng.choice(('Identity', 'Relu', 'Loop', 'Range', 'Expand', 'Shape', 'nothing'))
        elif kind == 1:
            graph.node.remove(node)
        elif kind == 2 and node.attribute:
            node.attribute[0].ints[:] = [rng.choice(INTEGERS[:7]) for _ in range(rng.randrange(6))]
        elif kind == 3:
            array = np.frombuffer(weights.raw_data or np.array(weights.float_data, np.float32).tobytes(), np.float32)
            odd = np.where(np.arange(len(array)) == rng.randrange(27), np.float32(number(rng)), array)
            weights.ClearField('float_data')
            weights.raw_data = odd.astype(np.float32).tobytes()
        elif kind == 4:
            weights.dims[rng.randrange(4)] = rng.choice(INTEGERS[:7])
        else:
            dimension = rng.choice(end.type.tensor_type.shape.dim)
            dimension.dim_value = rng.choice(INTEGERS[:8])
        end.name = rng.choice((end.name,) * 9 + ('odd',))

    def read(self, folder):
        OnnxBackend(folder / 'tiny.onnx', torch.device('cpu'))


class Phones(Files):
    """A phone's recordings, with images and as a video, for `dfd convert` with a sound bag."""

    FRAMES = 8

    def write(self, folder):
        import cv2

        for name, has_video in (('images', False), ('video', True)):
            (folder / name).mkdir()
            lines = ['SENSOR_TIMESTAMP,LENS_FOCUS_DISTANCE,SENSOR_EXPOSURE_TIME,LENS_APERTURE,LENS_STATE,file']
            film = cv2.VideoWriter(str(folder / name / 'video.avi'), cv2.VideoWriter_fourcc(*'MJPG'), RATE, SIZE[::-1])
            for i in range(self.FRAMES):
                focus = FOCUS[i % len(FOCUS)]
                image = picture(room(view_at(focus), POSE)[1])
                film.write(image[..., ::-1].copy())
                if not has_video:
                    Image.fromarray(image).save(folder / name / f'{i}.png')
                file = '' if has_video else f'{i}.png'
                lines.append(f'{round((START + i / RATE) * 1e9)},{1 / focus},4000000,1.8,0,{file}')
            film.release()
            if not has_video:
                (folder / name / 'video.avi').unlink()
            (folder / name / 'frames.csv').write_text('\n'.join(lines))

    def prepare(self):
        if not (self.folder / 'bag').exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bag(self.folder / 'bag', Options(tf=False))
            calibration_file(self.folder / 'rig.yaml')
        super().prepare()

    def one(self, rng):
        mutate_folder(rng.choice(sorted((self.folder / 'sound').iterdir())), self.given / 'phone', self.outside, rng)
        self.read(self.given)

    def read(self, folder):
        calibrations = (CalibrationSource(self.folder / 'rig.yaml'),)
        for phone in sorted(folder.iterdir()):
            convert(self.folder / 'bag', Job(self.folder / 'out', calibrations=calibrations, phone=phone))


class Studies(Files):
    """The folder of a study that has been trained, measured and stopped before its tables were made."""

    ROWS = {
        'training': {'warmup': 1, 'validations': 1, 'validate_stacks': 1, 'precision': 'fp32', 'decode': 2},
        'rows': [{'name': 'tiny', 'network': 'stream', 'config': TINY}],
    }

    def write(self, folder):
        (folder / 'rows.yaml').write_text(yaml.safe_dump(self.ROWS, sort_keys=False))
        self.run(folder)

    def read(self, folder):
        self.run(folder)

    def run(self, folder):
        settings = Settings('1', crop=32, batch=1, scenes=1, tests=1, frames=2)
        with patch.object(study_scenes, 'OBJECTS', (1, 2)):
            study = Study(folder / 'study', settings, *read_rows(folder / 'rows.yaml'), device='cpu')
            study.render(0)
            for row in study.rows:
                study.train(row)
            study.results([], None)
            study.curves()


class Worlds(Files):
    """A world of Gazebo with its models. Blender, which reads the meshes, is not started."""

    VISUAL = (
        '<visual name="v{n}"><pose>0 0 {n} 0 0 0.5</pose><geometry>{geometry}</geometry><material><script>'
        '<uri>file://materials/scripts</uri><name>Wood</name></script><diffuse>1 0.5 0 1</diffuse></material></visual>'
    )
    GEOMETRIES = (
        '<mesh><uri>model://chair/meshes/chair.dae</uri><scale>1 2 1</scale></mesh>',
        '<box><size>1 2 3</size></box>',
        '<cylinder><radius>0.5</radius><length>2</length></cylinder>',
    )
    MESH = (
        '<COLLADA><library_images><image id="a"><init_from>wood.png</init_from></image></library_images>'
        '<library_effects><effect id="e"><profile_COMMON><texture texture="a"/></profile_COMMON></effect>'
        '</library_effects></COLLADA>'
    )

    def write(self, folder):
        visuals = [self.VISUAL.format(n=n, geometry=geometry) for n, geometry in enumerate(self.GEOMETRIES)]
        chair = folder / 'models' / 'chair'
        (chair / 'meshes').mkdir(parents=True)
        (chair / 'materials' / 'scripts').mkdir(parents=True)
        (chair / 'meshes' / 'chair.dae').write_text(self.MESH)
        (chair / 'meshes' / 'wood.png').write_bytes(b'')
        (chair / 'materials' / 'scripts' / 'wood.material').write_text('material Wood { texture wood.png }')
        (chair / 'model.config').write_text('<model><sdf version="1.6">model.sdf</sdf></model>')
        model = f'<model name="chair"><link name="link"><pose>1 0 0 0 0 0</pose>{"".join(visuals)}</link></model>'
        (chair / 'model.sdf').write_text(f'<sdf version="1.6">{model}</sdf>')
        include = '<include><uri>model://chair</uri><pose>1 2 0 0 0 1</pose></include>'
        (folder / 'room.world').write_text(f'<sdf version="1.6"><world name="w">{2 * include}{model}</world></sdf>')

    def read(self, folder):
        world = read_world(folder / 'room.world', [folder / 'models'])
        for mesh, visuals in instances(world):
            if not all(np.isfinite(visual.pose).all() for visual in visuals):
                raise Fault('a pose that is not finite')
            if mesh is not None and mesh.suffix == '.dae':
                repaired(mesh)


class Views(Files):
    """Rendered views, photographed."""

    def write(self, folder):
        draw = np.random.default_rng(0)
        depth = draw.uniform(1, 3, (64, 64)).astype(np.float32)
        hidden = np.where(depth < 2, 3, np.nan).astype(np.float32)
        colour = draw.uniform(0, 1, (64, 64, 3)).astype(np.float32)
        View(colour, depth, 60.0, colour, hidden, {'seed': 1}).write(folder / 'a.npz')

    def one(self, rng):
        if rng.random() < 0.2:  # mostly noticed by the checksums of the archive
            return super().one(rng)
        shutil.rmtree(self.given, ignore_errors=True)
        self.given.mkdir()
        with warnings.catch_warnings(), np.errstate(all='ignore'):
            warnings.simplefilter('ignore')
            arrays = mutate_arrays(dict(np.load(self.folder / 'sound' / 'a.npz')), rng)
        np.savez(self.given / 'a.npz', **arrays)
        self.read(self.given)

    def read(self, folder):
        from dfd_ros.synthesis.draws import Random

        views(folder)
        scene = ViewScene.random(Random(0), 32, 32, str(folder), near=0.4, margin=4)
        zeros = torch.zeros(1, 2)
        poses = scene.poses(torch.zeros(1), zeros, zeros, torch.ones(1))
        image, _, _ = scene.photograph(poses, torch.tensor([3.0]), torch.tensor([0.5]), torch.tensor([8.0]))
        if not image.isfinite().all():
            raise Fault('a photograph that is not finite')


class PublicSets(Collection):
    """Public test sets and RGB-D images, in their own layouts."""

    def write(self, folder):
        import public_files

        for name in ('rgbd', 'tartanair', 'hypersim', 'fod500', 'zedd'):
            getattr(public_files, name)(folder / name)
        public_files.ddff12(folder / 'ddff12' / 'trainval.h5')

    def read(self, folder):
        for path in sorted(folder.iterdir()):
            if path.name in ('rgbd', 'tartanair', 'hypersim'):
                views = open_views(f'{path.name}:{path}')
                for index in range(len(views)):
                    views.read(index)
            else:
                opened = {'fod500': Fod500, 'zedd': Zedd}.get(path.name, Ddff12)
                stacks = opened(path / 'trainval.h5' if opened is Ddff12 else path)
                for index in range(len(stacks)):
                    stacks[index]


class Photographs(Collection):
    """A folder of photographs, a video of a focus pull and a TIFF file with pages."""

    def write(self, folder):
        images = sweep(4)
        save_all(folder / 'photographs', images)
        first, *others = [Image.fromarray(image) for image in images]
        (folder / 'pages').mkdir()
        first.save(folder / 'pages' / 'pull.tif', save_all=True, append_images=others)
        (folder / 'video').mkdir()
        pull = sweep(10)
        write_video(folder / 'video' / 'pull.mp4', iter(pull), pull[0].shape[1::-1], 5.0)

    def read(self, folder):
        names = {'pages': 'pull.tif', 'video': 'pull.mp4'}
        for path in sorted(folder.iterdir()):
            read_focal_stack(path / names.get(path.name, ''))


class Viewed(Collection):
    """What `dfd view` and `dfd inspect` open: results of `dfd estimate`, a focal stack, a shard and a bag."""

    def write(self, folder):
        draw = np.random.default_rng(0)
        (folder / 'stack').mkdir()
        Stacks.write(self, folder / 'stack')
        (folder / 'shard').mkdir()
        Shards.write(self, folder / 'shard')
        write_bag(folder / 'bag', Options(compressed=True))
        results = folder / 'results'
        results.mkdir()
        for name, shape in (('depth', (24, 32)), ('confidence', (24, 32)), ('coc', (3, 24, 32))):
            np.save(results / f'{name}.npy', draw.uniform(0.5, 1, shape).astype(np.float32))
        Image.fromarray(draw.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(results / 'all_in_focus.png')
        lens = {'focal_length_mm': 4.3, 'f_number': 1.8, 'pixel_pitch_um': 200.0}
        summary = {'range_m': {'near': 0.5, 'far': 'inf'}, 'lens': lens}
        (results / 'summary.json').write_text(json.dumps(summary))

    def read(self, folder):
        for path in sorted(folder.iterdir()):
            with contextlib.suppress(InputError):
                Commands.run(['inspect', str(path)])
            recording = recorded(path)
            for index in range(len(recording.scenes)):
                scene = recording.open(index)
                shots = scene.shots() if isinstance(scene, StreamScene) else []
                for shot in scene.shots if isinstance(scene, FocalScene) else shots:
                    if not math.isfinite(shot.camera.fx):
                        raise Fault('a camera that is not finite')


class Bags(Files):
    """Bags of all storages, and conversion into a folder that exists already."""

    STORAGES = (('mcap', ''), ('mcap', 'storage'), ('sqlite3', ''), ('mcap', 'file'), ('sqlite3', 'message'))

    def write(self, folder):
        for index, (storage, compression) in enumerate(self.STORAGES):
            write_bag(
                folder / f'bag{index}', Options(compressed=index % 2 == 0), storage=storage, compression=compression
            )

    def one(self, rng):
        mutate_folder(rng.choice(sorted((self.folder / 'sound').iterdir())), self.given / 'bag', self.outside, rng)
        self.read(self.given)

    def read(self, folder):
        for bag in sorted(folder.iterdir()):
            convert(bag, Job(self.folder / 'out'))


class Conversions(Files):
    """A folder with the results of `dfd convert`, of a conversion that was interrupted, and files of others."""

    def prepare(self):
        if not (self.folder / 'bag').exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bag(self.folder / 'bag', Options())
        super().prepare()

    def write(self, folder):
        convert_one(self.folder / 'bag', Job(folder), lambda images, more: None)
        partial = folder / '.bag.partial'
        (partial / 'shards').mkdir(parents=True)
        (partial / 'job.json').write_text(json.dumps(json.loads((folder / 'bag.json').read_text())['job']))
        shutil.copy(folder / 'bag-000000.tar', partial / 'shards')
        shutil.copy(folder / 'bag.json', partial / 'report.json')
        (folder / 'bag.json').unlink()
        for name in ('mine.txt', 'other-000000.tar', '.bag.partial/mine.txt'):
            (folder / name).write_text('mine')

    def one(self, rng):
        mutate_folder(self.folder / 'sound', self.given, self.outside, rng)
        for name in ('report.json', 'job.json', 'mine.txt'):
            if rng.random() < 0.5:
                (self.given / '.bag.partial' / name).unlink(missing_ok=True)
        before = {path: path.lstat() for path in self.given.rglob('mine.txt')}
        try:
            self.read(self.given)
        finally:
            if any(not os.path.lexists(path) or path.lstat() != state for path, state in before.items()):
                raise Fault('a file of others is gone or changed')

    def read(self, folder):
        (folder / '.bag.partial' / 'mine.txt').unlink(missing_ok=True)
        result = convert_one(self.folder / 'bag', Job(folder), lambda images, more: None)
        if result.error:
            raise InputError(result.error)
        if not (folder / 'bag.json').is_file():
            raise Fault('a conversion without a report')


def convert(recording: Path, job: Any) -> None:
    """Convert into an empty folder. Raises `InputError` of the recording, and `Fault`."""
    shutil.rmtree(job.out, ignore_errors=True)
    job.out.mkdir()
    result = convert_one(recording, job, lambda images, more: None)
    if result.error:
        raise InputError(result.error)
    if any(not sample.images.any(axis=(1, 2, 3)).all() for sample in Samples(job.out)):
        raise Fault('a black image was converted')
