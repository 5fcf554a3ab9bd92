"""The content and order of `defect --help`."""

import re
from pathlib import Path

from defect_detection.cli import main

COMMANDS = Path(__file__).parents[2] / "docs/commands.md"


def test_help_lists_the_verbs_in_the_groups_and_the_order_of_the_page_of_commands(capsys):
    assert main(["--help"]) == 0
    options, *panels = re.findall(r"^╭─ (\w+)(.+?)╰", capsys.readouterr().out, re.MULTILINE | re.DOTALL)
    assert options[0] == "Options"
    verbs = {name: re.findall(r"^│ ([a-z-]+) ", text, re.MULTILINE) for name, text in panels}
    assert list(verbs.items()) == _on_the_page()


def _on_the_page():
    _, *sections = COMMANDS.read_text().split("\n## ")
    rows = {
        text.split("\n")[0]: re.findall(r"^\| `defect ([a-z-]+)", text, re.MULTILINE) for text in sections
    }
    return [(title, list(dict.fromkeys(verbs))) for title, verbs in rows.items() if verbs]
