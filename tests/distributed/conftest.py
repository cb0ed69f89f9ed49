"""A Ray cluster of several nodes on this machine."""

import pytest


@pytest.fixture
def nodes(monkeypatch):
    """Three nodes of two cores: the head without any, and two workers; the last can be removed."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster, workers
    ray.shutdown()
    cluster.shutdown()
