"""dfd submit: a command as many jobs, on a Slurm cluster or on this machine."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

HELP = 'run a conversion, rendering, study or training as many jobs, on Slurm or on this machine'
EXAMPLE = 'dfd submit --slurm --jobs 8 -- convert recordings --out data'

SHARED = ('convert', 'render', 'study')
"""Commands with --shard."""
COMMANDS = (*SHARED, 'train')
MAX_JOBS = 1000
_HOURS = {'slurm': 24.0, 'local': 365 * 24.0}
_REQUEUED = 100
"""So often may a job's time end."""
_POLLED = {'slurm': 5.0, 'local': 0.2}  # s


def add_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument('--slurm', action='store_true', help='an array job of Slurm (default where sbatch is installed)')
    where.add_argument('--local', action='store_true', help='processes of this machine (default elsewhere)')
    parser.add_argument('--jobs', metavar='N', type=int, required=True, help='number of jobs')
    parser.add_argument(
        '--at-once', metavar='N', type=int, help='jobs that may run at the same time (default: all, local: one a core)'
    )
    parser.add_argument(
        '--logs',
        metavar='DIR',
        type=Path,
        default=Path('jobs'),
        help='folder for logs and state of the jobs, which all machines see',
    )
    parser.add_argument(
        '--hours',
        metavar='H',
        type=float,
        help='time of a job, after which it is queued again and resumes (default: Slurm 24, local no end)',
    )
    parser.add_argument('--cpus', metavar='N', type=int, help='Slurm: cores of a job')
    parser.add_argument('--gpus', metavar='N', type=int, default=0, help='GPUs of a job (local: those that it sees)')
    parser.add_argument('--memory', metavar='GB', type=float, help='Slurm: memory of a job')
    parser.add_argument('--partition', metavar='NAME', help='Slurm: partition')
    parser.add_argument(
        '--option',
        metavar='NAME=VALUE',
        action='append',
        default=[],
        help='Slurm: another option of sbatch, such as account=lab; repeatable',
    )
    parser.add_argument(
        'words',
        metavar='-- COMMAND ...',
        nargs=argparse.REMAINDER,
        help=f'a command of dfd with its arguments: {", ".join(COMMANDS)}',
    )


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from dfd_ros.cli._options import require_within

    require_within(
        args,
        jobs=(1, MAX_JOBS),
        at_once=(1, MAX_JOBS),
        hours=(0.01, _HOURS['local']),
        cpus=(1, 4096),
        gpus=(0, 64),
        memory=(0.1, 2**16),
    )
    commands = _commands([word for i, word in enumerate(args.words) if i or word != '--'], args.jobs)
    cluster = _cluster(args)
    jobs = _Jobs(commands, cluster, args)
    shown = ''
    with tqdm(total=len(commands), desc='jobs', unit='job') as bar:
        try:
            while not jobs.finished:
                jobs.advance()
                if jobs.status() != shown:
                    shown = jobs.status()
                    bar.set_postfix_str(shown, refresh=False)
                    bar.update(jobs.ended - bar.n)
                    bar.refresh()
                if not jobs.finished:
                    time.sleep(_POLLED[cluster])
        except BaseException:
            bar.close()
            jobs.leave()
            raise
    failures = jobs.failures()
    for line in failures:
        print(f'dfd: error: {line}', file=sys.stderr)
    print(f'jobs     {len(commands) - len(failures)} of {len(commands)} succeeded, logs in {args.logs}/')
    return 1 if failures else 0


def _commands(words: list[str], jobs: int) -> list[list[str]]:
    """The arguments of each job's command."""
    from dfd_ros.cli import _parser
    from dfd_ros.core.errors import InputError, quoted

    if not words or words[0] not in COMMANDS:
        given = f'{quoted(words[0])}: no' if words else 'no'
        raise InputError(f'{given} command to submit: give one of {", ".join(COMMANDS)} after --')
    if any(word == '--shard' or word.startswith('--shard=') for word in words):
        raise InputError('--shard: dfd submit adds it to each job, leave it out')
    if words[0] == 'train':
        if jobs > 1:
            raise InputError(
                f'--jobs {jobs}: a training is one job; docs/clusters.md shows how several machines train together'
            )
        return [words]
    _parser(words).parse_args(words)  # what is wrong with it is said now, not by each job
    return [[*words, '--shard', f'{number}/{jobs}'] for number in range(1, jobs + 1)]


def _cluster(args: argparse.Namespace) -> str:
    from dfd_ros.core.errors import InputError

    has_slurm = shutil.which('sbatch') is not None and shutil.which('srun') is not None
    if args.slurm and not has_slurm:
        raise InputError('--slurm: there is no sbatch or srun here; run it on a machine of the cluster, or --local')
    cluster = 'slurm' if has_slurm and not args.local else 'local'
    if cluster == 'local':
        for name in ('cpus', 'memory', 'partition', 'option'):
            if getattr(args, name):
                raise InputError(f'--{name}: only with --slurm')
    return cluster


