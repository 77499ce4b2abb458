"""Numbers for Prometheus: requests and their latency by route, searches, index sizes, jobs.

With several worker processes the counts of all are added up through the
library's shared files, whose folder the server makes before it starts them.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
JOB_STATES = ("queued", "running", "done", "failed", "cancelled", "interrupted")


class Metrics:
    """The numbers of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("curator_requests_total", "Requests answered", labels, registry=self.registry)
        self.latency = Histogram(
            "curator_request_seconds", "Time to the end of the answer", ("route",), buckets=BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self.in_work = Gauge(
            "curator_requests_in_work", "Requests in work", registry=self.registry, multiprocess_mode="livesum"
        )
        self.search = Histogram(
            "curator_search_seconds", "Time of the search itself", ("workspace",), buckets=BUCKETS_S,
            registry=self.registry,
        )  # fmt: skip
        self.index_bytes = Gauge(
            "curator_index_bytes", "Memory of vectors and index", ("workspace",), registry=self.registry,
            multiprocess_mode="livesum",
        )  # fmt: skip
        self.index_vectors = Gauge(
            "curator_index_vectors", "Vectors that can be found", ("workspace",), registry=self.registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self.jobs = Gauge(
            "curator_jobs", "Jobs by state", ("state",), registry=self.registry, multiprocess_mode="mostrecent"
        )

    def text(self) -> bytes:
        """The exposition format."""
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            shared = CollectorRegistry()
            MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
            return generate_latest(shared)
        return generate_latest(self.registry)
