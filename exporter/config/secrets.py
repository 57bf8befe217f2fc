"""Passwords: kept out of every print, log, dump and pickle, and read anew each time they are needed."""

import hmac
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn, SupportsIndex

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from exporter.config.errors import read_failure

MASK = "***"
_LARGEST_FILE = 65_536

Kind = Literal["text", "env", "file"]


class SecretError(Exception):
    """A secret cannot be read: its variable is not set, or its file is gone; says which and what to do."""


class Secret:
    """A value that prints as `***` everywhere; only `reveal()` gives it out.

    A secret from an environment variable or a file is read again on every `reveal()`, so a rotated password is
    picked up at the next connect. Two secrets are equal if they come from the same place (or hold the same text).
    """

    __slots__ = ("_derive", "_env", "_kind", "_place")

    def __init__(
        self,
        kind: Kind,
        place: str,
        env: Mapping[str, str] | None = None,
        derive: Callable[[str], str] | None = None,
    ) -> None:
        self._kind = kind
        self._place = place
        self._env = env
        self._derive = derive

    @classmethod
    def text(cls, value: str) -> "Secret":
        """A secret written down where it is used."""
        return cls("text", value)

    @classmethod
    def from_env(cls, name: str, env: Mapping[str, str] | None = None) -> "Secret":
        """The value of an environment variable."""
        return cls("env", name, env)

    @classmethod
    def from_file(cls, path: Path | str) -> "Secret":
        """The content of a file (UTF-8), without the line ends at its end."""
        return cls("file", str(path))

    @property
    def is_text(self) -> bool:
        """Whether the value itself stands in the config, rather than a variable or file that holds it."""
        return self._kind == "text"

    def derived(self, derive: Callable[[str], str]) -> "Secret":
        """A secret computed from this one (the password inside a URL); follows it when it is rotated."""
        if self._kind == "text":
            return Secret.text(derive(self.reveal()))
        return Secret(self._kind, self._place, self._env, derive)

    def reveal(self) -> str:
        """The value itself. Raises SecretError if the variable or the file is not there."""
        value = self._read()
        return self._derive(value) if self._derive else value

    def _read(self) -> str:
        if self._kind == "text":
            return self._place
        if self._kind == "env":
            value = (os.environ if self._env is None else self._env).get(self._place)
            if value is None:
                raise SecretError(f"the environment variable {self._place} is not set; set it for this process")
            return value
        return read_secret_file(self._place)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        same_place = hmac.compare_digest(self._place.encode(), other._place.encode())
        same_part = (self._derive is None) == (other._derive is None)
        return self._kind == other._kind and same_place and same_part

    def __hash__(self) -> int:
        return hash((Secret, self._kind))

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: object) -> "Secret":
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret cannot be pickled")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.union_schema(
            [
                core_schema.is_instance_schema(cls),
                core_schema.no_info_after_validator_function(cls.text, core_schema.str_schema(strict=True)),
            ],
            mode="left_to_right",
            custom_error_type="string_type",
            serialization=core_schema.plain_serializer_function_ser_schema(lambda _: MASK, when_used="json"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        # `password: 1234` is a password too: it is taken as it is written.
        return {"type": ["string", "number", "boolean"]}


def read_secret_file(path: Path | str) -> str:
    """The content of a file that holds one value, without the line ends at its end. Raises SecretError."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            value = file.read(_LARGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = read_failure(error, path)
    else:
        if len(value) <= _LARGEST_FILE:
            return value.rstrip("\r\n")
        reason = f"{path} holds more than {_LARGEST_FILE} characters; a file for one value was expected"
    # Raised here, not inside `except`: a decoding error carries the bytes it could not read.
    raise SecretError(reason)
