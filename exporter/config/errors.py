"""What is wrong with a configuration, said with file, line, column and the way to put it right."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Step = str | int
"""A key of a mapping or the index of a list item."""

_SHOWABLE = re.compile(r"[A-Za-z_][\w.-]{0,62}")


def showable(key: str) -> bool:
    """Whether a key may be repeated in a message: what does not look like a name may be a misplaced secret."""
    return _SHOWABLE.fullmatch(key) is not None


def dotted(path: Sequence[Step]) -> str:
    """The path as people read it: `servers[0].tls.mode`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if showable(step) else "…")
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it is and what to do. It never holds a value that may be secret."""

    source: str
    """The file, or the environment variable."""
    message: str
    path: str = ""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(Exception):
    """The configuration cannot be used; `problems` lists everything that is wrong with it, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        sources = list(dict.fromkeys(problem.source for problem in problems))
        order = sorted(problems, key=lambda p: (sources.index(p.source), p.line or 0, p.column or 0))
        self.problems = tuple(order)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def read_failure(error: OSError | UnicodeDecodeError, path: Path | str) -> str:
    """Why a file cannot be read, as a sentence that names the file and the fix."""
    if isinstance(error, FileNotFoundError):
        return f"there is no file {path}; create it or correct the path"
    if isinstance(error, IsADirectoryError):
        return f"{path} is a directory; name a file"
    if isinstance(error, PermissionError):
        return f"{path} may not be read by this user; give it read permission"
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not UTF-8 text; save it as UTF-8"
    return f"{path} cannot be read: {error.strerror}"
