"""The web application: /metrics, /probe, /sd, health and the landing page."""

from __future__ import annotations

from email.utils import formatdate

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.model import Config
from exporter.exposition.process import Process
from exporter.polling.scrape import Scrapes
from exporter.web.landing import CONTENT_SECURITY_POLICY, landing
from exporter.web.pages import Page, Pages, Wishes
from exporter.web.protection import Protected, Protection
from exporter.web.sd import own_address, target_groups
from exporter.web.targets import fault_of, server_at


class Web:
    """The pages of a running exporter.

    Attributes:
        ready: What /-/ready says; not before everything is set up, and no more once the end has begun.
        app: The ASGI application.
    """

    def __init__(
        self, config: Config, scrapes: Scrapes, process: Process, protection: Protection | None = None
    ) -> None:
        self.ready = False
        self._config = config
        self._scrapes = scrapes
        self._pages = Pages(config, scrapes, process)
        routes = [
            Route("/probe", self._probe),
            Route("/sd", self._sd),
            Route("/-/healthy", self._healthy),
            Route("/-/ready", self._ready),
            Route(config.web.telemetry_path, self._metrics),
            # Last, since the metrics may have its place.
            Route("/", self._landing),
        ]
        starlette = Starlette(routes=routes)
        # A path with a slash too many is a wrong path; a redirect would lead back to whatever Host header was sent.
        starlette.router.redirect_slashes = False
        self.app: ASGIApp = _Headers(starlette if protection is None else Protected(starlette, protection))

    def end(self) -> None:
        """The end has begun: say so, and answer soon what is under way. To be called on the event loop."""
        self.ready = False
        self._pages.hurry()

    def close(self) -> None:
        """Make no further pages."""
        self._pages.close()

    async def _metrics(self, request: Request) -> Response:
        return _Pieces(await self._pages.metrics(_wishes(request)))

    async def _probe(self, request: Request) -> Response:
        targets = request.query_params.getlist("target")
        if len(targets) != 1 or not targets[0]:
            return PlainTextResponse("name one server: /probe?target=NAME; /sd lists them\n", 400)
        name = server_at(targets[0], self._config.servers)
        if name is None:
            fault = fault_of(targets[0], request.query_params.get("auth_module"), self._config.left_aside)
            if fault is not None:
                return PlainTextResponse(f"not watched: {fault}; mend it and restart the exporter\n", 503)
            return PlainTextResponse("unknown target; the config names the servers, see /sd\n", 400)
        return _Pieces(await self._pages.probe(name, _wishes(request)))

    async def _sd(self, request: Request) -> Response:
        address = own_address(request.headers.get("host"), request.scope.get("server"))
        return JSONResponse(target_groups(self._config.servers, address, tls=request.url.scheme == "https"))

    async def _landing(self, _: Request) -> Response:
        page = landing(self._scrapes.servers.values(), self._config.web.telemetry_path)
        return HTMLResponse(page, headers={"content-security-policy": CONTENT_SECURITY_POLICY})

    async def _healthy(self, _: Request) -> Response:
        return PlainTextResponse("healthy\n")

    async def _ready(self, _: Request) -> Response:
        return PlainTextResponse("ready\n") if self.ready else PlainTextResponse("not ready\n", 503)


def _wishes(request: Request) -> Wishes:
    headers = request.headers
    return Wishes(
        # A header may be repeated; that means the same as a list.
        accept=", ".join(headers.getlist("accept")),
        accept_encoding=", ".join(headers.getlist("accept-encoding")),
        timeout=headers.get("x-prometheus-scrape-timeout-seconds"),
        collect=request.query_params.getlist("collect[]"),
    )


class _Pieces(Response):
    """A page that is written piece by piece, as fast as the client reads."""

    def __init__(self, page: Page) -> None:
        super().__init__(headers=dict(page.headers))
        self._pieces = page.body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the protocol's
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Headers:
    """Adds to every answer what a browser needs to know to be safe, and the date."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["date"] = formatdate(usegmt=True)
                headers["cache-control"] = "no-store"
                headers["x-content-type-options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, send_with_headers)
