"""The shape of alerts/settings.yml: durations, windows and minimums of the alert rules."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

SETTINGS = Path(__file__).parents[1] / "settings.yml"
MIN_SCRAPES = 4

Severity = Literal["info", "warning", "critical"]

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(duration: str) -> int:
    """The length in seconds of a Prometheus duration with one unit, such as 30s or 1d."""
    match = re.fullmatch(r"([1-9][0-9]*)([smhdw])", duration)
    if match is None:
        raise ValueError(f"{duration!r} is not a duration: write a number and one of s, m, h, d, w, such as 5m")
    return int(match[1]) * _SECONDS[match[2]]


def _duration(text: str) -> str:
    seconds(text)
    return text


Duration = Annotated[str, AfterValidator(_duration)]


class SettingsError(ValueError):
    """The file does not fit; the message has one line for each fault, with the place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Windows(_Strict):
    """How far the rules look back."""

    slow_statements: Duration
    growth: Duration
    growth_baseline: Duration


class Minimums(_Strict):
    """Below these an exceeded threshold is no alert."""

    slow_statements: PositiveInt
    growth_bytes: PositiveInt
    connection_limit: PositiveInt


class Timing(_Strict):
    """How long a condition must hold, and how long the alert outlives it."""

    for_: Duration = Field(alias="for")
    keep_firing_for: Duration | None = None


class Settings(_Strict):
    """The whole file; unknown keys are errors."""

    scrape_interval: Duration
    exporter_jobs: str = Field(min_length=1)
    runbook_base: str
    dashboard_base: str
    windows: Windows
    minimums: Minimums
    alerts: dict[str, dict[Severity, Timing]]

    @model_validator(mode="after")
    def _windows_hold_scrapes(self) -> Self:
        # rate() and increase() need two samples within the window, also when a scrape or two went missing.
        least = MIN_SCRAPES * seconds(self.scrape_interval)
        for name, window in self.windows.model_dump().items():
            if seconds(window) < least:
                raise ValueError(
                    f"windows.{name}: {window} is shorter than {MIN_SCRAPES} scrapes ({least}s); make it longer"
                )
        return self

    def timing(self, alert: str, severity: Severity) -> Timing:
        """The durations of one alert; SettingsError with the place to fix if the file has none."""
        try:
            return self.alerts[alert][severity]
        except KeyError:
            raise SettingsError(f"alerts.{alert}.{severity}: missing; add it with its `for`") from None


def load(path: Path = SETTINGS) -> Settings:
    """Reads and checks the file; SettingsError names each bad key."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise SettingsError(str(error)) from None
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors())
        raise SettingsError("\n".join(faults)) from None
