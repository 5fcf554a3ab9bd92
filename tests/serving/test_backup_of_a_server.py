"""A backup of a project whose server runs, and the project that is restored from it elsewhere."""

import json
import threading
import urllib.request
from collections.abc import Iterator

import numpy as np
from plant import Plant
from tiny import encoded
from waiting import wait_until
from whole import whole_server

from defect_detection.records.paging import Filter, find_page
from defect_detection.records.record_store import Records
from defect_detection.serving.services import services_of
from defect_detection.use_cases.backup import back_up
from defect_detection.use_cases.history import history
from defect_detection.use_cases.restore import restore


def images() -> Iterator[bytes]:
    random = np.random.default_rng(0)
    while True:
        yield encoded(random.integers(0, 256, (64, 64, 3), np.uint8))


def predict(address: str, image: bytes) -> str:
    request = urllib.request.Request(f"{address}/predict", image, {"Content-Type": "image/png"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read())["model"]


def test_a_backup_of_a_running_server_is_one_state_and_works_elsewhere(promoted_once, tmp_path):
    line1 = tmp_path / "line1"
    line1.mkdir()
    config = promoted_once.copy(line1).config()
    models, stopped = [], threading.Event()

    def send(address: str) -> None:
        for image in images():
            if stopped.is_set():
                return
            models.append(predict(address, image))

    with whole_server(config) as (app, address):
        predict(address, next(images()))
        recorder = services_of(app).records.recorder
        sender = threading.Thread(target=send, args=(address,))
        sender.start()
        wait_until(lambda: recorder.state().written > 20)
        made = back_up(config, tmp_path / "backup")
        at_the_end = recorder.state().written
        wait_until(lambda: recorder.state().written > at_the_end)
        stopped.set()
        sender.join()
        assert (made.without_image, recorder.state().lost) == ((), 0)
    line1.rename(tmp_path / "switched off")

    restore(tmp_path / "backup", tmp_path / "Halle 3" / "line2")
    line2 = Plant(tmp_path / "Halle 3" / "line2").config()
    assert history(line2).in_production == 1
    assert history(line2).notes == ()
    records = Records.of(line2)
    found = find_page(records.database, Filter(), None, 500).inspections
    assert 20 < len(found) <= at_the_end
    assert all(records.images.read(one.inspected.sha256, one.image_suffix) for one in found)
    records.close()
    with whole_server(line2) as (_, address):
        assert predict(address, next(images())) == models[0]
