"""Count test-set reuse: each decision adapts the promoted model a little to the test images."""

from defect_detection.tracking.store import connect, reporting


def count_decisions(tracking_uri: str, experiment: str, fingerprint: str) -> int:
    """Return how many decisions the experiment holds on the test images with this fingerprint, unfinished ones too.

    Raises:
        TrackingError: the store can't be reached.
    """
    store = connect(tracking_uri, experiment)
    condition = f"params.test_fingerprint = '{fingerprint}'"
    with reporting(tracking_uri, "counting decisions"):
        found = store.client.search_runs([store.experiment_id], condition, max_results=1000)
        count = len(found)
        while found.token:
            found = store.client.search_runs(
                [store.experiment_id], condition, max_results=1000, page_token=found.token
            )
            count += len(found)
    return count


def in_words(number: int, warn_from: int) -> str:
    """Return the remark of the report on the `number`th decision on the same test images."""
    if number < warn_from:
        return f"Decision {number} on these test images"
    return (
        f"Warning: decision {number} on these test images (evaluation.max_decisions_per_test_set: {warn_from}). Each "
        "decision adapts the promoted model a little to these images (test-set reuse); collect new test images"
    )
