"""A cluster that cannot be used says so within seconds, before anything is begun."""

import socket

import pytest

from defect_detection.cli import main
from defect_detection.errors import ClusterError, ConfigError
from defect_detection.processes.watch import unwatched
from defect_detection.scaling import cluster
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


def test_options_of_the_cluster_need_the_engine(capsys, tmp_path):
    assert main(["inspect", "a.png", "--address", "auto"]) == 3
    assert "--address: is for --engine ray" in capsys.readouterr().err
    assert main(["inspect", "a.png", "--engine", "ray"]) == 3
    assert "--engine ray: expected --output FOLDER or URL" in capsys.readouterr().err


def test_an_inspection_refuses_a_client_server(project, tmp_path):
    config = project("scaling.address=ray://127.0.0.1:10001")
    with pytest.raises(ConfigError, match=r"expected auto or host:port for an inspection.*--address auto"):
        inspect_on_ray(["."], (tmp_path, None), str(tmp_path / "out"), config, None, unwatched)
