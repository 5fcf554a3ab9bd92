"""Give each peer an environment of its own, made when it is first needed."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import Unavailable, run

PEERS = Path(__file__).parent / "peers"
_TOLD = ("ultralytics", "anomalib", "torch", "onnxruntime", "tf2onnx", "litserve", "bentoml", "ray")


@dataclass(frozen=True)
class Environments:
    """The peers' environments below a folder.

    requirements: files to install from instead of ``peers/<peer>.txt``, by peer.
    """

    folder: Path
    requirements: Mapping[str, Path] = field(default_factory=dict)

    def python(self, peer: str) -> Path:
        """Return the interpreter of a peer's environment. It is installed again when the list of requirements has changed.

        Raises:
            Unavailable: it can't be installed.
        """
        wanted = self.requirements.get(peer, PEERS / f"{peer}.txt").read_text(encoding="utf-8")
        home = self.folder / peer
        stamp = home / "installed.txt"
        python = _interpreter(home)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return python
        home.mkdir(parents=True, exist_ok=True)
        (home / "requirements.txt").write_text(wanted, encoding="utf-8")
        print(f"installing {peer} into {home}", file=sys.stderr, flush=True)
        try:
            run([sys.executable, "-m", "venv", "--without-pip", home], home)
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(python),
            ]  # this one's: to copy it takes seconds
            run([*pip, "install", "--quiet", "--requirement", "requirements.txt"], home)
        except Unavailable as error:
            raise Unavailable(f"can't be installed: {error}") from error
        stamp.write_text(wanted, encoding="utf-8")
        return python

    def versions(self) -> str:
        """Return what is installed, of those packages whose version matters, as text; empty where nothing is."""
        code = f"""
from importlib.metadata import version, PackageNotFoundError
for name in {_TOLD}:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""
        found: dict[str, None] = {}
        for home in sorted(path.parent for path in self.folder.glob("*/installed.txt")):
            try:
                found |= dict.fromkeys(run([_interpreter(home), "-c", code], home).output.splitlines())
            except Unavailable:  # broken since; its rows say so
                continue
        return ", ".join(found)


def _interpreter(home: Path) -> Path:
    return home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
