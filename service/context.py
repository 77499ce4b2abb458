"""What every route may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from curator.state import State
from service.jobs import Runner
from service.metrics import Metrics
from service.pictures import Pictures
from service.registry import Registry
from service.settings import Settings


@dataclass(frozen=True, slots=True)
class Service:
    """One running service."""

    settings: Settings
    registry: Registry
    state: State  # of the root: tokens and jobs
    metrics: Metrics
    pictures: Pictures
    runner: Runner
    fetch: Callable[[str], bytes] | None = None  # reads an image behind a URL; none where the server may not


def service_of(request: Request) -> Service:
    """The service behind a request."""
    service: Service = request.app.state.service
    return service
