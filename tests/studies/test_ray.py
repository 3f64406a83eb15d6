"""Runs on a Ray cluster end as they do on one machine, even if a node is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from support.commands import finish
from support.daily_sample import on_one_day_of
from support.studies import SUITE, rows_of, start_ablate, suite_plan, wait_until, write_suite

from ganlab.ablate import ablate
from ganlab.config.compose import compose
from ganlab.core.errors import ConfigError
from ganlab.studies.backend import Local
from ganlab.studies.pool import Pool

QUICK_CHECKS = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
}
TWO_RUNS = SUITE.replace("steps=4", "steps=400, checkpoint_every=20").replace("seeds: 2", "seeds: 1")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes on this machine, with a processor each."""
    head = {"num_cpus": 1, "_system_config": QUICK_CHECKS}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(num_cpus=1)
    yield found
    ray.shutdown()
    found.shutdown()


def test_what_a_cluster_cannot_do_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    words = (f"suite={write_suite(tmp_path / 'quick')}", f"output={tmp_path}/runs", "backend=ray")
    with pytest.raises(ConfigError, match="num_cpus=9, num_gpus=0: the cluster has 2 CPUs and 0 GPUs"):
        ablate(compose(*words, f"address={cluster.address}", "num_cpus=9", config_name="ablate"))
    ray.shutdown()


@pytest.mark.timeout(900)
@on_one_day_of(2)
def test_a_lost_node_loses_no_run(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    Pool(suite_plan(write_suite(tmp_path / "local", TWO_RUNS)), Local(1, 1)).play()
    folder = write_suite(tmp_path / "ray", TWO_RUNS)
    words = (f"suite={folder}", f"output={folder}/runs", "backend=ray", f"address={cluster.address}")
    process = start_ablate(*words, "processes=2")
    # On a busy machine, the workers of Ray need minutes to import what a run needs.
    wait_until(lambda: len([*folder.glob("runs/*/*/checkpoints/last.ckpt")]) == 2, process, seconds=400)
    assert rows_of(folder) == []
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    status, out, err = finish(process)
    assert status == 0, out + err
    local, lost = ({row.arm: row for row in rows_of(tmp_path / name)} for name in ("local", "ray"))
    assert {row.status for row in lost.values()} == {"finished"}
    assert {arm: row.metrics for arm, row in lost.items()} == {arm: row.metrics for arm, row in local.items()}
    assert len(rows_of(folder)) == 2