def _executor(args: argparse.Namespace, cluster: str, name: str) -> Any:
    from dfd_ros.core.errors import InputError, quoted
    from dfd_ros.core.files import output_folder

    try:
        import submitit
    except ImportError:
        raise InputError('dfd submit needs submitit, which is not installed: pip install submitit') from None
    parameters: dict[str, Any] = {
        'name': f'dfd_{name}',
        'timeout_min': max(1, round(60 * (args.hours or _HOURS[cluster]))),
        'stderr_to_stdout': True,
    }
    if args.gpus:
        parameters['gpus_per_node'] = args.gpus
    if cluster == 'slurm':
        options = {}
        for option in args.option:
            key, equals, value = option.partition('=')
            if not (key and equals):
                raise InputError(f'--option {quoted(option)}: is not NAME=VALUE, such as account=lab')
            options[key.lstrip('-').replace('-', '_')] = value
        parameters |= {
            'cpus_per_task': args.cpus or 1,
            'slurm_signal_delay_s': 120,
            'slurm_array_parallelism': args.at_once or MAX_JOBS,
            'slurm_additional_parameters': {'requeue': True, **options},
        }
        if args.memory:
            parameters['mem_gb'] = args.memory
        if args.partition:
            parameters['slurm_partition'] = args.partition
    executor = submitit.AutoExecutor(
        output_folder(args.logs), cluster=cluster, **{f'{cluster}_max_num_timeout': _REQUEUED}
    )
    executor.update_parameters(**parameters)
    return executor


class _Jobs:
    """The jobs of one `dfd submit`. `advance` starts those that may run, and looks at those that have been started.

    Attributes:
        ended: how many have ended.
    """

    def __init__(self, commands: list[list[str]], cluster: str, args: argparse.Namespace):
        from dfd_ros.cli._submitted_job import SubmittedJob
        from dfd_ros.core.machine import cores
        from dfd_ros.core.resources import PACKAGE

        self._executor = _executor(args, cluster, commands[0][0])
        # The jobs run this package, wherever it is.
        paths = [str(PACKAGE.parent), *filter(None, [os.environ.get('PYTHONPATH')])]
        os.environ['PYTHONPATH'] = os.pathsep.join(paths)
        hides_gpus = cluster == 'local' and not args.gpus
        self._waiting = [SubmittedJob(command, hides_gpus) for command in commands]
        self._is_local, self._at_once = cluster == 'local', args.at_once or cores()
        self._started: list[Any] = []
        self._results: dict[int, str] = {}
        """Why each job that has ended has failed; empty = it has not."""

    @property
    def ended(self) -> int:
        return len(self._results)

    @property
    def finished(self) -> bool:
        return not self._waiting and self.ended == len(self._started)

    def advance(self) -> None:
        if not self._is_local:
            self._started += self._executor.submit_array(self._waiting) if self._waiting else []
            self._waiting = []
        while self._waiting and len(self._started) - self.ended < self._at_once:
            self._started.append(self._executor.submit(self._waiting.pop(0)))
        for number, job in enumerate(self._started):
            if number not in self._results and job.done():
                self._results[number] = self._failure(job)

    @staticmethod
    def _failure(job: Any) -> str:
        """Why a job that has ended has failed, with the last line of its log; empty if it has not."""
        from dfd_ros.cli._submitted_job import last_line

        error = job.exception()
        status = None if error else job.result()
        if status == 0:
            return ''
        how = f'with status {status}' if status is not None else f'({job.state.lower()})'
        return f'{how}, {job.paths.stdout}: {last_line(job.paths.stdout)}'

    def status(self) -> str:
        states = [job.state for number, job in enumerate(self._started) if number not in self._results]
        running = states.count('RUNNING')
        failed = len(self.failures())
        counts = {'running': running, 'waiting': len(states) - running + len(self._waiting), 'failed': failed}
        return ', '.join(f'{number} {name}' for name, number in counts.items() if number)

    def failures(self) -> list[str]:
        """A line for each failed job."""
        count = len(self._started) + len(self._waiting)
        failed = sorted((number, why) for number, why in self._results.items() if why)
        return [f'job {number + 1}/{count} failed {why}' for number, why in failed]

    def leave(self) -> None:
        """This command is interrupted. Jobs of this machine end with it, those of Slurm go on."""
        running = [job for number, job in enumerate(self._started) if number not in self._results]
        if not self._is_local and running:
            name = running[0].job_id.partition('_')[0]
            print(f'the jobs go on; to stop them: scancel {name}; logs: {self._executor.folder}', file=sys.stderr)
            return
        for job in running:
            job.cancel(check=False)
        for job in running:
            job.wait()
