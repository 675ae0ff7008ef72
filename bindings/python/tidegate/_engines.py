# Copyright 2026 The Tidegate Authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of engines without importing them at a distance: which one is
installed, and which of its exceptions mean that memory ran out."""

from __future__ import annotations

import importlib.metadata

# MLX on Metal and CUDA, and C++ allocators, say it in words only.
_OUT_OF_MEMORY_WORDS = (
    "std::bad_alloc",
    "[metal::malloc]",
    "[malloc_or_wait]",
    "[malloc] unable to allocate",
    "unable to allocate",
    "insufficient memory",
    "out of memory",
    "outofmemory",
    "can't allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine's exception says that the device or host had too little
    memory: MemoryError, torch's OutOfMemoryError, and RuntimeErrors whose text is
    that of an allocator."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(one in words for one in _OUT_OF_MEMORY_WORDS)


def installed_engine(name: str) -> str | None:
    """NAME@VERSION/DEVICE of "mlx" or "torch" where it is installed here."""
    if name not in ("mlx", "torch"):
        return None
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    device = _mlx_device() if name == "mlx" else _torch_device()
    return f"{name}@{version.partition('+')[0]}/{device}"


def _mlx_device() -> str:
    import mlx.core as mx

    if mx.default_device().type == mx.DeviceType.cpu:
        return "cpu"
    return "metal" if mx.metal.is_available() else "cuda"


def _torch_device() -> str:
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    major, minor = torch.cuda.get_device_capability()
    return f"cuda-sm{major}{minor}"
