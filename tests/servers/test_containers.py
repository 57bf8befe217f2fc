"""The container provider itself, on images that stand in for the public ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from testcontainers.core.config import testcontainers_config

from tests.providers.containers import ContainerProvider
from tests.providers.engine import Engine
from tests.providers.fleet import Fleet
from tests.servers import test_providers as behaviour
from tests.servers import test_tools

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def containers(docker_engine: Engine, fleet: Fleet) -> Iterator[ContainerProvider]:
    # The reaper is an image of its own, which cannot be had where stand-ins are needed.
    before, testcontainers_config.ryuk_disabled = testcontainers_config.ryuk_disabled, True
    provider = ContainerProvider(fleet.workspace, engine=docker_engine.host, prefix="localhost/stand-in/")
    yield provider
    provider.close()
    testcontainers_config.ryuk_disabled = before


@pytest.mark.parametrize("name", ["postgres-18", "mysql-9.7", "mariadb-11.8"])
def test_containers_behave_like_local_servers(name: str, containers: ContainerProvider, docker_engine: Engine) -> None:
    docker_engine.stand_in(name)
    server = containers.create(name)
    behaviour.test_version_is_the_one_asked_for(server)
    behaviour.test_execute_returns_rows_and_takes_parameters(server)
    behaviour.test_a_paused_server_answers_nobody_until_it_resumes(server)
    behaviour.test_the_exporters_account_is_limited(server)
    behaviour.test_a_killed_server_starts_again_with_its_data(server)
    behaviour.test_settings_hold_after_a_restart(server, lambda _: server)
    behaviour.test_a_row_reaches_the_replica(server, server.replica())


@pytest.mark.parametrize("name", ["postgres-18"])
def test_a_container_with_tls_proves_who_it_is(name: str, containers: ContainerProvider, docker_engine: Engine) -> None:
    docker_engine.stand_in(name)
    assert test_tools.encrypted(containers.create(name, tls=True))
