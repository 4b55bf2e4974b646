"""The commands of README and docs: all that call dfd are understood, scripts exist, and many are run."""

import itertools
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import dfd
from focus_pictures import HEIGHT, WIDTH, save_all, sweep
from PIL import Image
from recorded_rig import calibration_file, write_bag

from dfd_ros import FocalStack, LensState, cli
from dfd_ros.ros import launch_arguments
from dfd_ros.ros.node_parameters import NODES

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [
    ROOT / 'README.md',
    ROOT / 'examples' / 'README.md',
    ROOT / 'weights' / 'README.md',
    *sorted((ROOT / 'docs').glob('*.md')),
]
SEPARATORS = {'&&', '|', ';', '&', '||', '>', '>>', '2>&1'}


def commands(document: Path) -> list[list[str]]:
    """The words of each command in the shell blocks of a document, without comments."""
    found = []
    for block in re.findall(r'^```(?:bash|sh|console)\n(.*?)^```', document.read_text(), re.S | re.M):
        begun = ''
        for line in block.replace('\\\n', ' ').splitlines():
            begun += f'{line}\n'
            try:
                split = shlex.split(begun, comments=True)
            except ValueError:  # a quotation that goes on in the next line
                continue
            begun, words = '', []
            for word in split:
                if word in SEPARATORS:
                    found.append(words)
                    words = []
                else:
                    words.append(word)
            found.append(words)
    return [words for words in found if words]


