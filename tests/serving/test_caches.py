"""Responses with records are never cached, because the key may be revoked."""

from recorded import image_of, inspected
from tiny import DARK, encoded
from waiting import LIMIT_S

from defect_detection.serving.services import services_of


def test_no_answer_is_kept_by_a_cache(app, send):
    recorder = services_of(app).records.recorder
    recorder.record(inspected(1), image_of(1))
    assert recorder.flush(LIMIT_S)
    found = f"/inspections/{inspected(1).id}"
    answers = {
        path: send("GET", path)
        for path in (
            "/inspections",
            found,
            f"{found}/image",
            f"{found}/preview",
            "/statistics",
            "/monitoring",
            "/jobs",
            "/no",
        )
    }
    answers["too long"] = send("GET", "/", X="a" * 70_000)  # refused before the application sees it
    answers["/predict"] = send("POST", "/predict", encoded(DARK), **{"Content-Type": "image/png"})
    assert [answers[path].status for path in (f"{found}/image", "/no", "too long", "/predict")] == [
        200,
        404,
        431,
        200,
    ]
    assert {path: answer.headers["Cache-Control"] for path, answer in answers.items()} == dict.fromkeys(
        answers, "no-store"
    )


def test_static_files_of_the_page_may_be_kept(send):
    answer = send("GET", "/static/page.css")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
