"""What all parts of the config are made of."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

Engine = Literal["postgres", "mysql"]


def _printable(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise ValueError("must be 1 to 200 printable characters")
    return text


def at_least(least: float, text: str) -> AfterValidator:
    """A validator for durations that may not be shorter."""

    def check(seconds: float) -> float:
        if seconds < least:
            raise ValueError(f"must be at least {text}")
        return seconds

    return AfterValidator(check)


Text = Annotated[str, AfterValidator(_printable)]


class Model(BaseModel):
    """Frozen, refuses unknown keys, and never repeats an input in an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, data: Any) -> Any:
        """`key:` with nothing behind it is the key's default."""
        if not isinstance(data, dict):
            return data
        return {key: value for key, value in data.items() if value is not None or key not in cls.model_fields}
