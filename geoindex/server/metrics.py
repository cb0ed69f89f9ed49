"""What a server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

LATENCY_S = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counts of one server, in a registry of its own.

    Attributes:
        requests: requests by method, route and status.
        latency_s: from the first byte of a request to the last of its answer, by route.
        batch_images: photos of a forward pass.
        requests_under_way: those that are read, decoded or answered.
        batches_under_way: the same of batches.
        steps_ms: time of each step of an answer.
        generation: number of the generation that answered last.
    """

    def __init__(self) -> None:
        self.registry = all_ = CollectorRegistry()
        ProcessCollector(registry=all_)
        self.requests = Counter("geoindex_requests", "Requests.", ["method", "route", "status"], registry=all_)
        self.latency_s = Histogram(
            "geoindex_request_seconds", "Time of a request.", ["route"], registry=all_, buckets=LATENCY_S
        )
        self.batch_images = Histogram(
            "geoindex_batch_images", "Photos of a forward pass.", registry=all_, buckets=BATCHES
        )
        self.requests_under_way = Gauge("geoindex_requests_under_way", "Requests under way.", registry=all_)
        self.batches_under_way = Gauge("geoindex_batches_under_way", "Batches under way.", registry=all_)
        self.steps_ms = Counter("geoindex_step_milliseconds", "Time of the steps of answers.", ["step"], registry=all_)
        self.generation = Gauge("geoindex_generation", "The generation that answered last.", registry=all_)

    def text(self) -> bytes:
        """Return all counts as Prometheus reads them."""
        return generate_latest(self.registry)
