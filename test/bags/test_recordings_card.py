"""The card of a folder of converted recordings."""

import json

import pytest

from dfd_ros.bags import recordings_card
from dfd_ros.bags.recordings_card import write_card


def report(folder, name, samples, width=0, **left_out):
    (folder / f'{name}-000000.tar').write_bytes(bytes(500_000))
    content = {
        'job': {'settings': {'width': width}},
        'summary': '',
        'images': 10 * samples,
        'frames': 4 * samples,
        'samples': samples,
        'left_out': {key.replace('_', ' '): value for key, value in left_out.items()},
        'shards': [f'{name}-000000.tar'],
        'made_by': {'dfd_ros': '1.0'},
    }
    (folder / f'{name}.json').write_text(json.dumps(content))


def test_it_adds_up_the_reports_of_all_jobs(tmp_path):
    report(tmp_path, 'a', 2, with_a_moving_lens=12)
    (tmp_path / 'other.json').write_text('[1]')
    (tmp_path / 'broken.json').write_text('{')
    (tmp_path / 'odd.json').write_text(json.dumps({**json.loads((tmp_path / 'a.json').read_text()), 'job': 'mine'}))
    write_card(tmp_path)
    report(tmp_path, 'b', 3, with_a_moving_lens=5, with_bad_exposure=13)
    write_card(tmp_path)
    card = (tmp_path / 'README.md').read_text()
    assert card.startswith('# Converted recordings: 2, 5 samples\n')
    assert '| samples | 5 of 20 frames, 1.0 MB in 2 shards |' in card
    assert '| images | 50; left out: 17 with a moving lens, 13 with bad exposure |' in card
    assert '| settings | `{"width": 0}` |' in card and '| made by | dfd_ros 1.0 |' in card
    assert '| b | 3 | 12 | 30 | 13 with bad exposure, 5 with a moving lens |' in card


def test_settings_that_differ_and_more_recordings_than_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(recordings_card, 'LISTED', 2)
    for i in range(3):
        report(tmp_path, f'bag{i}', 1, width=i)
    write_card(tmp_path)
    card = (tmp_path / 'README.md').read_text()
    assert '| settings | differ: see the reports, NAME.json |' in card
    assert '| bag1 |' in card and '| bag2 |' not in card and 'And 1 more, each with its report' in card


@pytest.mark.parametrize('theirs', ['', '# My notes\n'])
def test_a_readme_of_somebody_else_stays(tmp_path, theirs, capsys):
    (tmp_path / 'README.md').write_text(theirs)
    write_card(tmp_path)
    assert not capsys.readouterr().err
    report(tmp_path, 'a', 2)
    write_card(tmp_path)
    assert (tmp_path / 'README.md').read_text() == theirs
    assert 'README.md: is not of dfd convert' in capsys.readouterr().err
