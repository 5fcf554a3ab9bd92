"""How a retraining in a separate process ended."""

from dataclasses import dataclass

from defect_detection.processes.messages import Message


@dataclass(frozen=True, slots=True)
class RetrainingOutcome:
    """How a retraining ended. `failure` says why when it did not succeed.

    stdout, stderr: what a person reads of it. said: all that the script told on standard output.
    """

    failure: str | None
    duration_s: float
    stdout: str
    stderr: str
    exit_code: int | None = None
    said: tuple[Message, ...] = ()

    @property
    def decision(self) -> str | None:
        """Promote, passed, hold or insufficient evidence, as the script told last; None when it told none."""
        return next((message.outcome for message in reversed(self.said) if message.outcome), None)

    @property
    def reason(self) -> str | None:
        """The reasons of the decision: of the last comparison of the script, else the text of its decision."""
        given = [message for message in self.said if message.reason]
        given = [message for message in given if not message.outcome] or given
        return "; ".join(str(one.reason) for one in given if one.step == given[-1].step) or None

    @property
    def images(self) -> int | None:
        """Return how many images it read; None if unknown."""
        return next((message.images for message in reversed(self.said) if message.images), None)

    @property
    def model(self) -> str | None:
        """The registered version; None if no model was kept."""
        return next((message.model for message in reversed(self.said) if message.model), None)
