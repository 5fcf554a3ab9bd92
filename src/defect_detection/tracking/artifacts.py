"""Read a file that a run has logged."""

from pathlib import Path

from defect_detection.files.unfinished import working_folder
from defect_detection.tracking.store import connect, reporting


def artifact_of(tracking_uri: str, run_id: str, name: str) -> bytes | None:
    """Return the content of a file directly in a run's artifacts; None if there is no such run or file.

    Raises:
        TrackingError: the store can't be reached.
    """
    client = connect(tracking_uri).client
    with reporting(tracking_uri, f"reading {name} of run {run_id}"), working_folder() as folder:
        from mlflow.exceptions import MlflowException

        try:
            if name not in {found.path for found in client.list_artifacts(run_id)}:
                return None
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return Path(client.download_artifacts(run_id, name, str(folder))).read_bytes()
