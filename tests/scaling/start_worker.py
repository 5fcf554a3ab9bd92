"""Start a process of Ray as its own `setup_worker.py` does, which imports Ray for it and then throws that away."""

import json
import os
import sys
from argparse import ArgumentParser

parser = ArgumentParser(allow_abbrev=False)
parser.add_argument("--serialized-runtime-env-context", default="{}")
parser.add_argument("--language")
known, others = parser.parse_known_args()
os.environ.update(json.loads(known.serialized_runtime_env_context).get("env_vars", {}))
os.execv(sys.executable, [sys.executable, *others])
