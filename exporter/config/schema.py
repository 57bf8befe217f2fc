"""The JSON schema of the config file; `python -m exporter.config.schema` writes docs/config.schema.json."""

import json
from pathlib import Path
from typing import Any, cast

from exporter.config.file import File

SCHEMA_FILE = Path("docs/config.schema.json")
_SCALARS = frozenset({"integer", "number", "boolean"})


def schema() -> dict[str, Any]:
    """The schema, made from the models; editors that know it complete and check the file as it is typed."""
    generated = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "Any single value may also be `!env NAME` (an environment variable) or `!file path`.",
        **{key: value for key, value in File.model_json_schema().items() if key not in {"title", "description"}},
    }
    # The title of the file itself is the only one that people read.
    return {**cast("dict[str, Any]", _adapted(generated)), "title": "database-exporter configuration"}


def text() -> str:
    """The schema as it is committed."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _adapted(part: Any) -> Any:
    """Let a tagged value, which editors see as a string, stand for a number; drop what only makes it longer."""
    if isinstance(part, list):
        return [_adapted(item) for item in part]
    if not isinstance(part, dict):
        return part
    adapted = {
        key: value if key == "propertyNames" else _adapted(value)
        for key, value in part.items()
        if not (key == "title" and isinstance(value, str))
        and not (key == "default" and (value is None or isinstance(value, dict)))
    }
    kind = adapted.get("type")
    if isinstance(kind, str) and kind in _SCALARS:
        adapted["type"] = [kind, "string"]
    if "enum" in adapted:
        # The name of a variable is not one of the words, but looks like nothing else either.
        words = {key: adapted.pop(key) for key in ("enum", "type")}
        adapted["anyOf"] = [words, {"type": "string", "pattern": "^[A-Z][A-Z0-9_]*$"}]
    return adapted


if __name__ == "__main__":
    SCHEMA_FILE.parent.mkdir(exist_ok=True)
    SCHEMA_FILE.write_text(text(), encoding="utf-8")
