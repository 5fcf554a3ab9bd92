"""``GET /models``: what is served, and which versions there are."""

from datetime import datetime

from flask import Response, current_app, jsonify
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from defect_detection.config import Config
from defect_detection.serving.champion import Champion, Served
from defect_detection.serving.problems import described
from defect_detection.tracking.listing import Listed, versions_of

MODELS = Tag(name="models", description="Which models there are, and which one decides")

models_api = APIBlueprint("models", __name__)


class Deciding(BaseModel):
    """The model that decides now."""

    name: str = Field(examples=["Production_Reg"])
    version: int = Field(examples=[3])
    uri: str = Field(examples=["models:/Production_Reg/3"])
    run_id: str = Field(description="of its training; empty where unknown")
    created: str = Field(description="when it was trained, ISO 8601")
    image_size: int = Field(description="px, height and width that it sees", examples=[224])
    threshold: float = Field(examples=[0.41])
    threshold_rule: str = Field(examples=["balanced"])
    review_low: float | None = Field(description="scores from here to review_high are for a person")
    review_high: float | None
    defect_types: list[str] = Field(description="that it was trained on", examples=[["scratch"]])
    validation: dict[str, float] = Field(description="its figures on the validation images")


class Version(BaseModel):
    """A version of a registered model."""

    name: str = Field(examples=["Production_Reg"])
    version: int = Field(examples=[3])
    uri: str = Field(examples=["models:/Production_Reg/3"])
    run_id: str
    created: datetime
    aliases: list[str] = Field(examples=[["prod"]])
    tags: dict[str, str] = Field(
        description="evidence_remark: where the evidence lies elsewhere than on the defects",
        examples=[{"test_accuracy": "0.9930"}],
    )
    metrics: dict[str, float] = Field(
        description="of the run that trained it", examples=[{"val_auroc": 0.998}]
    )


class Models(BaseModel):
    """`champion` is null while no model is loaded. `problem` says why what is promoted isn't served, if so."""

    champion: Deciding | None
    problem: str | None
    versions: list[Version] = Field(description="the newest 20 of each registered model, the newest first")


@models_api.get(
    "/models",
    summary="What is served, and which versions there are",
    tags=[MODELS],
    responses={200: Models, 503: described(503)},
)
def models() -> Response:
    served: Served = current_app.extensions["served"]
    config: Config = current_app.extensions["config"]
    names = dict.fromkeys(
        (config.inference_model_name, config.mlflow.production_model_name, config.mlflow.testing_model_name)
    )
    listed = [one for name in names for one in versions_of(config.tracking_uri, name)]
    answer = Models(
        champion=_deciding(served.loaded) if served.loaded else None,
        problem=served.problem,
        versions=[_version(one) for one in listed],
    )
    return jsonify(answer.model_dump(mode="json"))


def _deciding(champion: Champion) -> Deciding:
    reference, card = champion.reference, champion.inspector.card
    return Deciding(
        name=reference.name,
        version=reference.version,
        uri=reference.model_uri,
        run_id=reference.run_id,
        created=card.created,
        image_size=card.image_size,
        threshold=card.threshold,
        threshold_rule=card.threshold_rule,
        review_low=card.review_low,
        review_high=card.review_high,
        defect_types=list(card.defect_types),
        validation=card.validation,
    )


def _version(listed: Listed) -> Version:
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
    )
