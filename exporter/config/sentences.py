"""Validation errors as plain sentences that say what to write instead."""

import difflib
import types
import typing
from collections.abc import Iterable

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from exporter.config.errors import showable

_FIXED = {
    "missing": "is missing or empty",
    "bool": "must be true or false",
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text; put it in quotes",
    "tuple": "must be a list, each item on a line that starts with '- '",
    "mapping": "must be a mapping: lines of 'key: value', indented below it",
    "dict": "must be a mapping: lines of 'key: value', indented below it",
    "model": "must be a mapping: lines of 'key: value', indented below it",
    "finite": "must be a finite number",
}
_BOUNDS = (
    ("max_length", "must be at most {} characters"),
    ("gt", "must be greater than {}"),
    ("ge", "must be at least {}"),
    ("lt", "must be less than {}"),
    ("le", "must be at most {}"),
)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word closest to a misspelt one, or nothing."""
    close = difflib.get_close_matches(word.lower(), sorted(known), 1, 0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def unknown(what: str, word: str, known: Iterable[str]) -> str:
    """The sentence about a word that is not one of the known ones, which it lists unless one is close."""
    names = sorted(known)
    hint = did_you_mean(word, names) if showable(word) else ""
    return f"unknown {what}" + (hint or f"; known are {', '.join(names)}")


def sentence(error: ErrorDetails, value: object, root: type[BaseModel]) -> str:
    """One validation error in plain words. `value` is what stood there; it is compared, never repeated."""
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown("key", str(error["loc"][-1]), _keys_at(root, error["loc"][:-1]))
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "").replace(" or ", ", ").split(", ")
        hint = did_you_mean(value, expected) if isinstance(value, str) else ""
        return f"must be one of {', '.join(expected)}{hint}"
    bounds = (text.format(f"{context[bound]:g}") for bound, text in _BOUNDS if bound in context)
    said = str(context["error"]) if kind == "value_error" else next(bounds, None)
    return said or _FIXED.get(kind) or _FIXED.get(kind.split("_")[0], "is not a value that can stand here")


def _keys_at(root: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    model = root
    for step in path:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: object) -> type[BaseModel] | None:
    """The model inside `tuple[X, ...]`, `Mapping[str, X]` or `X | None`."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    found = (_model_in(inner) for inner in typing.get_args(annotation))
    return next((model for model in found if model), None)
