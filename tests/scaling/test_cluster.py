"""A cluster that cannot be used says so within seconds, before anything is begun."""

import errno
import socket
from functools import cache

import pytest

from benchmarks.ports import free_port
from defect_detection.cli import main
from defect_detection.errors import ClusterError, ConfigError, DivergedError
from defect_detection.processes.watch import unwatched
from defect_detection.scaling import cluster
from defect_detection.scaling.failures import failure_of
from defect_detection.scaling.inspection import inspect_on_ray


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_does_not_answer_is_told_at_once(scheme, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(cluster, "_ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        address = f"{scheme}127.0.0.1:{silent.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match=r"no Ray cluster answers at .*ray status.*Nothing was begun"),
            cluster.connected(address),
        ):
            pass


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense", "http://127.0.0.1:{port}", "host:99999"],
)
def test_where_nobody_listens_is_told_without_waiting(address, monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(cluster, "_ANSWER_S", 10**6)
    with pytest.raises(ClusterError, match="no Ray cluster answers at"):
        cluster.check_ray(address.format(port=free_port()))


def test_no_cluster_on_this_machine_is_told_at_once(monkeypatch, tmp_path):
    services = pytest.importorskip("ray._private.services")
    monkeypatch.setattr(services, "find_gcs_addresses", cache(set))  # else those of other tests
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(
            ClusterError, match=r"no Ray cluster answers at auto.*or leave it out.*Nothing was begun"
        ),
        cluster.connected("auto"),
    ):
        pass


def test_a_full_disk_is_told_before_ray_starts(monkeypatch, tmp_path):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(cluster, "_FREE_BYTES", 10**18)
    with pytest.raises(ClusterError, match=r"MB are free. Free space on this disk, or set RAY_TMPDIR"):
        next(cluster.connected(None).gen)


def test_what_went_wrong_on_a_node_is_told_with_what_helps():
    exceptions = pytest.importorskip("ray").exceptions

    def told(cause: Exception) -> Exception:
        error = exceptions.RayTaskError("task", "traceback", cause).as_instanceof_cause()
        return failure_of(error, "Run it again")

    full = OSError(errno.ENOSPC, "No space left on device", "/cache/a.npy")
    assert str(told(full)) == (
        "The cluster could not continue (/cache/a.npy: cannot be used (No space left on device); free space on this disk, or use a "
        "folder on another disk). Run it again"
    )
    assert "a node has no room left: free space" in str(told(exceptions.OutOfDiskError("Local disk is full")))
    assert "a node has no room left" in str(failure_of(exceptions.ObjectStoreFullError("full"), ""))
    diverged = DivergedError("no numbers")
    assert told(diverged) is diverged
    assert isinstance(told(KeyError("a bug")), exceptions.RayTaskError)
    assert str(failure_of(exceptions.RayError(), "Run it again")) == (
        "The cluster could not continue (RayError). Run it again"
    )


def test_options_of_the_cluster_need_the_engine(capsys, tmp_path):
    assert main(["inspect", "a.png", "--address", "auto"]) == 3
    assert "--address: is for --engine ray" in capsys.readouterr().err
    assert main(["inspect", "a.png", "--engine", "ray"]) == 3
    assert "--engine ray: expected --output FOLDER or URL" in capsys.readouterr().err


def test_an_inspection_refuses_a_client_server(project, tmp_path):
    config = project("scaling.address=ray://127.0.0.1:10001")
    with pytest.raises(ConfigError, match=r"expected auto or host:port for an inspection.*--address auto"):
        inspect_on_ray(["."], (tmp_path, None), str(tmp_path / "out"), config, None, unwatched)


@pytest.mark.parametrize(
    ("nodes", "cpus"),
    [
        ([1, 1, 1], 1),
        ([2], 2),
        ([0, 4], 4),
        ([12], 6),
        ([16, 8], 8),
        ([8, 1], 1),
        ([64, 64], 8),
        ([7, 14], 7),
    ],
)
def test_processes_leave_no_processor_unused(nodes, cpus):
    of_nodes = cluster.Cluster({str(number): have for number, have in enumerate(nodes)})
    assert of_nodes.cpus_of_a_process(8) == cpus
    assert of_nodes.slots(cpus) * cpus == sum(nodes)
