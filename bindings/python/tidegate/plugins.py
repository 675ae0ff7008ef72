# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""Estimators and policies of your own, as Python classes.

    class Deadline(tidegate.plugins.Order):
        def key(self, request, moment):
            return request.arrived_ns + 10**6 * request.prompt_tokens

    tidegate.simulate("policy.toml", "trace.csv", plugins=[Deadline()])
    tidegate.Gate("policy.toml", plugins=[Deadline()])

Each replaces what the policy uses of its kind. It is asked the questions of
include/tidegate/plugin.h, and what it answers is checked as a shared object's
answer is: one that raises, or says what cannot be, is overruled by the built-in,
and replaced for good after eight faults. The same question must have the same
answer. Methods run with the GIL, on whichever thread asks, under the Gate's lock:
they must return soon and not call the Gate. docs/plugins.md has the checks.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable
from typing import ClassVar

from ._core import Plugin as _Plugin
from ._core import PluginAdmissionQuestion as AdmissionQuestion
from ._core import PluginChunk as StepChunk
from ._core import PluginChunkQuestion as ChunkQuestion
from ._core import PluginModel as Model
from ._core import PluginMoment as Moment
from ._core import PluginRange as Range
from ._core import PluginRequest as Request
from ._core import PluginStep as Step


class Plugin(abc.ABC):
    """What the five kinds share. Optional: `setup(self, model: Model, engine: str)`,
    called before the first question, and again where it is put to use again;
    `engine` is NAME@VERSION/DEVICE or "". What it raises refuses the policy."""

    kind: ClassVar[str]
    #: In reports: 1 to 64 of a-z, 0-9, "-", "_" and ".". Default: of the class.
    name: str = ""
    #: Changes whenever the same question may get another answer.
    version: str = "0"


class Estimator(Plugin):
    """What does a step cost? Besides price(), each optional:

    breakpoints(self, range: Range) -> Iterable[int]
        every v in (lo, hi] at which the price may be below that at v - 1, ascending;
        without it, prices never fall as n or kv_len grow
    sequence_bytes(self, tokens: int, chunk: int) -> int
        what a sequence keeps; without it, what the model's shape says
    route(self, step: Step) -> str
    terms(self, step: Step) -> dict[str, int]     they add up to the price
    """

    kind = "estimator"
    kv_preallocated: bool = False  # a sequence's whole KV is allocated at its start
    at_load: bool = False  # transients are reserved for the widest step at load
    assumed: bool = False  # prices are guesses: "assumed" is shown beside them

    @abc.abstractmethod
    def price(self, step: Step) -> int | Cost:
        """Transient bytes: the step's peak above live, without the KV it adds."""


class Order(Plugin):
    """Who is next? Optional: `may_pass(self, blocked: Request, moment: Moment) -> bool`,
    whether others may be admitted past one that is first but waits for memory;
    without it, never, so that nobody starves."""

    kind = "order"

    @abc.abstractmethod
    def key(self, request: Request, moment: Moment) -> float:
        """The lowest is served first; of equals the earlier arrival."""


class Chunk(Plugin):
    """How wide is the next chunk?"""

    kind = "chunk"

    @abc.abstractmethod
    def width(self, question: ChunkQuestion) -> int:
        """0: not now. Otherwise at least `floor`, or all that is left, or `fits`; at
        most `fits`. It is cut to a multiple of the quantum. `need_bytes(n)` and
        `takes_ns(n)` of the question can be asked until it is answered."""


class Admission(Plugin):
    """May this request start? Optional: `output_tokens(self, request: Request,
    share_permille: int) -> int`, for how much of its output to keep room."""

    kind = "admission"

    @abc.abstractmethod
    def may_start(self, question: AdmissionQuestion) -> bool:
        """Whether it starts now. What does not fit cannot."""


class Pressure(Plugin):
    """Who loses its progress when nothing else makes room? Optional:
    `patience_s(self) -> float`, how long memory is short before anybody does."""

    kind = "pressure"

    @abc.abstractmethod
    def key(self, request: Request) -> float:
        """The lowest is preempted first; of equals the lower id."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """A price with what most leave open. `largest_allocation_bytes`: the largest
    single buffer, None: the transient. `fixed_in_n_bytes`: what of the transient no
    narrower chunk avoids, None: 0."""

    transient_bytes: int
    largest_allocation_bytes: int | None = None
    fixed_in_n_bytes: int | None = None


def made(plugins: Iterable[Plugin]) -> list[_Plugin]:
    """As the extension takes them."""
    result: dict[str, _Plugin] = {}
    for plugin in plugins:
        if not isinstance(plugin, Plugin) or not hasattr(plugin, "kind"):
            raise TypeError(f"plugins: expected objects of classes derived from those of tidegate.plugins, got {plugin!r}")
        if plugin.kind in result:
            raise ValueError(f"plugins: expected one of a kind, got several of the kind {plugin.kind!r}")
        name = plugin.name or type(plugin).__name__.lower()
        result[plugin.kind] = _Plugin(plugin.kind, name, plugin.version, plugin)
    return list(result.values())


__all__ = [
    "Admission",
    "AdmissionQuestion",
    "Chunk",
    "ChunkQuestion",
    "Cost",
    "Estimator",
    "Model",
    "Moment",
    "Order",
    "Plugin",
    "Pressure",
    "Range",
    "Request",
    "Step",
    "StepChunk",
]
