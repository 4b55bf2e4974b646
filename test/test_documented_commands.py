"""The commands of README and docs: all that call dfd are understood, scripts exist, and many are run."""

from __future__ import annotations

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
    film = cv2.VideoWriter(str(folder / 'pull.mp4'), cv2.VideoWriter.fourcc(*'mp4v'), 30, (WIDTH, HEIGHT))
    for image in sweep(30):
        film.write(np.ascontiguousarray(image[..., ::-1]))
    film.release()
    pages[0].save(folder / 'stack.tif', save_all=True, append_images=pages[1:])
    return folder


# In this order: later ones use what earlier ones write. A small network and small images stand in for the large ones.
RUN = {
    'dfd': '',
    'dfd estimate examples/push_button --out output/button': '--weights {weights} --resolution 160',
    'dfd stack init FOLDER': '',
    'dfd estimate photographs/desk --out output/desk': '--weights {weights}',
    'dfd estimate stack.tif --out output/stack': '--weights {weights}',
    'dfd stack init photographs/desk': '',
    'dfd estimate pull.mp4 --out output/pull': '--weights {weights}',
    'dfd stack init pull.mp4 --out stacks/pull': '',
    'dfd estimate STACK --network best_focus --out results': '',
    'dfd estimate STACK --network variational --out results': '',
    'dfd refocus STACK --focus 0.4 --f-number 1.4 --out results': '--weights {weights}',
    'dfd refocus STACK --focus 0.4 --pull 2 --out results': '--weights {weights}',
    'dfd calibrate target --out board.pdf': '',
    'dfd calibrate target --texture --out texture.png': '',
    'dfd train --list': '',
    'dfd render --out output/stacks --preset study --stacks 1': '',
    'dfd estimate output/stacks/0000 --out output/stack': '--weights {weights}',
}


@pytest.mark.slow(reason='several commands, one after the other')
def test_commands_run(workplace, random_weights, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    here = {' '.join(['dfd', *arguments]) for _, arguments in CALLS}
    for command, changes in RUN.items():
        assert command in here, f'{command}: not documented any more'
        line = f'{command} {changes.format(weights=random_weights)}'
        assert dfd(*shlex.split(line)[1:]) == 0, f'{line}\n{capsys.readouterr().err}'
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
