"""``GET /models``: the served model and the registered versions."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from defect_detection.serving.addresses import absolute
from defect_detection.serving.answer import as_json
from defect_detection.serving.champion import LoadedChampion
from defect_detection.serving.of_product import project
from defect_detection.serving.problems import described, for_caller
from defect_detection.tracking.lease import PROMOTIONS
from defect_detection.tracking.ledger_entry import DecisionKind
from defect_detection.tracking.ledger_listing import ListedEntry, list_entries
from defect_detection.tracking.reading import ListedVersion, ModelRef, versions_of

MODELS = Tag(name="models", description="The models, and the one in production")

models_api = APIBlueprint("models", __name__)


class Tested(BaseModel):
    """Figures on the test images, with their fractions; null where they aren't known."""

    accuracy: str | None = Field(examples=["198/200 (99.0 %)"])
    escapes: str | None = Field(description="defective parts passed", examples=["1/100 (1.0 %)"])
    overkill: str | None = Field(description="OK parts rejected", examples=["1/100 (1.0 %)"])


class Evaluated(BaseModel):
    """The latest evaluation of a version, and the gate's decision."""

    outcome: str = Field(description="promote, passed, hold or insufficient evidence")
    kind: str
    when: datetime
    why: str
    gated: bool = Field(description="whether the gate decided")
    report: str | None = Field(description="address of its report, if it is on this machine")


class Deciding(Tested):
    """The model that decides now."""

    name: str = Field(examples=["Production_Reg"])
    version: int = Field(examples=[3])
    uri: str = Field(examples=["models:/Production_Reg/3"])
    run_id: str = Field(description="of its training; empty if unknown")
    created: str = Field(description="when it was trained, ISO 8601")
    image_size: int | tuple[int, int] = Field(
        description="height and width of its input, in pixels; one number for a square", examples=[224]
    )
    threshold: float = Field(examples=[0.41])
    threshold_rule: str = Field(examples=["balanced"])
    score_is: Literal["probability", "anomaly"] = Field(
        description="anomaly: it learned from OK images alone, and its score is not P(defective)"
    )
    review_low: float | None = Field(description="scores from here to review_high get the verdict review")
    review_high: float | None
    defect_types: list[str] = Field(description="used for training", examples=[["scratch"]])
    validation: dict[str, float] = Field(description="its figures on validation images")


class Version(Tested):
    """A version of a registered model."""

    name: str = Field(examples=["Production_Reg"])
    version: int = Field(examples=[3])
    uri: str = Field(examples=["models:/Production_Reg/3"])
    run_id: str
    created: datetime
    aliases: list[str] = Field(examples=[["prod"]])
    tags: dict[str, str] = Field(
        description="evidence_remark: present if the evidence does not lie on the defects",
        examples=[{"test_accuracy": "0.9930"}],
    )
    metrics: dict[str, float] = Field(description="of the training run", examples=[{"val_auroc": 0.998}])
    decision: Evaluated | None = Field(description="null: not evaluated")


class Models(BaseModel):
    """`champion` is null while no model is loaded. `problem`: why the promoted version is not served, if so."""

    champion: Deciding | None
    problem: str | None
    versions: list[Version] = Field(
        description="the newest 20 versions of each registered model, newest first"
    )


@models_api.get(
    "/models",
    summary="List the served model and the registered versions",
    tags=[MODELS],
    responses={200: Models, 503: described(503)},
)
def models() -> Response:
    served, config = project().served, project().config
    names = dict.fromkeys(
        (config.inference_model_name, config.mlflow.production_model_name, config.mlflow.testing_model_name)
    )
    entries = [
        one
        for one in list_entries(config.tracking_uri, config.named(PROMOTIONS))
        if one.entry.kind is DecisionKind.EVALUATION
    ]
    listed = [one for name in names for one in versions_of(config.tracking_uri, name)]
    answer = Models(
        champion=_deciding(served.loaded) if served.loaded else None,
        problem=served.problem and for_caller(served.problem),
        versions=[_version(one, entries, config.mlflow.production_model_name) for one in listed],
    )
    return as_json(answer)


def _deciding(champion: LoadedChampion) -> Deciding:
    reference, card = champion.reference, champion.inspector.card
    return Deciding(
        name=reference.name,
        version=reference.version,
        uri=reference.model_uri,
        run_id=reference.run_id,
        created=card.created,
        image_size=card.image_size,
        threshold=card.threshold,
        threshold_rule=card.operating_point.rule,
        score_is=card.score_is,
        review_low=card.review_low,
        review_high=card.review_high,
        defect_types=list(card.defect_types),
        validation=card.validation,
        **_tested(reference),
    )


def _version(listed: ListedVersion, entries: Sequence[ListedEntry], production: str) -> Version:
    reference = listed.reference
    return Version(
        name=reference.name,
        version=reference.version,
        uri=reference.model_uri,
        run_id=reference.run_id,
        created=listed.created,
        aliases=list(listed.aliases),
        tags=dict(reference.tags),
        metrics=dict(listed.metrics),
        decision=next((_evaluated(one) for one in entries if _is_about(one, reference, production)), None),
        **_tested(reference),
    )


def _tested(reference: ModelRef) -> dict[str, str | None]:
    tags = {"accuracy": "test_correct", "escapes": "test_escapes", "overkill": "test_overkill"}
    return {name: reference.tags.get(tag) for name, tag in tags.items()}


def _is_about(listed: ListedEntry, reference: ModelRef, production: str) -> bool:
    if listed.candidate_run_id and reference.run_id:
        return listed.candidate_run_id == reference.run_id
    return reference.name == production and listed.entry.after == reference.version


def _evaluated(listed: ListedEntry) -> Evaluated:
    facts = {name: getattr(listed.entry, name) for name in ("outcome", "kind", "when", "why", "gated")}
    report = absolute(f"/reports/{listed.entry.run_id}") if listed.has_report else None
    return Evaluated(**facts, report=report)
