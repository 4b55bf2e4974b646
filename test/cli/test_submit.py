"""dfd submit: jobs that share a command, their status line, and what fails."""

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dfd_ros.cli import main
from dfd_ros.cli._submitted_job import SubmittedJob, last_line

RENDER = ['render', '--height', '32', '--width', '32', '--frames', '2', '--preset', 'study', '--device', 'cpu']


def submit(logs, *arguments) -> int:
    return main(['submit', '--logs', str(logs), '--jobs', *map(str, arguments)])


def test_without_submitit_one_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'submitit', None)
    assert submit(tmp_path / 'jobs', 2, '--local', '--', *RENDER, '--out', tmp_path / 'set') == 2
    assert capsys.readouterr().err == (
        'dfd: error: dfd submit needs submitit, which is not installed: pip install submitit\n'
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'arguments, says',
    [
        ((2,), 'no command to submit: give one of convert, render, study, train after --'),
        ((2, '--', 'demo'), "'demo': no command to submit"),
        ((0, '--', *RENDER, '--out', 'x'), '--jobs 0: must be at least 1'),
        ((2, '--', *RENDER, '--out', 'x', '--shard', '1/2'), '--shard: dfd submit adds it to each job, leave it out'),
        ((2, '--', 'train', 'stream'), '--jobs 2: a training is one job; docs/clusters.md shows'),
        ((2, '--slurm', '--', *RENDER, '--out', 'x'), '--slurm: there is no sbatch or srun here'),
        ((2, '--local', '--partition', 'gpu', '--', *RENDER, '--out', 'x'), '--partition: only with --slurm'),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.setenv('PATH', str(tmp_path))
    assert submit(tmp_path / 'jobs', *arguments) == 2
    error = capsys.readouterr().err
    assert says in error and error.startswith('dfd: error: ') and error.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_with_the_command_is_said_before_it_is_submitted(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        submit(tmp_path / 'jobs', 2, '--', 'render', '--height', 'x')
    assert caught.value.code == 2
    assert '--height: invalid int value' in capsys.readouterr().err


def test_the_last_line_of_a_log_is_that_of_the_command(tmp_path):
    log = tmp_path / 'log'
    log.write_text('\rrender: 1/2\rrender: 2/2\ndfd: error: no\n\nsubmitit INFO (2026) - Job completed successfully\n')
    assert last_line(log) == 'dfd: error: no'
    log.write_text('submitit INFO\n')
    assert (last_line(log), last_line(tmp_path / 'other')) == ('nothing', 'no log')


@pytest.mark.slow(reason='a process starts')
def test_a_job_is_its_command(monkeypatch, tmp_path, capfd):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '1')
    job = SubmittedJob(['render', '--out', str(tmp_path / 'x'), '--stacks', '0'], hides_gpus=True)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    job = pickle.loads(pickle.dumps(job))
    assert job._shown == {'CUDA_VISIBLE_DEVICES': '1'}
    assert job() == 2 and '--stacks 0: must be at least 1' in capfd.readouterr().err


SBATCH = """#!/bin/sh
cp "$1" "$(dirname "$0")/submitted.sh"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
(for i in $(seq 0 $last); do
  SLURM_JOB_ID=1$i SLURM_ARRAY_JOB_ID=12 SLURM_ARRAY_TASK_ID=$i SLURM_PROCID=0 SLURM_NTASKS=1 sh "$1"
done) > /dev/null 2>&1 &
echo Submitted batch job 12
"""
SRUN = """#!/bin/sh
shift
log=$(echo "$2" | sed "s/%A_%a/12_$SLURM_ARRAY_TASK_ID/;s/%t/0/")
shift 2
exec "$@" > "$log" 2>&1
"""
SACCT = """#!/bin/sh
echo 'JobID|State|NodeList'
echo '12_0|RUNNING|node'
"""


@pytest.mark.slow(reason='jobs start processes that render')
def test_slurm_is_given_one_array_job(tmp_path, monkeypatch, capsys):
    """By stand-ins for Slurm's commands, which run the tasks of an array one after the other."""
    pytest.importorskip('submitit')
    for name, text in (('sbatch', SBATCH), ('srun', SRUN), ('sacct', SACCT)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:{os.environ["PATH"]}')
    options = ['--hours', '2', '--cpus', '4', '--memory', '8', '--partition', 'cpu', '--option', 'mail-user=a@b']
    command = [*RENDER, '--stacks', '3', '--out', tmp_path / 'set']
    assert submit(tmp_path / 'jobs', 2, *options, '--at-once', 1, '--', *command) == 0
    assert 'jobs     2 of 2 succeeded' in capsys.readouterr().out
    assert '| jobs | 1/2: 2 stacks' in (tmp_path / 'set' / 'README.md').read_text()
    submitted = (tmp_path / 'submitted.sh').read_text()
    for line in ('array=0-1%1', 'time=120', 'cpus-per-task=4', 'mem=8GB', 'partition=cpu', 'mail-user=a@b', 'requeue'):
        assert f'#SBATCH --{line}\n' in submitted, line
    assert '#SBATCH --signal=USR2@120\n' in submitted


@pytest.mark.slow(reason='jobs start processes that render')
class TestOnThisMachine:
    @pytest.fixture(autouse=True)
    def needs_submitit(self):
        pytest.importorskip('submitit')

    def test_all_jobs_together_do_the_work(self, tmp_path, capsys):
        out, alone = tmp_path / 'set', tmp_path / 'alone'
        command = [*RENDER, '--stacks', '3', '--format', 'shards']
        assert submit(tmp_path / 'jobs', 2, '--local', '--', *command, '--out', out) == 0
        said = capsys.readouterr()
        assert f'jobs     2 of 2 succeeded, logs in {tmp_path}/jobs/' in said.out and '2/2' in said.err
        assert main([*command, '--out', str(alone)]) == 0
        name = 'procedural-00000000.tar'
        assert (out / name).read_bytes() == (alone / name).read_bytes()
        assert '| jobs | 1/2: 2 stacks' in (out / 'README.md').read_text()

    def test_what_failed_is_named_with_the_last_line_of_its_log(self, tmp_path, capsys):
        (tmp_path / 'set').mkdir()
        (tmp_path / 'set' / 'mine.txt').touch()
        assert submit(tmp_path / 'jobs', 2, '--local', '--', *RENDER, '--out', tmp_path / 'set') == 1
        said = capsys.readouterr()
        lines = [line for line in said.err.splitlines() if line.startswith('dfd: error: ')]
        assert len(lines) == 2 and lines[0].startswith(f'dfd: error: job 1/2 failed with status 2, {tmp_path}/jobs/')
        assert lines[0].endswith('is not a data set of this command; choose a new folder or remove it')
        assert 'jobs     0 of 2 succeeded' in said.out

    def test_a_job_that_is_pre_empted_resumes_and_one_that_is_killed_is_named(self, tmp_path, capsys):
        out, sent = tmp_path / 'set', []

        def disturb() -> None:
            began = time.monotonic()
            while len(list(out.glob('0*'))) < 2 and time.monotonic() - began < 100:
                time.sleep(0.05)
            for number, task in zip(
                (signal.SIGUSR2, signal.SIGKILL), descendants(os.getpid(), 'submitit.core._submit')
            ):
                os.kill(task, number)
                sent.append(number)

        thread = threading.Thread(target=disturb)
        thread.start()
        status = submit(tmp_path / 'jobs', 2, '--at-once', 2, '--local', '--', *RENDER, '--stacks', '24', '--out', out)
        thread.join()
        said = capsys.readouterr()
        assert status == 1 and len(sent) == 2
        (killed,) = re.findall(r'dfd: error: job (\d)/2 failed \(finished\), ', said.err)
        rendered = {int(folder.name) for folder in out.glob('0*')}
        own = {number for number in range(24) if number % 2 != int(killed) - 1}  # of the other job
        assert own <= rendered and len(rendered) < 24
        logs = [log.read_text() for log in (tmp_path / 'jobs').glob('*.out')]
        assert sum('Requeued job' in log and 'dfd: terminated' in log for log in logs) == 1
        assert not descendants(os.getpid(), 'dfd_ros.cli')

    def test_ctrl_c_ends_the_jobs(self, tmp_path):
        out = tmp_path / 'set'
        command = ['submit', '--logs', tmp_path / 'jobs', '--jobs', '2', '--at-once', '2', '--local', '--']
        process = subprocess.Popen(
            [sys.executable, '-m', 'dfd_ros.cli', *map(str, command), *RENDER, '--stacks', '400', '--out', str(out)],
            stderr=subprocess.PIPE,
            text=True,
        )
        began = time.monotonic()
        while not list(out.glob('0*')) and time.monotonic() - began < 100:
            time.sleep(0.05)
        renderers = descendants(process.pid, 'render --height')
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130 and 'dfd: interrupted' in process.stderr.read()
        began = time.monotonic()
        while any(Path(f'/proc/{pid}').exists() for pid in renderers) and time.monotonic() - began < 30:
            time.sleep(0.1)
        assert renderers and not any(Path(f'/proc/{pid}').exists() for pid in renderers)


def descendants(parent: int, word: str) -> list[int]:
    """Processes below this one whose command line has this word."""
    found = []
    for child in Path(f'/proc/{parent}/task/{parent}/children').read_text().split():
        line = Path(f'/proc/{child}/cmdline').read_bytes().replace(b'\0', b' ').decode()
        found += [int(child)] * (word in line) + descendants(int(child), word)
    return found
