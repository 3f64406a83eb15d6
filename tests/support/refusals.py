"""Assertions on the fields of a `ConfigError`, which hold whatever its message is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ganlab.core.errors import UNSET, ConfigError


@contextmanager
def refuses(key: str = "", value: Any = UNSET, reason: str = "", remedy: str = "") -> Iterator[None]:
    """The block must raise a `ConfigError` about this key, and this value if one is given.

    Args:
        reason: a regular expression that is found in the error's reason.
        remedy: one that is found in its remedy.
    """
    with pytest.raises(ConfigError) as caught:
        yield
    error = caught.value
    assert error.key == key
    assert value is UNSET or error.value == value
    assert re.search(reason, error.reason), error.reason
    assert re.search(remedy, error.remedy), error.remedy
