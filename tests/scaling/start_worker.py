"""Start a process of Ray as its own `setup_worker.py` does, but from the fork server, which has the libraries already.

`setup_worker.py` imports Ray to start a process that imports it again, and a trial imports TensorFlow. A node that has another version
of the package gets a process of Python itself.
"""

import json
import os
import sys
from argparse import ArgumentParser
from importlib.util import find_spec
from pathlib import Path

parser = ArgumentParser(allow_abbrev=False)
parser.add_argument("--serialized-runtime-env-context", default="{}")
parser.add_argument("--language")
known, others = parser.parse_known_args()
os.environ.update(json.loads(known.serialized_runtime_env_context).get("env_vars", {}))
if find_spec("defect_detection").origin != os.environ["PACKAGE"]:
    os.execv(sys.executable, [sys.executable, *others])
sys.path.insert(0, str(Path(__file__).parents[1]))
from fork_server import Program  # noqa: E402

program = Program(os.environ["FORKS"], others, str(Path.cwd()), dict(os.environ), [0, 1, 2])
Path(os.environ["WORKERS"], str(program.pid)).write_text(str(os.getppid()))  # its node, whose child it is not
os._exit(program.wait())
