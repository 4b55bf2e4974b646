"""What made a file, in a checkout with and without changes, and outside one."""

import subprocess

import pytest

from dfd_ros.core import provenance
from dfd_ros.core.files import first_difference
from dfd_ros.core.version import __version__


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of this package, by its looks."""

    def git(*arguments):
        author = '-c', 'user.name=a', '-c', 'user.email=a@b.c'
        return subprocess.run(
            ['git', '-C', tmp_path, *author, *arguments], check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / 'dfd_ros').mkdir()
    (tmp_path / 'package.xml').write_text('<version>1</version>')
    git('init')
    git('add', 'package.xml')
    git('commit', '-m', 'first')
    monkeypatch.setattr(provenance, 'PACKAGE', tmp_path / 'dfd_ros')
    provenance.made_by.cache_clear()
    yield tmp_path, git('rev-parse', 'HEAD').strip()
    provenance.made_by.cache_clear()


def test_the_commit_of_a_checkout(checkout):
    folder, commit = checkout
    (folder / 'untracked').write_text('')
    assert provenance.made_by()['commit'] == commit[:12]
    provenance.made_by.cache_clear()
    (folder / 'package.xml').write_text('<version>2</version>')
    assert provenance.made_by()['commit'] == f'{commit[:12]} and changes'


def test_a_package_outside_a_checkout_has_no_commit(checkout):
    folder, _ = checkout
    (folder / '.git').rename(folder / 'not.git')
    made = provenance.made_by()
    assert 'commit' not in made and made['dfd_ros'] == __version__ and {'python', 'numpy', 'torch'} <= made.keys()


def test_the_line_of_a_comment():
    text = f'a: 3\n{provenance.comment()}'
    assert provenance.of_comment(text) == provenance.described() != ''
    assert provenance.of_comment('a: 3\n# made\n') == ''


def test_the_first_difference_is_named_within_its_mapping():
    there = {'a': 1, 'settings': {'b': 2, 'c': {'d': 3}}}
    assert first_difference(there, {'a': 1, 'settings': {'b': 2, 'c': {'d': 4, 'new': 1}}}) == ('settings.c.d', 3, 4)
    assert first_difference(there, {'settings': {'b': 2}, 'new': 5}) is None
