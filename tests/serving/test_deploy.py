"""The files of deploy/ agree with each other, with the command line and with what is installed."""

import json
import re
import shlex
import subprocess
import sys
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import DARK, encoded, write_tiny_bundle
from typer.main import get_command

from defect_detection.cli import app
from defect_detection.config import load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
KUBERNETES = [
    document
    for name in yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text())
]
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in KUBERNETES
    if one["kind"] == "Deployment"
}
# Runs what its arguments say, where only what the slim image has can be imported
SLIM = """
import importlib.metadata, re, sys
has = {re.split("[=<>~!]", line)[0] for line in open(sys.argv.pop(1)) if re.match("[a-z0-9]", line)} | {"defect-detection"}
of = importlib.metadata.packages_distributions()
lacks = {name for name, owners in of.items() if not any(re.sub("[_.]+", "-", one).lower() in has for one in owners)}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in lacks:
            raise ModuleNotFoundError(f"the slim image has no {name}", name=name)
sys.meta_path.insert(0, Absent())
assert {"tensorflow", "keras", "sklearn", "matplotlib"} <= lacks
"""


@pytest.mark.parametrize("folder", [DEPLOY, DEPLOY / "kubernetes"])
def test_the_settings_are_valid_and_the_commands_exist(folder):
    ours = [service.get("command", [""]) for service in SERVICES.values()]
    ours += [container["command"] for pod in PODS.values() for container in pod["containers"]]
    commands = [command for command in ours if command[0] == "defect"]
    assert {"serve", "worker"} <= {command[1] for command in commands}
    for _, name, *rest in commands:
        assert name == "--help" or name in get_command(app).commands  # type: ignore[attr-defined]
        overrides = [value for option, value in pairwise(rest) if option == "--set"]
        assert load_config(folder / "config.yaml", overrides).jobs.run_in_server is False


def test_the_proxy_knows_the_servers_and_they_know_the_proxy():
    servers = re.findall(r"^ +server (\S+):5001 ", (DEPLOY / "replicas.conf").read_text(), re.MULTILINE)
    assert servers == [name for name in SERVICES if name.startswith("server-")]
    (proxy,) = load_config(DEPLOY / "config.yaml", ()).serving.behind_proxy
    assert proxy == SERVICES["proxy"]["networks"]["inside"]["ipv4_address"] + "/32"


def test_every_container_is_confined_and_only_the_proxy_is_published():
    for name, service in SERVICES.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert ("ports" in service) == (name == "proxy"), name
    for pod in PODS.values():
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
            assert {"requests", "limits"} == container["resources"].keys()


def test_no_secret_is_in_the_files_and_the_page_tells_of_each():
    page = (ROOT / "docs" / "deploy.md").read_text()
    text = (DEPLOY / "compose.yaml").read_text()
    for name in set(re.findall(r"\$\{(\w+)", text)):
        assert name in page
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|SECRET|ACCESS_KEY|DATABASE_URL", key)
            assert not is_secret or re.search(r"\$\{[A-Z_]+", value), key
    for one in re.findall(r"secretRef: \{name: (\w+)|secretKeyRef: \{name: (\w+)", yaml_of_kubernetes()):
        assert f"generic {''.join(one)} " in page


def yaml_of_kubernetes() -> str:
    return "".join(path.read_text() for path in (DEPLOY / "kubernetes").iterdir())


def test_the_packages_of_the_slim_image_are_some_of_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = settings["project"]
    known = sum(project["optional-dependencies"].values(), project["dependencies"])
    slim = {one.replace("mlflow-skinny", "mlflow") for one in settings["dependency-groups"]["slim"]}
    assert slim <= set(known)


def test_what_the_slim_image_lacks_is_needed_neither_to_serve_nor_to_inspect(tmp_path):
    write_tiny_bundle(tmp_path / "bundle")
    (tmp_path / "part.png").write_bytes(encoded(DARK))
    code = (
        "from defect_detection.cli import main\n"
        "assert main(['inspect', '--model', 'bundle', 'part.png', '--json']) == 0\n"
        "from pathlib import Path; from defect_detection.config import load_config\n"
        "from defect_detection.inference.inspect import Inspector; from defect_detection.serving.app import create_app\n"
        "from defect_detection.tracking.reading import ModelRef\n"
        "(Path() / 'config.yaml').touch(); config = load_config(Path('config.yaml'))\n"
        "model = ModelRef('Production_Reg', 3, 'run', {})\n"
        "client = create_app(config, lambda: model, lambda _: Inspector.load(Path('bundle'))).test_client()\n"
        "for path in ('/', '/docs', '/openapi.json', '/metrics', '/health/ready', '/jobs', '/statistics', '/history'):\n"
        "    assert client.get(path).status_code == 200, (path, client.get(path).text)\n"
        "print(client.post('/predict', data=Path('part.png').read_bytes(), content_type='image/png').json['verdict'])\n"
        "import os; os._exit(sys.stdout.flush() or 0)"
    )
    command = [sys.executable, "-c", SLIM + code, str(DEPLOY / "requirements-slim.txt")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr}"
    inspected, served = done.stdout.splitlines()
    assert json.loads(inspected)["verdict"] == served == "defective"
