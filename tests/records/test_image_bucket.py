"""Inspected images in object storage: a real server of the protocol of S3, and PostgreSQL beside it."""

import pytest
from object_storage import SECRET, storage_server, use
from postgres import plain
from recorded import image_of, inspected
from waiting import LIMIT_S, wait_until

from benchmarks.ports import free_port
from defect_detection.config import load_config
from defect_detection.errors import BackupError, ConfigError, RecordsError
from defect_detection.records.copying import images_of
from defect_detection.records.feedback import add_feedback
from defect_detection.records.labelled_images import export_feedback
from defect_detection.records.record_store import Records
from defect_detection.records.retention import prune
from defect_detection.records.room import make_room
from defect_detection.use_cases.backup import back_up

N_IMAGES = 5


@pytest.fixture
def settings(tmp_path):
    """A function that loads settings with images at an address."""
    (tmp_path / "config.yaml").touch()
    return lambda address: load_config(tmp_path / "config.yaml", [f"records.images={address}"])


@pytest.fixture
def open_records(settings):
    """A function that opens records with images at an address."""
    opened = []

    def open_(address: str) -> Records:
        opened.append(Records.of(settings(address)))
        return opened[-1]

    yield open_
    for records in opened:
        records.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request, bucket, open_records, monkeypatch):
    """Records of five inspections, with both databases."""
    if request.param == "postgresql":
        monkeypatch.setenv("DATABASE_URL", plain(request.getfixturevalue("postgres_records_url")))
    records = open_records(bucket)
    for number in range(N_IMAGES):
        records.recorder.record(inspected(number), image_of(number))
    assert records.recorder.flush(LIMIT_S)
    return records


def kept(records: Records) -> list[bytes | None]:
    return [records.images.read(*image) for image in images_of(records.database)]


def test_images_are_kept_read_exported_removed_for_room_and_pruned(records, tmp_path):
    assert set(kept(records)) == {image_of(number) for number in range(N_IMAGES)}
    add_feedback(records.database, "00000000", "ok", "chief")
    assert export_feedback(records.database, records.images, tmp_path / "feedback", ["ok"]).written == 1
    assert make_room(records.database, records.images, 300)[0] == 2
    assert len(kept(records)) == N_IMAGES - 2
    orphan = inspected(9).sha256
    list(records.images.add_all([(orphan, image_of(9))]))
    assert prune(records.database, records.images, None, None).leftovers == 0  # it is too young
    (entry,) = [files[orphan] for files in records.images.files_by_folder() if orphan in files]
    assert records.images.remove_if_older(entry, -LIMIT_S)
    assert records.images.read(orphan, ".png") is None
    assert not records.images.remove_if_older(entry, -LIMIT_S)
    assert None not in kept(records)


def test_what_another_server_has_overwritten_is_not_taken_for_the_image(records):
    sha256, suffix = images_of(records.database)[0]
    records.images._files.pipe_file(records.images._key(sha256, suffix), b"something else")
    assert records.images.read(sha256, suffix) is None


@pytest.mark.parametrize(
    ("address", "variable", "value", "said"),
    [
        (
            "s3://missing/x",
            "AWS_REGION",
            "us-east-1",
            "NoSuchBucket.*Create the bucket, or correct records.images",
        ),
        (
            "s3://tests/x",
            "AWS_SECRET_ACCESS_KEY",
            "wrong",
            "SignatureDoesNotMatch.*Allow the key in AWS_ACCESS_KEY_ID",
        ),
        (
            "s3://tests/x",
            "AWS_ACCESS_KEY_ID",
            "nobody",
            "InvalidAccessKeyId.*Allow the key in AWS_ACCESS_KEY_ID",
        ),
        ("s3://tests/x", "AWS_ENDPOINT_URL", f"http://user:{SECRET}@127.0.0.1:1", "that AWS_ENDPOINT_URL"),
    ],
)
def test_what_cannot_be_used_says_so_and_keeps_the_inspections(
    bucket, open_records, monkeypatch, caplog, address, variable, value, said
):
    monkeypatch.setenv(variable, value)
    records = open_records(address)
    with pytest.raises(RecordsError, match=said) as caught:
        records.recorder.check()
    with pytest.raises(RecordsError, match=said):
        records.images.read("0" * 64, ".png")
    records.recorder.record(inspected(1), image_of(1))
    wait_until(lambda: records.recorder.state().error is not None)
    state = records.recorder.state()
    assert (state.waiting, state.lost, state.images_lost) == (1, 0, 0)
    assert SECRET not in str(caught.value) + caplog.text + str(state.error)


def test_inspections_wait_for_a_storage_that_is_not_there_yet(open_records, tmp_path, monkeypatch):
    port = free_port()
    use(monkeypatch, f"http://127.0.0.1:{port}")
    records = open_records("s3://tests/line1")
    records.recorder.record(inspected(1), image_of(1))
    wait_until(lambda: records.recorder.state().error is not None)
    (tmp_path / "storage").mkdir()
    with storage_server(tmp_path / "storage", port):
        assert records.recorder.flush(LIMIT_S)
        assert kept(records) == [image_of(1)]
        assert records.recorder.state().images_lost == 0


def test_an_address_with_credentials_is_refused_and_not_repeated(settings):
    with pytest.raises(ConfigError, match=r"records.images: expected null or an address") as caught:
        settings("s3://key:hidden@tests/x")
    assert "hidden" not in str(caught.value)


def test_a_backup_of_a_project_with_images_elsewhere_is_refused(settings, tmp_path):
    with pytest.raises(BackupError, match=r"records\.images is s3"):
        back_up(settings("s3://tests/x"), tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
