"""The examples of the documents, as a reader would copy them."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / 'docs'


def example(document: str, section: str, language: str) -> str:
    """The first block of code in that language in a section."""
    text = (DOCS / document).read_text().split(f'\n## {section}\n')[1].split('\n## ')[0]
    return re.search(rf'^```{language}\n(.*?)^```', text, re.S | re.M).group(1)
