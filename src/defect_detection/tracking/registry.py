"""Registered models: versions, aliases, and their bundles on this machine.

Which version an alias points to is asked without mlflow: in the embedded store's file, or by a server's REST
interface. That takes milliseconds, where importing mlflow and opening a store would add 4 s to every
``src/inference.py``. Whatever is unexpected there, and all that writes, goes through MLflow.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from defect_detection.errors import TrackingError, without_room
from defect_detection.files.unfinished import working_folder
from defect_detection.model.bundle import copy_files
from defect_detection.model.seal import require_sealed
from defect_detection.tracking.direct import IndirectError, fetched_directly
from defect_detection.tracking.embedded import point
from defect_detection.tracking.reading import ModelRef, asked, looked_up, telling
from defect_detection.tracking.store import (
    Store,
    connect,
    redacted,
    reporting,
    sqlite_file,
)

BUNDLE = "bundle"  # as in flavor.py, which imports more

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class About:
    """The descriptions of a registered model and of a version on MLflow's page."""

    model: str = ""
    version: str = ""


class Registry:
    """The model registry of one store. Connects on first need; every method may raise `TrackingError`."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    def register(
        self,
        model_uri: str,
        name: str,
        tags: Mapping[str, Any] | None = None,
        *,
        about: About = About(),
    ) -> ModelRef:
        """Make a logged model (``models:/m-…``) the newest version of `name`.

        Its tags get ``source_run_id`` and ``model_id``, by which `version_of_run` and `promote_copy` know it.
        """
        client = self._store.client
        model_id = model_uri.removeprefix("models:/")
        with reporting(self.tracking_uri, f"registering {model_uri} as {name}"):
            model = client.get_logged_model(model_id)
            identity = {"source_run_id": model.source_run_id, "model_id": model_id}
            # The embedded store would look up a models: URI in the process-wide tracking URI.
            source = model.artifact_location if sqlite_file(self.tracking_uri) else model_uri
            return self._create(
                name, source, model.source_run_id, {**(tags or {}), **identity}, model_id, about
            )

    def promote_copy(
        self,
        source: ModelRef,
        name: str,
        tags: Mapping[str, Any] | None = None,
        *,
        about: About = About(),
    ) -> ModelRef:
        """Copy a version to another registered model, with its tags and the given ones.

        The same logged model is never copied twice: then the version that exists gets the tags.
        """
        existing = self.version_of_run(name, source.run_id) if source.run_id else None
        if existing is None or existing.tags.get("model_id") != source.tags.get("model_id"):
            with reporting(self.tracking_uri, f"copying {source} to {name}"):
                all_tags = {**source.tags, **(tags or {})}
                return self._create(name, source.model_uri, source.run_id, all_tags, about=about)
        with reporting(self.tracking_uri, f"tagging {existing}"):
            for key, value in (tags or {}).items():
                self._store.client.set_model_version_tag(name, str(existing.version), key, str(value))
            return self._reference(self._store.client.get_model_version(name, str(existing.version)))

    def version_of(self, name: str, alias: str) -> ModelRef | None:
        """Return the version that the alias points to, or None when there is no such model or alias.

        MLflow takes the alias ``latest`` for the newest version.
        """
        try:
            return self._glance(name, alias, may_correct=True)
        except TrackingError:
            pass  # MLflow then tries again, and reports the error in detail
        with reporting(self.tracking_uri, f"looking up {name}@{alias}"):
            return self._version_of(name, alias)

    def glance(self, name: str, alias: str) -> ModelRef | None:
        """Like `version_of`, but without importing mlflow: raises `TrackingError` if it is needed. Changes nothing."""
        return self._glance(name, alias, may_correct=False)

    def _glance(self, name: str, alias: str, *, may_correct: bool) -> ModelRef | None:
        database = sqlite_file(self.tracking_uri)
        if database and not database.exists():
            return None
        with telling(self.tracking_uri, f"looking up {name}@{alias}"):
            if database:
                return looked_up(database, name, alias, may_correct)
            return asked(self.tracking_uri, name, alias)

    def version(self, name: str, number: int) -> ModelRef | None:
        """Return a version by its number, or None when there is no such one, or it was deleted."""
        with reporting(self.tracking_uri, f"looking up version {number} of {name}"):
            from mlflow.exceptions import MlflowException

            try:
                return self._reference(self._store.client.get_model_version(name, str(number)))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise

    def version_of_run(self, name: str, run_id: str) -> ModelRef | None:
        """Return the newest version of `name` whose model comes from the run, or None."""
        with reporting(self.tracking_uri, f"looking for versions of {name}"):
            found = self._store.client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
            newest = max(found, key=lambda one: int(one.version), default=None)
            return newest and self._reference(newest)

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point the alias to the version, and read it back.

        Raises:
            TrackingError: the store refused, or points elsewhere afterwards.
        """
        with reporting(self.tracking_uri, f"pointing {name}@{alias} to version {version}"):
            self._point(name, alias, version)
            found = self._version_of(name, alias)
        if found is None or found.version != version:
            raise TrackingError(
                f"{redacted(self.tracking_uri)}: {name}@{alias} was set to version {version} but points to "
                f"{found or 'nothing'}: something else moved it. Check with `defect history`, and try again."
            )

    def bundle_of(self, reference: ModelRef, cache_dir: Path) -> Path:
        """Return a local folder with the version's bundle, fetched on first use and then kept.

        The copy is atomic: an interrupted download leaves no incomplete bundle. If the disk has no
        room for a copy of what lies on this machine, the folder is the store's own.

        Raises:
            BundleError: a file is not the one that the version was registered with.
        """
        folder = self._at_hand(reference, kept_at(reference, cache_dir))
        require_sealed(folder, reference.seal, str(reference))
        return folder

    def _at_hand(self, reference: ModelRef, folder: Path) -> Path:
        if folder.is_dir():
            return folder
        try:
            return self._kept(reference, folder, self.fetch)
        except OSError as error:
            lying = self.lying(reference)
            if lying is None or not without_room(error):
                raise
            log.warning("%s: no space for a copy of %s, which is read from the store", folder.parent, lying)
            return lying

    def _kept(self, reference: ModelRef, folder: Path, fetch: Callable[[ModelRef, Path], Path]) -> Path:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with working_folder(folder.parent) as work:
            fetched = fetch(reference, work)
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster
                    raise
        return folder

    def brought(self, reference: ModelRef, cache_dir: Path) -> bool:
        """Bring the bundle here if that takes no mlflow; say whether `bundle_of` needs none now."""
        folder = kept_at(reference, cache_dir)
        is_local = bool(reference.location) and local_path(reference.location) is not None
        if is_local or folder.is_dir():
            return True
        with suppress(IndirectError, OSError):  # of the disk here: `bundle_of` may do without a copy
            return self._kept(reference, folder, self._directly).is_dir()
        return False

    def fetch(self, reference: ModelRef, folder: Path) -> Path:
        """Put the version's bundle into the folder, and return its path there."""
        with suppress(IndirectError):
            return self._directly(reference, folder)
        if lying := self.lying(reference):
            return copy_files(lying, folder / BUNDLE)
        return self._downloaded(reference, self._location(reference), folder)

    def _directly(self, reference: ModelRef, folder: Path) -> Path:
        return fetched_directly(self.tracking_uri, reference, BUNDLE, folder / BUNDLE)

    def lying(self, reference: ModelRef) -> Path | None:
        """Return the folder of the version's bundle in the store; None if it is on another machine.

        Raises:
            TrackingError: the folder isn't there.
        """
        local = local_path(self._location(reference))
        if local is None or (local / BUNDLE).is_dir():
            return local and local / BUNDLE
        raise TrackingError(
            f"{local / BUNDLE}: not found, but {reference} needs this folder. Restore it if it was moved or deleted, or "
            "train, evaluate and promote another version."
        )

    def _location(self, reference: ModelRef) -> str:
        location = reference.location
        if not location:
            with reporting(self.tracking_uri, f"looking up the files of {reference}"):
                client = self._store.client
                location = str(client.get_model_version_download_uri(reference.name, str(reference.version)))
        return location

    def _point(self, name: str, alias: str, version: int) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._store.client.set_registered_model_alias(name, alias, str(version))
        except MlflowException as error:
            database = sqlite_file(self.tracking_uri)
            if database is None or "is full" not in str(error):  # so says SQLite
                raise
            point(database, name, alias, version)

    @cached_property
    def _store(self) -> Store:
        return connect(self.tracking_uri)

    def _create(
        self,
        name: str,
        source: str,
        run_id: str,
        tags: Mapping[str, Any],
        model_id: str | None = None,
        about: About = About(),
    ) -> ModelRef:
        from mlflow.exceptions import MlflowException

        client = self._store.client
        try:
            client.create_registered_model(name, description=about.model or None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        texts = {key: str(value) for key, value in tags.items()}
        created = client.create_model_version(
            name, source, run_id, tags=texts, model_id=model_id, description=about.version or None
        )
        if linked := texts.get("model_id"):
            self._link(linked, {"name": name, "version": int(created.version)})
        return self._reference(created)

    def _link(self, model_id: str, made: dict[str, Any]) -> None:
        """Show the version on MLflow's page of the logged model; a server does so for some versions only."""
        tags = self._store.client.get_logged_model(model_id).tags
        known = json.loads(tags.get("mlflow.modelVersions", "[]"))
        if made not in known:
            self._store.client.set_logged_model_tags(
                model_id, {"mlflow.modelVersions": json.dumps([*known, made])}
            )

    def _version_of(self, name: str, alias: str) -> ModelRef | None:
        from mlflow.exceptions import MlflowException

        try:
            return self._reference(self._store.client.get_model_version_by_alias(name, alias))
        except MlflowException as error:
            missing_alias = error.error_code == "INVALID_PARAMETER_VALUE" and "not found" in str(error)
            if error.error_code == "RESOURCE_DOES_NOT_EXIST" or missing_alias:
                return None
            raise

    def _reference(self, found: Any) -> ModelRef:
        return ModelRef(found.name, int(found.version), found.run_id or "", dict(found.tags))

    def _downloaded(self, reference: ModelRef, location: str, folder: Path) -> Path:
        with reporting(self.tracking_uri, f"downloading {reference} from {location}"):
            from mlflow.artifacts import download_artifacts

            return Path(
                download_artifacts(
                    f"{location.rstrip('/')}/{BUNDLE}", dst_path=str(folder), tracking_uri=self.tracking_uri
                )
            )


def kept_at(reference: ModelRef, cache_dir: Path) -> Path:
    """Return the path of the local copy of a version's bundle, which may not exist yet."""
    return cache_dir / "models" / f"{reference.name}-{reference.version}-{_identity(reference)}"


def _identity(reference: ModelRef) -> str:
    """Tell versions of the same name and number apart that come from different stores."""
    known = reference.tags.get("model_id") or reference.run_id
    return known or hashlib.sha256(reference.location.encode()).hexdigest()[:16]


def local_path(location: str) -> Path | None:
    """Return the path of a ``file:`` URI or a plain path, or None for an address elsewhere."""
    parsed = urlparse(location)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(location) if parsed.scheme == "" else None
