# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Keyword arguments into what the command line takes, and its messages back."""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

Path: TypeAlias = "str | os.PathLike[str]"


def text(value: Any) -> str:
    """A number, path or size ("36 GiB") as a flag has it."""
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def flags(**given: Any) -> dict[str, list[str]]:
    """Those that are not None; a list has several values, a mapping KEY=VALUE."""
    made: dict[str, list[str]] = {}
    for name, value in given.items():
        if value is None:
            continue
        if isinstance(value, Mapping):
            made[name] = [f"{key}={text(one)}" for key, one in value.items()]
        elif isinstance(value, (list, tuple)):
            made[name] = [text(one) for one in value]
        else:
            made[name] = [text(value)]
    return made


def commas(values: Any) -> str | None:
    """One value or several as a list with commas."""
    if values is None:
        return None
    if isinstance(values, (str, os.PathLike)) or not isinstance(values, Iterable):
        return text(values)
    return ",".join(text(one) for one in values)


@contextlib.contextmanager
def python_names() -> Iterator[None]:
    """Messages name arguments ("chunk_max") in place of flags ("--chunk-max")."""
    try:
        yield
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise type(error)(_renamed(str(error))) from None


def warn(lines: Iterable[str], stacklevel: int = 3) -> None:
    for line in lines:
        if line:
            warnings.warn(_renamed(line.removeprefix("warning: ")), RuntimeWarning, stacklevel=stacklevel)


def _renamed(message: str) -> str:
    return re.sub(r"--([a-z][a-z-]*[a-z])", lambda flag: flag[1].replace("-", "_"), message)
