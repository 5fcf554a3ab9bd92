"""The content and order of `defect --help`."""

import re

from defect_detection.cli import main
from defect_detection.cli.app import PANELS


def test_help_groups_the_verbs_in_the_order_of_a_models_life(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert tuple(re.findall(r"^╭─ (\w+)", said, re.MULTILINE)) == ("Options", *PANELS)
    verbs = re.findall(r"^│ ([a-z-]+) ", said, re.MULTILINE)
    in_order = ["init", "data", "train", "evaluate", "inspect", "promote", "serve", "keys"]
    assert [verb for verb in verbs if verb in in_order] == in_order
