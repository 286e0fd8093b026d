"""Records that users fill in: a key that does not exist is refused with the nearest one that does."""

from __future__ import annotations

from typing import Any

import pydantic

from .spelling import unknown


class Record(pydantic.BaseModel):
    """Settings by name, which cannot be changed once they are made.

    Raises:
        pydantic.ValidationError: an unknown key, or a value that cannot be right; the message names it.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        for key in content if isinstance(content, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(unknown("key", str(key), cls.model_fields))
        return content
