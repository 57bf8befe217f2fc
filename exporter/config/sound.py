"""Which parts of a config file are sound, so that they are checked although others are not."""

from exporter.config.document import Document, Location
from exporter.config.model import Common

_NOT_WHERE = {*Common.model_fields, "labels", "password_file"}
"""Keys that say nothing of where the server is."""
# Sections of parts that can be wrong one by one.
BY_KEY = {("thresholds",), ("queries",)}


class Unsound:
    """What is wrong in one section (a server, `defaults`, or the file itself), as places in it."""

    def __init__(self, document: Document, *sections: Location) -> None:
        found = [path[len(s) :] for s in sections for path in document.unsound if path[: len(s)] == s]
        self.blocks = {path[:2] if path[:1] in BY_KEY else path[:1] for path in found}
        strays = {block for block in self.blocks if not block or block[0] not in _NOT_WHERE}
        self.address = bool(strays)
        """Whether the mistakes leave open where the server is and what it is called."""
        self.place = bool(strays - {("port",), ("name",)})

    def hides(self, at: Location, *, has_url: bool) -> bool:
        """Whether a problem at this place may be the mere echo of one that is reported already."""
        if self.place and (not at or (not has_url and at[0] in {"tls", "timeouts"})):
            return True
        return bool(at) and any(block and at[: len(block)] == block[: len(at)] for block in self.blocks)

    def without(self, section: dict[str, object]) -> dict[str, object]:
        """The section without what is wrong in it."""
        rest = dict(section)
        for block in self.blocks:
            if len(block) == 1:
                rest.pop(str(block[0]), None)
            elif block and isinstance(inner := rest.get(str(block[0])), dict):
                rest[str(block[0])] = {key: value for key, value in inner.items() if key != block[1]}
        return rest
