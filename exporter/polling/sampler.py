"""The sampler of one server: one cheap query each second, on a session that it keeps, and less where that is dear."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque

from exporter.config.model import ServerConfig
from exporter.declare import Samples
from exporter.engines.deadline import Deadline
from exporter.facts import Facts
from exporter.failure import Failure, Reason
from exporter.polling.backoff import Backoff
from exporter.polling.runs import Reading, fetch
from exporter.polling.sessions import SESSION_SECONDS, Sessions, Side, TooSoon
from exporter.polling.snapshot import Snapshot
from exporter.polling.tasks import SOFT, Task

log = logging.getLogger(__name__)

SECONDS = 1.0
# A sample stands for no more than 5 s, so one that is due more seldom would leave time unobserved.
LONGEST_SECONDS = 4.5
# What it may take of one of the server's processors.
CORE_SHARE = 0.005
# What a sample costs is taken from how long the last 60 took. Where processors are busy most of them wait for one, and
# waiting is no work; so the quickest tenth tells, unless an eighth of the median is more: then it is work. See
# docs/decisions/0019-what-a-sample-may-cost.md.
_WINDOW = 60
_QUICK = 10
_MEDIAN_SHARE = 1 / 8
# So many are enough to tell.
_ENOUGH = 5
SUSPENDED_SECONDS = 600.0
# Every sample is over before the next is due, unless it has to log in first.
_SAMPLE_SECONDS = 0.9
_BACKOFF = (1.0, 30.0)
# A wait is looked at so often, since it ends when another server answers.
_LOOK_SECONDS = 2.0
# Sooner or later by this part, so that what comes every second, too, is not always or never in a sample.
_JITTER = 0.1


class Sampler:
    """Samples of one server, taken by one thread at a time and shown by any.

    Attributes:
        task: The collector that is sampled.
        interval: Seconds from one sample to the next; None while it is suspended.
    """

    def __init__(self, task: Task, samples: Samples, config: ServerConfig, sessions: Sessions) -> None:
        self.task = task
        self._samples = samples
        self._config = config
        self._sessions = sessions
        self._every = min(task.settings.every or SECONDS, LONGEST_SECONDS)
        self.interval: float | None = self._every
        self._side: Side | None = None
        self._until = 0.0
        self._generation = -1
        self._backoff = Backoff(*_BACKOFF)
        self._failure: Failure | None = None
        self._spent = 0.0
        self._took: deque[float] = deque(maxlen=_WINDOW)
        self._suspended_until = 0.0
        self._told = False
        self._over = False
        # Of the session, which one thread may use at a time, and of the sums, which are read while they grow. A sample
        # that was cut off makes room for what ends it.
        self._sampling = threading.RLock()
        self._adding = threading.Lock()

    def sample(self) -> float:
        """Take a sample if one is due; never raises.

        Returns:
            Seconds until the next.
        """
        with self._sampling:
            try:
                wait = self._sample()
            except TooSoon as failure:
                # The server is down, which scrapes find out; it has not failed anew.
                self._failure, wait = failure, self._every
            except Failure as failure:
                wait = self._failed(failure)
            except Exception as error:
                # A bug would be taken for a server on which all is well.
                log.exception("sampling %s on %s", self.task.name, self._config.name)
                wait = self._failed(Failure(Reason.ERROR, f"{type(error).__name__} in the sampler; see the log"))
            if self._over:
                self._part()
        return wait * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - guards nothing

    def reading(self, facts: Facts) -> Reading | Snapshot:
        """What a scrape shows: the sums so far, and what is in the way of more."""
        miss = self.task.miss(facts)
        if miss is not None:
            return self.task.unsupported(miss)
        now = time.monotonic()
        with self._adding:
            last, rows = self._samples.last, self._samples.rows(now)
        if self.interval is None:
            return Reading(rows, None, now if last is None else last, self._spent, suspended=self._why_not())
        failure = self._failure
        if failure is not None and (last is None or failure.reason in SOFT):
            return self.task.fail(failure, now)
        if last is None:
            return Reading(rows, None, now, 0.0)
        # One sample that failed is made up for by the next, unless that comes so late that time is unobserved.
        problem = failure if failure is not None and now - last > LONGEST_SECONDS else None
        return Reading(rows, problem, last, self._spent)

    def make_room(self) -> None:
        """Close the session, as soon as a sample that is being taken is over; the next sample opens another."""
        if self._sampling.acquire(timeout=1):
            try:
                self._part()
            finally:
                self._sampling.release()

    def close(self) -> None:
        """Take no more samples, and close the session unless one is being taken, which closes it then."""
        self._over = True
        if self._sampling.acquire(blocking=False):
            try:
                self._part()
            finally:
                self._sampling.release()

    def _sample(self) -> float:
        facts = self._sessions.facts
        if self._over or facts is None:
            return self._every
        if self.task.miss(facts) is not None:
            self._part()
            return LONGEST_SECONDS
        if self._generation != self._sessions.generation:
            # To another server a sample may be nothing.
            self._generation = self._sessions.generation
            self._backoff.succeeded()
            self._took.clear()
            self._suspended_until, self.interval = 0.0, self._every
        if self._sessions.ending:
            # An account has three connections, and what was cut off has one until it is ended, which takes another.
            self._part()
            return self._every
        if self._sessions.up is False:
            # Where the server is full scrapes come first: they may have this one's place.
            self._part()
        wait = max(self._backoff.remaining(), self._suspended_until - time.monotonic())
        if wait > 0:
            return min(wait, _LOOK_SECONDS)
        if self.interval is None:
            self.interval = self._every
        side = self._reach()
        query = self.task.collector.query(side.facts)
        if query is None:
            return LONGEST_SECONDS
        asked = time.monotonic()
        deadline = Deadline.after(min(self.task.timeout, _SAMPLE_SECONDS))
        try:
            rows = fetch(self.task, query, side.session, side.facts, deadline)
        except Failure as failure:
            if failure.reason is Reason.TIMEOUT:
                spent = time.monotonic() - asked
                if failure.broken:
                    # What was cut off goes on there: MySQL looks for its client only when it has something to send.
                    self._part()
                    self._sessions.end(side.session)
                # It has cost the server at least that, and would each time.
                self._account_for(spent)
            raise
        if side.generation != self._sessions.generation:
            raise Failure(Reason.CONNECT, "another server answered meanwhile")
        self._spent = time.monotonic() - asked
        with self._adding:
            took = self._samples.take(rows, asked)
        self._failure = None
        self._backoff.succeeded()
        self._account_for(took if took is not None else self._spent)
        return self.interval if self.interval is not None else _LOOK_SECONDS

    def _reach(self) -> Side:
        side = self._side
        if side is not None:
            old = time.monotonic() > self._until or side.generation != self._sessions.generation
            if not old and not side.session.closed:
                return side
            self._part()
        self._side = self._sessions.third(Deadline.after(self._config.timeouts.connect))
        self._until = time.monotonic() + random.uniform(*SESSION_SECONDS)  # noqa: S311 - spreads load
        return self._side

    def _part(self) -> None:
        if self._side is not None:
            self._sessions.opener.disconnect(self._side.session)
            self._side = None

    def _failed(self, failure: Failure) -> float:
        # A session of MySQL goes on with the privileges that it began with, whatever is granted meanwhile.
        if failure.broken or failure.reason in SOFT or (self._side is not None and self._side.session.closed):
            self._part()
        self._failure = failure
        self._backoff.failed()
        return max(self._every, min(self._backoff.remaining(), _LOOK_SECONDS))

    def _account_for(self, took: float) -> None:
        """Ask so seldom that it is worth its cost, or not at all for a while."""
        self._took.append(took)
        if len(self._took) < _ENOUGH:
            return
        in_order = sorted(self._took)
        cost = max(in_order[len(in_order) // _QUICK], in_order[len(in_order) // 2] * _MEDIAN_SHARE)
        interval = max(self._every, cost / CORE_SHARE)
        if interval <= LONGEST_SECONDS:
            self.interval = interval
            if self._told and len(self._took) == _WINDOW:
                self._told = False
                log.info("%s: active sessions are sampled again, every %.1f s", self._config.name, interval)
            return
        self.interval = None
        self._suspended_until = time.monotonic() + SUSPENDED_SECONDS
        self._took.clear()
        self._part()
        if not self._told:
            self._told = True
            log.warning(
                "%s: sampling of active sessions is suspended, since a sample takes the server %.0f ms; it is tried "
                "again every %.0f minutes",
                self._config.name,
                cost * 1000,
                SUSPENDED_SECONDS / 60,
            )

    def _why_not(self) -> str:
        return f"a sample takes too much of the server: more than {CORE_SHARE:.1%} of a processor"
