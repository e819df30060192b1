"""The options of a verb, read from its signature: for the command, for `help()` and for notebooks.

A parameter of a verb that is an option of the command too is annotated with an `Option`. A verb may take parameters as
a `TypedDict` (`**options: Unpack[…]`) and the criteria of a selection (`**criteria: Given`); both are expanded here.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from os import PathLike
from typing import Any, TypeAlias, Unpack, get_args, get_origin, get_type_hints

from bulkdl.model.options import Option, options_of
from bulkdl.model.selection import Selection

Paths: TypeAlias = str | PathLike[str]

Given: TypeAlias = str | date | int | Paths | Iterable[str] | Iterable[Paths] | None
"""The value of a criterion: one value or several. The values of one are alternatives, different criteria narrow."""


def full_signature(verb: Callable[..., Any]) -> inspect.Signature:
    """The signature of a verb with each option and each criterion as a parameter."""
    signature = inspect.signature(verb)
    shown: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            shown += _expanded(parameter, get_type_hints(verb, include_extras=True)[parameter.name])
        else:
            shown.append(parameter)
    return signature.replace(parameters=shown)


def _expanded(parameter: inspect.Parameter, hint: Any) -> Iterable[inspect.Parameter]:
    if get_origin(hint) is Unpack:
        hints = get_type_hints(get_args(hint)[0])
    elif hint == Given:
        keywords = [option.keyword for option in options_of(Selection).values()]
        hints = dict.fromkeys([*keywords, "manifest", "skip_bad_lines"], Given)
    else:
        return [parameter]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=each)
        for name, each in hints.items()
    ]


def options_of_verb(verb: Callable[..., Any]) -> Mapping[str, tuple[Option, Any]]:
    """Each option of a verb, by its parameter, with its default: `inspect.Parameter.empty` where it is required."""
    found: dict[str, tuple[Option, Any]] = {}
    defaults = inspect.signature(verb).parameters
    for name, hint in get_type_hints(verb, include_extras=True).items():
        if get_origin(hint) is Unpack:
            inner = get_type_hints(get_args(hint)[0], include_extras=True)
            found |= {key: (option, _default(each)) for key, each in inner.items() if (option := _option(each))}
        elif option := _option(hint):
            found[name] = (option, defaults[name].default)
    return found


def _option(hint: Any) -> Option | None:
    return next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Option)), None)


def _default(hint: Any) -> Any:
    """Every entry of the `TypedDict` of a verb may be left out: a flag is False then, several values (), one None."""
    kind = get_args(hint)[0]
    return False if kind is bool else () if get_origin(kind) is tuple else None
