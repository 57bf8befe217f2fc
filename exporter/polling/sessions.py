"""A server's sessions, who answers there, and what is known of it."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from exporter.config.model import ServerConfig
from exporter.engines.base import Engine, Session
from exporter.engines.deadline import Deadline
from exporter.facts import Facts, Identity
from exporter.failure import Failure, Reason
from exporter.polling.backoff import Backoff
from exporter.polling.opening import Opener
from exporter.polling.second import Second
from exporter.polling.tasks import Cost

log = logging.getLogger(__name__)

# A privilege granted or an extension created is noticed within this time.
FACTS_SECONDS = 300.0
# A backend's caches only grow, so a session is not kept for ever.
SESSION_SECONDS = (1800.0, 3600.0)
# What can't be learnt anew just now is tried again after this long.
_RELEARN_SECONDS = 30.0
# How long background work trusts the scrapes to find out that a server is back.
SCRAPED_SECONDS = 60.0
# How long a renewal of the main session waits for the second one's place, and how long an old one that stays is kept.
_RENEWAL_SECONDS = 0.5
_KEPT_SECONDS = 60.0
# A session that is older than anything.
_AT_ONCE = 0.0
_AUTH_BACKOFF_SECONDS = 60.0
_CONNECT_BACKOFF_SECONDS = 5.0


class TooSoon(Failure):
    """The server failed a moment ago and is left alone for now."""

    @staticmethod
    def after(failure: Failure) -> TooSoon:
        """The same words in an exception of its own: one that is raised again and again keeps every traceback."""
        return TooSoon(failure.reason, failure.message, fix=failure.fix, broken=True)


class Side(NamedTuple):
    """The second or third session, what is known of the server behind it, and of which generation that is."""

    session: Session
    facts: Facts
    generation: int


class Sessions:
    """The main session, which scrapes keep; the second one, which background work borrows for a while; and a third.

    Attributes:
        facts: What is known of the server; None before the first contact and after another one answered.
        up: Whether the last connect and ping worked; None before the first.
        failure: Why not.
        generation: Grows whenever another server answers, or this one was restarted or changed its role.
        identity_changes: Times that another server answered.
        changed: Set when somebody should ask soon what is missing.
    """

    def __init__(self, config: ServerConfig, engine: Engine, forget: Callable[[], None]) -> None:
        """`forget` drops what others know of the server that no longer answers."""
        self.config = config
        self.opener = Opener(config, engine)
        self.facts: Facts | None = None
        self.up: bool | None = None
        self.failure: Failure | None = None
        self.generation = 0
        self.identity_changes = 0
        self.changed = threading.Event()
        self._forget = forget
        self._main: Session | None = None
        self._main_until = 0.0
        # Whether nobody has compared who answers over it with whom we knew.
        self._main_is_new = True
        self._learned = 0.0
        self._answered = False
        self._asked = float("-inf")
        self._backoff = Backoff(0.5, _CONNECT_BACKOFF_SECONDS)
        self._second = Second(self.opener)

    @property
    def connections(self) -> int:
        """Sessions that are open now."""
        return self.opener.connections

    @property
    def cost(self) -> Cost:
        """What connecting, pinging and learning have cost."""
        return self.opener.cost

    @property
    def has_main(self) -> bool:
        """Whether the main session is open."""
        return self._main is not None

    @property
    def tls(self) -> str | None:
        """Protocol and cipher of the main session, None if it is not encrypted or not open."""
        return self._main.tls if self._main is not None else None

    def main(self, deadline: Deadline) -> tuple[Session, Facts]:
        """The main session, after a ping that tells who answers.

        Raises:
            Failure: Nobody does, and the server counts as down from here on; or it answers and is up, but would not
                tell what has to be known of it.
        """
        self._asked = time.monotonic()
        self._answered = False
        try:
            return self._reach(deadline)
        except TooSoon:
            # Nothing was tried, so nothing failed: the wait goes on and does not start over.
            raise
        except Failure as failure:
            self.close_main()
            if not self._answered:
                self.down(failure)
            raise

    def cut(self, failure: Failure) -> None:
        """End the main session after a failure; what it may still run on the server is ended there too."""
        session = self._main
        self.close_main()
        if session is not None and failure.reason is Reason.TIMEOUT:
            self.end(session)

    def doubt(self) -> None:
        """Have the facts learnt anew at the next scrape: something they tell of isn't there any more."""
        self._learned = float("-inf")

    def end(self, session: Session) -> None:
        """End on the server what a session that was cut off may still be running there.

        That takes the place of the second session: right now, or before whoever has it lets somebody else have it.
        """
        self._second.end(session)

    @property
    def ending(self) -> bool:
        """Whether a session that was cut off has yet to be ended on the server, where it counts until then."""
        return self._second.ending

    def end_with(self, make_room: Callable[[], None]) -> None:
        """Let the third session make room for what ends one that was cut off."""
        self._second.make_room = make_room

    def close_main(self) -> None:
        """Close the main session."""
        if self._main is not None:
            self.opener.disconnect(self._main)
            self._main = None

    def close(self) -> None:
        """Close all sessions but one that background work has just now, which is closed when that is over."""
        self.close_main()
        self._second.close()

    def down(self, failure: Failure) -> None:
        """Note that the server is down."""
        if self.up is not False or self.failure is None or self.failure.reason != failure.reason:
            state = "full" if failure.reason is Reason.TOO_MANY_CONNECTIONS else "down"
            log.warning("%s is %s: %s: %s", self.config.name, state, failure.reason, failure.message)
        self.up = False
        self.failure = failure
        self._second.drop()
        self._backoff.failed(_AUTH_BACKOFF_SECONDS if failure.reason is Reason.AUTH else None)

    @contextmanager
    def side(self, deadline: Deadline, *, keep: bool = False) -> Iterator[Side]:
        """The second session, on the server that the scrapes know; nobody else has one meanwhile.

        Args:
            deadline: For having it.
            keep: Whether it stays open for a while, since somebody will want it soon.

        Raises:
            Failure: It can't be had.
        """
        with self._second.borrowed(deadline):
            generation = self.generation
            self._wait_for_scrapes()
            session, facts = self._known_side(deadline) or self._connect_side(deadline)
            try:
                yield Side(session, facts, generation)
            finally:
                self._second.leave(session, keep=keep)

    @contextmanager
    def side_in(self, database: str, deadline: Deadline) -> Iterator[Session]:
        """The second session, in another database.

        Raises:
            Failure: It can't be had.
        """
        with self._second.place(deadline):
            session = self.opener.connect_patiently(deadline, self.facts, database)
            try:
                yield session
            finally:
                if session.closed:
                    # What it still runs would be in the way of a DROP DATABASE.
                    self._second.end(session)
                self.opener.disconnect(session)

    def third(self, deadline: Deadline) -> Side:
        """A session for samples, on the server that the scrapes know; `opener` disconnects it.

        Raises:
            Failure: It can't be had.
        """
        generation = self.generation
        self._wait_for_scrapes()
        session = self.opener.connect(deadline, self.facts)
        return Side(session, self._vetted(session, deadline), generation)

    def _reach(self, deadline: Deadline) -> tuple[Session, Facts]:
        if self._main is not None and self._main.closed:
            self.close_main()
        if self._main is not None and time.monotonic() > self._main_until:
            self._renew(deadline)
        if self._main is not None:
            try:
                identity = self.opener.identify(self._main, deadline)
            except Failure as failure:
                self.close_main()
                # A silent server stays silent to a second try; a session that was cut off deserves one.
                if failure.reason is Reason.TIMEOUT:
                    raise
            else:
                facts = self._meet(self._main, identity, deadline)
                if self._main_until == _AT_ONCE:
                    return self._reach(deadline)
                if not self._main.closed:
                    return self._main, facts
                self.close_main()
        self._wait_for_turn(deadline)
        session = self._begin(self.opener.connect(deadline, self.facts))
        return session, self._meet(session, self.opener.identify(session, deadline), deadline)

    def _begin(self, session: Session) -> Session:
        self._main = session
        self._main_until = time.monotonic() + random.uniform(*SESSION_SECONDS)  # noqa: S311 - spreads load
        self._main_is_new = True
        return session

    def _note_server_id(self, deadline: Deadline) -> None:
        """Ask an old main session what the server id is now, which over its successor would be another server's."""
        session, facts = self._main, self.facts
        if session is None or facts is None or facts.identity.server_id is None:
            return
        try:
            self._renumber(self.opener.identify(session, deadline))
        except Failure as failure:
            # It may lead to a server that has gone.
            if session.closed:
                self.cut(failure)

    def _renumber(self, identity: Identity) -> None:
        """Note a server id that was set, by what the main session tells."""
        facts = self.facts
        if facts is not None and facts.identity.server_id != identity.server_id:
            self.facts = replace(facts, identity=facts.identity.renumbered(identity))

    def _renew(self, deadline: Deadline) -> None:
        """Let a new main session take the place of one that is old; on a full server the old one stays."""
        self._note_server_id(deadline.within(_RENEWAL_SECONDS))
        if self._main is None:
            return
        try:
            # In its place, so that there never are more than three.
            with self._second.place(deadline.within(_RENEWAL_SECONDS)):
                session = self.opener.connect(deadline, self.facts)
        except Failure as failure:
            if failure.reason in (Reason.TOO_MANY_CONNECTIONS, Reason.TIMEOUT):
                self._main_until = time.monotonic() + _KEPT_SECONDS
                return
            raise
        self.close_main()
        self._begin(session)

    def _wait_for_turn(self, deadline: Deadline) -> None:
        wait = self._backoff.remaining()
        if wait <= 0:
            return
        if self.failure is not None and wait > deadline.remaining() / 2:
            raise TooSoon.after(self.failure)
        time.sleep(wait)

    def _wait_for_scrapes(self) -> None:
        asked_lately = time.monotonic() - self._asked < SCRAPED_SECONDS
        if self.failure is not None and (self._backoff.remaining() > 0 or (self.up is False and asked_lately)):
            # To knock at a dead server's door takes a thread that others need; a scrape will find it back.
            raise TooSoon.after(self.failure)

    def _known_side(self, deadline: Deadline) -> tuple[Session, Facts] | None:
        """The second session that was kept, if it still leads to the server that the scrapes know."""
        session = self._second.kept()
        if session is None:
            return None
        try:
            identity = self.opener.identify(session, deadline)
        except Failure as failure:
            self.opener.disconnect(session)
            # A silent server stays silent to a second try; a session that was cut off deserves one.
            if failure.reason is Reason.TIMEOUT:
                raise
            return None
        facts = self.facts
        if facts is not None and facts.identity.same_server(identity):
            return session, facts
        self.opener.disconnect(session)
        return None

    def _connect_side(self, deadline: Deadline) -> tuple[Session, Facts]:
        try:
            session = self._second.opened(deadline, self.facts)
        except Failure as failure:
            if self.up is None:
                self.down(failure)
            raise
        return session, self._vetted(session, deadline)

    def _vetted(self, session: Session, deadline: Deadline) -> Facts:
        """What is known of the server behind a new session, which is closed if it is not the one that is known."""
        try:
            identity = self.opener.identify(session, deadline)
            facts = self.facts
            if facts is None:
                facts = self.opener.learn(session, identity, deadline)
                if self.facts is None:
                    self.facts, self._learned = facts, time.monotonic()
            elif not facts.identity.same_server(identity):
                # The address has moved while the main session still holds on to the old server, or its id was set.
                self._main_until = _AT_ONCE
                raise Failure(Reason.CONNECT, "another server answers; the next scrape connects anew")
        except Failure:
            self.opener.disconnect(session)
            raise
        return facts

    def _meet(self, session: Session, identity: Identity, deadline: Deadline) -> Facts:
        """Compare who answers with whom we knew; learn the facts if they differ or are old."""
        was_up = self.up
        self.up, self._answered = True, True
        self.failure = None
        self._backoff.succeeded()
        if not self._main_is_new:
            self._renumber(identity)
        self._main_is_new = False
        facts = self.facts
        if facts is not None and not facts.identity.same_server(identity):
            self._another(facts.identity, identity)
            facts = None
        if facts is None or was_up is False:
            self.changed.set()
        if facts is None:
            facts = self.facts = self.opener.learn(session, identity, deadline)
            self._learned = time.monotonic()
        elif time.monotonic() - self._learned >= FACTS_SECONDS:
            facts = self._relearn(facts, session, identity, deadline)
        if was_up is not True:
            log.info("%s is up: %s %s, %s", self.config.name, facts.flavor, facts.version_text, facts.role)
        return facts

    def _relearn(self, facts: Facts, session: Session, identity: Identity, deadline: Deadline) -> Facts:
        """The facts anew, or the old ones: a server is not down because it has no time to tell them just now."""
        self._learned = time.monotonic() - FACTS_SECONDS + _RELEARN_SECONDS
        try:
            known, facts = facts, self.opener.learn(session, identity, deadline)
            self.facts, self._learned = facts, time.monotonic()
            if facts.grants != known.grants:
                # MySQL shows a session the privileges that its account has now, and lets it do what it could when it
                # began, or shows it less than there is: what was learnt over it is learnt anew, too.
                self._main_until, self._learned = _AT_ONCE, float("-inf")
        except Failure as failure:
            log.warning("%s: what is known of it could not be learnt anew: %s", self.config.name, failure.message)
        return facts

    def _another(self, old: Identity, new: Identity) -> None:
        name = self.config.name
        if old.replaced_by(new):
            self.identity_changes += 1
            log.warning("%s: another server answers, or it changed its role from %s to %s", name, old.role, new.role)
        else:
            log.info("%s was restarted", name)
        self.facts = None
        self.generation += 1
        self._forget()
