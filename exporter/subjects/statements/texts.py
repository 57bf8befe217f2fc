"""Texts of statements: read once, cut, and kept within a bound."""

from __future__ import annotations

import math
import time
from collections.abc import Hashable, Iterable, Mapping

# Texts that are kept, beyond those of the statements that are shown.
KEPT = 1000
# What the server had no text of is asked for again after so long: PostgreSQL gives none of any statement, without an
# error, while it has no memory to load its file of texts.
AGAIN_SECONDS = 300.0


def cut(text: str, most: int) -> str:
    """At most that many bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")


class Texts:
    """What is known of the texts of statements, by what identifies a text."""

    def __init__(self) -> None:
        self._known: dict[Hashable, str | None] = {}
        # When those without a text were asked for.
        self._missed: dict[Hashable, float] = {}

    def unknown(self, ids: Iterable[Hashable]) -> list[Hashable]:
        """Which of them have to be read, each once."""
        due = time.monotonic() - AGAIN_SECONDS
        return [
            one
            for one in dict.fromkeys(ids)
            if one is not None and (one not in self._known or self._missed.get(one, math.inf) <= due)
        ]

    def keep(self, asked: Iterable[Hashable], found: Mapping[Hashable, str | None]) -> None:
        """Keep what was read; what the server has no text of is not soon asked for again."""
        for one in asked:
            self._known[one] = text = found.get(one)
            if text is None:
                self._missed[one] = time.monotonic()
            else:
                self._missed.pop(one, None)

    def of(self, ids: Iterable[Hashable]) -> dict[Hashable, str | None]:
        """The texts of those that are shown, which are forgotten last."""
        texts = {}
        for one in ids:
            if one in self._known:
                texts[one] = self._known[one] = self._known.pop(one)
        for old in list(self._known)[: max(0, len(self._known) - len(texts) - KEPT)]:
            del self._known[old]
            self._missed.pop(old, None)
        return texts
