"""The servers of one test run: which were chosen, and each started once."""

from __future__ import annotations

from collections.abc import Sequence

from tests.providers.base import DatabaseServer, Kind, Provider, ProviderError
from tests.providers.choice import choose
from tests.providers.processes import Workspace


class Fleet:
    """Servers by name, started when first asked for and kept until `close`."""

    def __init__(self, provider: str = "auto", choice: str = "edges") -> None:
        self.workspace = Workspace()
        self.provider: Provider = choose(provider, self.workspace)
        self.names = self.select(choice)
        self._servers: dict[str, DatabaseServer] = {}
        self._replicas: dict[str, DatabaseServer] = {}
        self._failed: dict[str, str] = {}
        self._versions: dict[str, str] = {}

    def select(self, choice: str) -> list[str]:
        """The names that a choice stands for: all, edges, or names.

        Raises:
            ProviderError: The provider has no server of such a name.
        """
        available = self.provider.names()
        if choice == "all":
            return available
        if choice == "edges":
            edges: list[str] = []
            for flavor in dict.fromkeys(Kind.parse(name).flavor for name in available):
                of_flavor = [name for name in available if Kind.parse(name).flavor == flavor]
                of_flavor.sort(key=lambda name: Kind.parse(name).release)
                edges += dict.fromkeys([of_flavor[0], of_flavor[-1]])
            return edges
        names = [name.strip() for name in choice.split(",") if name.strip()]
        for name in names:
            Kind.parse(name)
            if name not in available:
                raise ProviderError(
                    f"--servers: the provider {self.provider.name!r} has no {name}; it has {', '.join(available)}"
                )
        return names

    def chosen(self, engines: Sequence[str] = (), flavors: Sequence[str] = ()) -> list[str]:
        """List the chosen servers of these engines and flavors; an empty list of either means all."""
        kinds = [Kind.parse(name) for name in self.names]
        return [
            kind.name
            for kind in kinds
            if (not engines or kind.engine in engines) and (not flavors or kind.flavor in flavors)
        ]

    def server(self, name: str) -> DatabaseServer:
        """Give the server `name`, started and answering."""
        if name in self._failed:
            raise ProviderError(self._failed[name])
        if name not in self._servers:
            try:
                self._servers[name] = self.provider.create(name)
                self._versions[name] = ".".join(map(str, self._servers[name].version))
            except ProviderError as error:
                # The next test that needs it shall not wait again.
                self._failed[name] = str(error)
                raise
        return self._servers[name]

    def newest(self, flavor: str) -> DatabaseServer:
        """Give the newest chosen server of a flavor."""
        return self.server(max(self.chosen(flavors=[flavor]), key=lambda name: Kind.parse(name).release))

    def replica(self, name: str) -> DatabaseServer:
        """Give the replica of the server `name`, made when first asked for."""
        if name not in self._replicas:
            self._replicas[name] = self.server(name).replica()
        return self._replicas[name]

    def started(self) -> list[str]:
        """List the servers that ran, with the version each one states."""
        return [f"{name} ({version})" for name, version in self._versions.items()]

    def close(self) -> None:
        """Stop them all and delete their data."""
        self._servers.clear()
        self._replicas.clear()
        self.provider.close()
        self.workspace.close()
