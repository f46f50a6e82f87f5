"""Copies between host and device that nothing waits for until it must."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device, queued behind the work that the device has.

    From ordinary memory CUDA would finish that work first; pinned memory it reads when it gets
    there, and PyTorch keeps the memory until then.
    """
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def fetch(matrices: Sequence[Tensor]) -> Callable[[], list[Tensor]]:
    """Begin to copy (B, D) matrices to the host; what is returned waits for them.

    One copy from each device that holds some. On CUDA it runs beside what is queued next.
    """
    places: dict[torch.device, list[int]] = {}
    for place, matrix in enumerate(matrices):
        places.setdefault(matrix.device, []).append(place)
    widths = [matrix.shape[1] for matrix in matrices]
    copies = [
        (together, _begin(torch.cat([matrices[place] for place in together], 1)))
        for together in places.values()
    ]

    # It must not hold `matrices`: their memory is the next pass's.
    def wait() -> list[Tensor]:
        found: dict[int, Tensor] = {}
        for together, arrived in copies:
            parts = torch.split(arrived(), [widths[place] for place in together], 1)
            found |= dict(zip(together, parts, strict=True))
        return [found[place] for place in range(len(widths))]

    return wait


def _begin(flat: Tensor) -> Callable[[], Tensor]:
    """Begin one copy; see `fetch`."""
    if flat.device.type != "cuda":
        host = flat.cpu()
        return lambda: host
    beside = _stream(flat.device)
    beside.wait_stream(torch.cuda.current_stream(flat.device))
    pinned = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=True)
    with torch.cuda.stream(beside):
        pinned.copy_(flat, non_blocking=True)
        copied = beside.record_event()
    flat.record_stream(beside)  # or its memory would be given away as soon as we return

    def wait() -> Tensor:
        copied.synchronize()
        return pinned

    return wait


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """A device's queue for copies."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
