"""The documentation as a site: it builds without a warning, its links lead somewhere, and the API is described."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import dfd_ros

pytest.importorskip('mkdocs')
pytest.importorskip('mkdocstrings_handlers.python')
griffe = pytest.importorskip('griffe')

ROOT = Path(__file__).resolve().parents[1]
# A page for users shows what its readers may rely on; the study's own script does not.
PROGRAMS = [ROOT / 'README.md', *(path for path in ROOT.glob('docs/*.md') if path.name != 'study.md')]
API = re.findall(r'^::: (\S+)$', (ROOT / 'docs' / 'api.md').read_text(), re.M)
PAGES = 22

pytestmark = pytest.mark.slow(reason='builds the whole site, 10 s')


class Html(HTMLParser):
    """What a page loads, links to, and can be linked at."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.text = path.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags[tag] += 1
        self.anchors |= {values[name] for name in ('id', 'name') if values.get(name)}
        if tag == 'a' and values.get('href'):
            self.links.append(values['href'])
        elif tag in ('script', 'img', 'source', 'iframe') and values.get('src'):
            self.loaded.append(values['src'])
        elif tag == 'link' and values.get('href') and values.get('rel') not in ('canonical', 'prev', 'next'):
            self.loaded.append(values['href'])


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    build = subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', folder],
        cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0 and 'WARNING' not in build.stderr, build.stderr
    return folder


@pytest.fixture(scope='module')
def pages(site):
    return {path.relative_to(site): Html(path) for path in sorted(site.rglob('*.html')) if path.name != '404.html'}


def test_every_page_is_there(pages):
    sources = {*ROOT.glob('docs/*.md'), *(ROOT / name for name in ('CONTRIBUTING.md', 'weights/README.md'))}
    missing = {
        str(name)
        for name in (source.relative_to(ROOT).with_suffix('.html') for source in sources)
        if name not in pages and name.with_name('index.html') not in pages
    }
    assert not missing and len(pages) >= PAGES


def test_links_lead_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (site / name.parent / unquote(parts.path)).resolve() if parts.path else site / name
            if target.is_dir():
                target /= 'index.html'
            if not target.is_file():
                broken.append(f'{name}: {link}')
            elif parts.fragment and target.suffix == '.html':
                linked = pages.get(target.relative_to(site))
                if linked and unquote(parts.fragment) not in linked.anchors:
                    broken.append(f'{name}: {link}: no such anchor')
    assert not broken


def test_pages_are_named_by_their_titles(pages):
    assert 'Glossary</a> explains' in pages[Path('docs/networks.html')].text
    assert not [
        (str(name), found) for name, page in pages.items() for found in re.findall(r'[\w/]+\.md</a>', page.text)
    ]


def test_nothing_is_loaded_from_elsewhere(site, pages):
    foreign = [(str(name), link) for name, page in pages.items() for link in page.loaded if urlsplit(link).netloc]
    assert not foreign
    for sheet in site.rglob('*.css'):
        assert not re.findall(r'(?:url\(|@import)\s*["\']?(?:https?:)?//', sheet.read_text()), sheet.name


def test_lists_are_lists(pages):
    """Unlike GitHub, Markdown in Python wants an empty line before them."""
    paragraph = re.compile(r'<p>(?:(?!</p>).)*?\n(?:[-*] |\d+\. |\|)', re.S)
    assert not [(str(name), found[0][-80:]) for name, page in pages.items() for found in paragraph.finditer(page.text)]


def test_formulas_are_set(pages):
    assert {str(name) for name, page in pages.items() if page.tags['math']} >= {
        'docs/export.html',
        'docs/glossary.html',
        'docs/what_and_when.html',
    }
    assert not [str(name) for name, page in pages.items() if 'arithmatex' in page.text]
    assert 'glossary.html#symbol-k' in pages[Path('docs/export.html')].links


def public_imports() -> set[str]:
    """The names that the documents and the examples import from this package, and those of the package itself."""
    names = {f'dfd_ros.{name}' for name in dfd_ros._PUBLIC if name != '__version__'}
    texts = [path.read_text() for path in ROOT.glob('examples/*.py')]
    for document in PROGRAMS:
        texts += re.findall(r'^```python\n(.*?)^```', document.read_text(), re.S | re.M)
    for text in texts:
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('dfd_ros'):
                names |= {f'{node.module}.{alias.name}' for alias in node.names if 'msg' not in (node.module or '')}
    return names


def test_the_api_is_described(pages):
    """All that programs import is in the reference, and all that is there has a description."""
    listed = {name.rpartition('.')[2] for name in API}
    missing = {name for name in public_imports() if name.rpartition('.')[2] not in listed}
    assert not missing
    assert not set(API) - pages[Path('docs/api.html')].anchors

    package = griffe.load('dfd_ros', search_paths=[ROOT])
    undescribed = []
    for name in API:
        found = package[name.removeprefix('dfd_ros.')]
        found = found.final_target if found.is_alias else found
        description = found.docstring.value if found.docstring else ''
        if not description:
            undescribed.append(name)
        for member in found.members.values() if found.is_class else ():
            named = re.search(rf'\b{member.name}\b', description)
            if not (member.name.startswith('_') or member.is_alias or member.docstring or named):
                undescribed.append(f'{name}.{member.name}')
    assert not undescribed