def documented(program: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) of all calls of a program, wherever it is installed."""
    return [
        (str(document.relative_to(ROOT)), words[1:])
        for document in DOCUMENTS
        for words in commands(document)
        if words[0].rpartition('/')[2] == program
    ]


def label(case):
    return f'{case[0]}: {" ".join(case[1])}'


# Without placeholders that stand for several words.
CALLS = [(document, words) for document, words in documented('dfd') if not re.search(r'\.\.\.|\$', ' '.join(words))]


def test_there_are_commands():
    assert len(CALLS) > 40 and {document for document, _ in CALLS} >= {'README.md', 'docs/focal_stacks.md'}


@pytest.mark.parametrize('call', CALLS, ids=label)
def test_commands_are_understood(call):
    document, arguments = call
    if not arguments or {'--help', '--version'} & set(arguments):
        return
    try:
        parsed = cli._parser(arguments).parse_args(arguments)
    except SystemExit as stop:
        pytest.fail(f'{document}: dfd {" ".join(arguments)}: status {stop.code}')
    assert parsed.command == arguments[0]


@pytest.mark.parametrize('call', documented('python'), ids=label)
def test_scripts_exist(call):
    document, arguments = call
    if arguments and arguments[0].endswith('.py'):
        assert (ROOT / arguments[0]).is_file(), f'{document}: python {" ".join(arguments)}'


def declared(launch_file: Path) -> set[str]:
    """The arguments that a launch file declares by name."""
    return set(re.findall(r"DeclareLaunchArgument\(\s*'(\w+)'", launch_file.read_text()))


@pytest.mark.parametrize('call', documented('ros2'), ids=label)
def test_nodes_and_their_parameters_exist(call):
    document, arguments = call
    verb, *rest = arguments
    known = {argument.name for argument in launch_arguments.ARGUMENTS} | {*launch_arguments.SWITCHES}
    if verb == 'launch' and rest[0] == 'dfd_ros':
        file = ROOT / 'launch' / rest[1]
        known |= {*launch_arguments.TOPICS, 'namespace', 'params_file', 'use_sim_time', 'respawn', 'rviz'}
        known |= declared(file) | {d.name for cls in NODES.values() for d in cls.declarations()}
        used = {word.partition(':=')[0] for word in rest[2:] if ':=' in word}
    elif verb == 'run' and rest[0] == 'dfd_ros':
        known = {declaration.name for declaration in NODES[rest[1]].declarations()}
        used = {word.partition(':=')[0] for flag, word in itertools.pairwise(rest) if flag == '-p'}
    elif verb == 'param' and rest[0] == 'set':
        known = {declaration.name for declaration in NODES[rest[1].strip('/')].declarations() if declaration.run_time}
        used = {rest[2]}
    else:
        return
    assert used <= known, f'{document}: ros2 {" ".join(arguments)}'


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """A folder with what the commands ask for."""
    folder = tmp_path_factory.mktemp('workplace')
    shutil.copytree(ROOT / 'examples' / 'push_button', folder / 'examples' / 'push_button')
    for name in ('photographs/desk', 'FOLDER'):
        save_all(folder / name, sweep(4))
    (folder / 'examples' / 'small').mkdir()
    for path in sorted((folder / 'examples' / 'push_button').glob('*.jpg'))[::2]:
        with Image.open(path) as image:
            image.reduce(5).save(folder / 'examples' / 'small' / path.name)
    pages = [Image.fromarray(image) for image in sweep(4)]
    lens_states = [LensState(focus, 0.005, 2.0, 5e-6) for focus in (3.0, 1.5, 1.0, 0.75)]
    FocalStack(sweep(4), lens_states).write(folder / 'STACK')
    for i in range(2):
        shutil.copytree(folder / 'STACK', folder / 'data' / 'sweeps' / f'000{i}')
    write_bag(folder / 'recordings' / 'kitchen')
    calibration_file(folder / 'calibration.yaml')
    film = cv2.VideoWriter(str(folder / 'pull.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 30, (WIDTH, HEIGHT))
    for image in sweep(30):
        film.write(np.ascontiguousarray(image[..., ::-1]))
    film.release()
    pages[0].save(folder / 'stack.tif', save_all=True, append_images=pages[1:])
    return folder


# In this order: later ones use what earlier ones write. A small network, small images and short trainings stand in for
# the large ones.
SMALL_NETWORK = "'network_config={{channels: [8, 8, 8, 8], hypotheses: 6, kinds: [1, 2, 1], hidden: [4, 4]}}'"
SHORT = 'steps=2 validate_every=2 precision=fp32 ' + SMALL_NETWORK
STAGES = "'stages=[{{until: 1.0, crop: 32, batch: 1, frames: 4, decode: 2}}]'"
RENDERED = "data.width=32 data.height=32 'pool={{start: 2, size: 2, workers: 1}}' validate_stacks=1 hours=0.0"
RUN = {
    'dfd': '',
    'dfd --version': '',
    'dfd estimate examples/push_button --out output/button': '--weights {weights} --resolution 160',
    'dfd stack init FOLDER': '',
    'dfd estimate FOLDER --out output/stack --confidence 0.3': '--weights {weights}',
    'dfd estimate photographs/desk --out output/desk': '--weights {weights}',
    'dfd estimate stack.tif --out output/stack': '--weights {weights}',
    'dfd stack init photographs/desk': '',
    'dfd estimate pull.mp4 --out output/pull': '--weights {weights}',
    'dfd stack init pull.mp4 --out stacks/pull': '',
    'dfd estimate STACK --network best_focus --out results': '',
    'dfd estimate STACK --network variational --out results': '',
    'dfd refocus STACK --focus 0.4 --f-number 1.4 --out results': '--weights {weights}',
    'dfd refocus STACK --focus 0.4 --pull 2 --out results': '--weights {weights}',
    'dfd export --out stream.onnx --size 640x480 --precision fp16': '--weights {weights} --size 64x64',
    'dfd export --out stream.onnx --size 640x480': '--weights {weights} --size 64x64',
    'dfd export --out stream.onnx': '--weights {weights}',
    'dfd estimate STACK --weights stream.onnx --backend onnx --out results': '',
    'dfd calibrate target --out board.pdf': '',
    'dfd calibrate target --texture --out texture.png': '',
    'dfd evaluate --data field --network variational': '--stacks 1 --size 64',
    'dfd render --out output/stacks --preset study --stacks 1': '',
    'dfd estimate output/stacks/0000 --out output/stack': '--weights {weights}',
    'dfd render --engine procedural --out output/stacks --preset field --stacks 20': '--out output/field --stacks 1',
    'dfd study --out try --budget 50 --crop 64 --batch 2 --scenes 50 --tests 4 --networks stream': (
        '--tests 1 --networks best_focus'
    ),
    'dfd convert recordings --out data/room': '',
    'dfd convert recordings --out data/kitchen --calibration calibration.yaml --workers 2': '',
    'dfd index data/kitchen': '',
    'dfd train --list': '',
    'dfd train five_minutes': f'{SHORT} {STAGES} {RENDERED}',
    'dfd train stream': f'{SHORT} {STAGES} {RENDERED} validation=presets',
    'dfd train fine_tune --data data/kitchen': f'{SHORT} {STAGES} initial_weights={{weights}}',
    'dfd train self_supervised --stacks data/sweeps': f'{SHORT} {STAGES} initial_weights={{weights}}',
    'dfd estimate data/sweeps/0001 --weights runs/self_supervised/best.safetensors --out output': '',
    'dfd evaluate --data field --weights runs/stream/best.safetensors': '--stacks 1 --size 64',
}
# What is not run here, and why, or the test that runs the like. Each is the start of a command, or of several.
NOT_RUN = {
    'test/viewing/test_view_command.py (until Ctrl-C)': ['dfd view '],
    'test/cli/test_demo.py (until Ctrl-C)': ['dfd run '],
    'test/calibration/test_calibration.py (photographs of a target, or a camera)': ['dfd calibrate '],
    'test/cli/test_submit.py (many jobs, or Slurm)': ['dfd submit '],
    'test/datasets/test_blender_dataset.py (Blender)': ['dfd render --engine blender', 'dfd assets'],
    'test/datasets/test_world_views.py (Blender)': ['dfd render --world', 'dfd render --rooms'],
    'test/evaluation/test_public_sets.py (public data)': [
        f'dfd evaluate --data {name}:' for name in ('ddff12', 'fod500', 'zedd', 'nyuv2')
    ],
    'test/evaluation/test_study.py (hours)': ['dfd study '],
    'test/evaluation/test_evaluation_stacks.py (rendered rooms)': [
        'dfd evaluate --data rooms:',
        'dfd evaluate --data data/blender/test',
    ],
    'test/datasets/test_remote_samples.py (a server)': ['dfd train fine_tune --data https:', 'dfd evaluate --data s3:'],
    "test/networks/test_network_of_your_own.py (a network of one's own)": ['dfd train tiny.yaml'],
    'test/cli/test_benchmark.py (minutes)': ['dfd benchmark speed'],
    'the same as another one but for its settings': ['dfd train stream name=try'],
}


def test_every_command_is_run_or_has_a_reason_not_to_be():
    here = {' '.join(['dfd', *arguments]) for _, arguments in CALLS}
    starts = [start for some in NOT_RUN.values() for start in some]
    neither = [command for command in here - {*RUN} if not command.startswith(tuple(starts))]
    assert not neither
    assert not [start for start in starts if not any(command.startswith(start) for command in here - {*RUN})]
    tests = [ROOT / reason.partition(' ')[0] for reason in NOT_RUN if reason.startswith('test/')]
    assert not [test for test in tests if not test.exists()]


@pytest.mark.slow(reason='several commands, one after the other')
def test_commands_run(workplace, random_weights, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    here = {' '.join(['dfd', *arguments]) for _, arguments in CALLS}
    for command, changes in RUN.items():
        assert command in here, f'{command}: not documented any more'
        line = f'{command} {changes.format(weights=random_weights)}'
        assert dfd(*shlex.split(line)[1:]) == 0, f'{line}\n{capsys.readouterr().err[-2000:]}'
    assert (workplace / 'output' / 'button' / 'overview.png').exists()
    assert (workplace / 'photographs' / 'desk' / 'stack.yaml').exists()


@pytest.mark.slow(reason='reads a stack twice')
def test_the_page_on_python_runs(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    blocks = re.findall(r'^```python\n(.*?)^```', (ROOT / 'docs' / 'python.md').read_text(), re.S | re.M)
    names: dict = {}
    exec('\n'.join(blocks).replace('examples/push_button', 'examples/small'), names)
    assert names['depth'].shape == names['stack'].images[0].shape[:2] and names['estimate'].all_in_focus is not None
    printed = capsys.readouterr().out
    assert 'the focus has not moved' in printed and 'no_such_folder' in printed
