"""Hooks of MkDocs (mkdocs.yml): the pages of the repository where they lie, links by title, formulas as MathML.

Every page is read on GitHub and on the site, with the same relative links. GitHub sets formulas itself.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

import latex2mathml.converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PAGES = 'README.md', 'CONTRIBUTING.md', 'docs/*.md', 'examples/*.md', 'weights/*.md'
LINK = re.compile(r'\]\(([^)#\s]+)')
NAMED_BY_FILE = re.compile(r'\[[\w/]+\.md\](\(([^)#\s]+\.md)[^)\s]*\))')
SYMBOL = re.compile(r'<a id="symbol-(\w+)"></a>')
# Without the space around an operator.
BAR = '<mo>&#x0007C;</mo>', '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Adds the pages, and the files of the repository that they show or link to, under their paths there."""
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    linked = {(page.parent / link).resolve() for page in pages for link in LINK.findall(page.read_text())}
    for path in sorted(pages | {path for path in linked if path.is_file() and path.is_relative_to(ROOT)}):
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Names other pages by their titles, not by their files."""
    assert page.file.abs_src_path is not None
    folder = Path(page.file.abs_src_path).parent

    def titled(match: re.Match[str]) -> str:
        title = (folder / match[2]).read_text().partition('\n')[0].removeprefix('# ')
        return f'[{title}]{match[1]}'

    return NAMED_BY_FILE.sub(titled, markdown)


def on_page_content(content: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Sets the formulas. A formula of one symbol links to the glossary."""
    glossary = files.get_file_from_path('docs/glossary.md')
    assert glossary is not None
    symbols = SYMBOL.findall(glossary.content_string)

    def mathml(match: re.Match[str]) -> str:
        source = html.unescape(match[2]).strip()
        display = 'block' if match[1] == 'div' else 'inline'
        formula = latex2mathml.converter.convert(source, display=display).replace(*BAR)
        if source in symbols and page.file is not glossary:
            return f'<a class="symbol" href="{glossary.url_relative_to(page.file)}#symbol-{source}">{formula}</a>'
        return formula

    return FORMULA.sub(mathml, content)
