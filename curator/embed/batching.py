"""Running a torch model over many images: slices, overlap of copies with work, and backing off when memory is short.

Knows nothing of which model runs. The loop speaks to a `Lane`; a test gives its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curator.data import ImageArray
from curator.errors import UsageError

logger = logging.getLogger(__name__)

Forward = Callable[[Any], tuple[Any, ...]]
"""From a (b, S, S, 3) uint8 tensor to a tuple of (b, ...) tensors on the same device."""


class Lane(Protocol):
    """One way from host memory through a model and back, in three steps that may overlap between slices."""

    def stage(self, images: ImageArray) -> Any:
        """Begin to bring a slice to the device; may return before the copy is done."""
        ...

    def compute(self, staged: Any) -> Any:
        """Begin the forward pass; may return before it is done."""
        ...

    def fetch(self, computed: Any) -> tuple[NDArray[Any], ...]:
        """Wait for a forward pass and bring its outputs back."""
        ...

    def release(self) -> None:
        """Give unused memory back after a slice did not fit."""
        ...


class Batches:
    """Runs a lane over a stack of images, slice by slice, in order.

    While the device works on one slice the next is already copied to it. A slice that does not fit in
    memory is halved and tried again; the smaller size is kept, since the next one would not fit either.
    """

    def __init__(self, lane: Lane, *, batch: int) -> None:
        self.lane = lane
        self.batch = max(1, batch)

    def __call__(self, images: ImageArray) -> tuple[NDArray[Any], ...]:
        """Outputs for all images, in their order; at least one image must be given.

        Raises:
            UsageError: not even one image fits in the device's memory.
        """
        parts: list[tuple[NDArray[Any], ...]] = []
        start, ahead = 0, None
        while start < len(images):
            try:
                stop, staged = ahead or self._stage(images, start)
                ahead = None
                computed = self.lane.compute(staged)
                following = self._stage(images, stop) if stop < len(images) else None  # copied while computing
                parts.append(self.lane.fetch(computed))
                start, ahead, short_of_memory = stop, following, False
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                short_of_memory = True
            if short_of_memory:  # outside `except`: its traceback would keep the tensors alive
                ahead = staged = computed = following = None
                self.lane.release()
                self._halve()
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _stage(self, images: ImageArray, start: int) -> tuple[int, Any]:
        stop = min(start + self.batch, len(images))
        return stop, self.lane.stage(images[start:stop])

    def _halve(self) -> None:
        if self.batch == 1:
            raise UsageError(
                "the model does not fit in the device's memory with one image at a time; "
                "use device 'cpu', a smaller model, or free memory on the device"
            )
        self.batch //= 2
        logger.warning("embed: out of device memory; batch is now %d images", self.batch)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was short: torch's own class, Python's, or the words of a CUDA library."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return "out of memory" in text or "ALLOC_FAILED" in text  # cuBLAS and cuDNN raise a plain RuntimeError


class HostLane:
    """Torch on the CPU: nothing to copy, nothing to overlap."""

    def __init__(self, forward: Forward) -> None:
        self._forward = forward

    def stage(self, images: ImageArray) -> Any:
        """Wrap the images without a copy."""
        import torch

        return torch.from_numpy(np.require(images, requirements=["C", "W"]))  # torch warns at read-only arrays

    def compute(self, staged: Any) -> Any:
        """Run the model at once."""
        return self._forward(staged)

    def fetch(self, computed: Any) -> tuple[NDArray[Any], ...]:
        """Outputs as float32 arrays."""
        return tuple(output.float().numpy() for output in computed)

    def release(self) -> None:
        """Nothing is cached on the host."""


class CudaLane:
    """Torch on a CUDA device: two pinned buffers and a stream of their own for copies.

    While the device computes on one slice, the host fills the other buffer and its copy runs on the side stream.
    """

    def __init__(self, forward: Forward, device: str) -> None:
        import torch

        self._torch = torch
        self._forward = forward
        self._device = torch.device(device)
        self._side = torch.cuda.Stream(self._device)
        self._buffers: list[Any] = [None, None]
        self._copied = [torch.cuda.Event(), torch.cuda.Event()]
        self._slot = 0

    def stage(self, images: ImageArray) -> Any:
        """Fill the free pinned buffer and start its copy on the side stream."""
        torch = self._torch
        self._slot = 1 - self._slot
        copied = self._copied[self._slot]
        copied.synchronize()  # the last copy out of this buffer must be over before it is filled again
        host = self._buffer(images)
        host.numpy()[...] = images
        with torch.cuda.device(self._device), torch.cuda.stream(self._side):
            on_device = host.to(self._device, non_blocking=True)
            copied.record(self._side)
        return on_device, copied

    def compute(self, staged: Any) -> Any:
        """Queue the forward pass behind the copy of its slice."""
        on_device, copied = staged
        stream = self._torch.cuda.current_stream(self._device)
        stream.wait_event(copied)
        on_device.record_stream(stream)  # made on the side stream: its memory must outlive this one's use of it
        with self._torch.cuda.device(self._device):
            return self._forward(on_device)

    def fetch(self, computed: Any) -> tuple[NDArray[Any], ...]:
        """Outputs as float32 arrays; waits for the pass."""
        return tuple(output.float().cpu().numpy() for output in computed)

    def release(self) -> None:
        """Let the device finish and hand cached blocks back to it."""
        self._torch.cuda.synchronize(self._device)
        self._torch.cuda.empty_cache()

    def _buffer(self, images: ImageArray) -> Any:
        held = self._buffers[self._slot]
        if held is None or len(held) < len(images) or held.shape[1:] != images.shape[1:]:
            held = self._torch.empty(images.shape, dtype=self._torch.uint8, pin_memory=True)
            self._buffers[self._slot] = held
        return held[: len(images)]


def lane_for(forward: Forward, device: str) -> Lane:
    """The lane of a device name as `device.pick` gives it: "cpu" or "cuda:N"."""
    return HostLane(forward) if device == "cpu" else CudaLane(forward, device)
