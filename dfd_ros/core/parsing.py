"""Conversion of plain values, as in YAML, to dataclasses by pydantic.

What a dataclass declares is what is checked: types, defaults, nested dataclasses, and pydantic's constraints, such as
``Annotated[int, Field(ge=1)]`` or ``PositiveFloat``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from dfd_ros.core.errors import InputError, quoted, shortened

T = TypeVar('T')

_WORDS = {
    'an object': 'a mapping',
    'a valid array': 'a list',
    'a valid integer': 'a whole number',
    'a valid number': 'a number',
    'a valid string': 'text',
    'a valid boolean': 'true or false',
    'greater than or equal to': 'at least',
    'less than or equal to': 'at most',
    'greater than': 'above',
    'less than': 'below',
    'Tuple': 'list',
    'List': 'list',
    'String': 'text',
    ' after validation': '',
}
"""Plainer ones than pydantic's."""


def parse(cls: type[T], values: Any, where: str, extra: Literal['forbid', 'ignore'] = 'forbid') -> T:
    """A `cls` from plain values. `where`: their origin, for messages. `extra`: treatment of unknown settings.

    Raises:
        InputError: a setting is unknown, missing, of the wrong type or out of bounds.
    """
    from pydantic import TypeAdapter, ValidationError  # here, as Blender's Python lacks it
    from pydantic_core import to_json

    try:
        # From JSON, a strict reading takes lists for tuples and mappings for dataclasses, but no text for a number.
        return TypeAdapter(cls).validate_json(
            to_json(values, inf_nan_mode='constants', fallback=str), strict=True, extra=extra
        )
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A name that is unknown may be the one that is missing, misspelt.
        first = next((e for e in errors if e['type'] == 'unexpected_keyword_argument'), errors[0])
    kind, place, value = first['type'], first['loc'], first['input']
    if kind == 'unexpected_keyword_argument':
        place, text = (
            place[:-1],
            f'no setting "{shortened(place[-1], 80)}"; there are {", ".join(_names(cls, place[:-1]))}',
        )
    elif kind == 'missing':
        text = 'is missing'
    elif kind == 'value_error':
        text = shortened(first['ctx']['error'], 400)
    else:
        text = first['msg']
        for pydantics, ours in _WORDS.items():
            text = text.replace(pydantics, ours)
        text = quoted(value) + (text.removeprefix('Input') if text.startswith('Input') else f': {text}')
    names = ''.join(f'[{part}]' if isinstance(part, int) else f', {shortened(part, 80)}' for part in place)
    raise InputError(f'{where}{names}: {" ".join(text.split())}')


def _names(cls: type, place: Sequence[str | int]) -> list[str]:
    """The settings that there are at a place of a `cls`."""
    for part in place:
        if isinstance(part, str):
            cls = _dataclass_in(get_type_hints(cls)[part])
    hints = get_type_hints(_dataclass_in(cls), include_extras=True)
    return [
        next(
            (
                constraint.alias
                for constraint in getattr(hint, '__metadata__', ())
                if getattr(constraint, 'alias', None)
            ),
            name,
        )
        for name, hint in hints.items()
    ]


def _dataclass_in(hint: Any) -> Any:
    """The dataclass in a type such as ``tuple[Stage, ...]`` or ``Stage | None``."""
    if is_dataclass(hint):
        return hint
    return next(filter(None, map(_dataclass_in, get_args(hint))), None)
