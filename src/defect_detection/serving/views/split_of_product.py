"""Views of a product's test split: a proposal, and the choice."""

from typing import Annotated

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import BaseModel, Field

from defect_detection.serving.answer import as_json
from defect_detection.serving.callers import caller
from defect_detection.serving.of_product import project
from defect_detection.serving.strict import NUMBER, Query
from defect_detection.serving.views.data_failures import DATA, FAILURES, register_failures
from defect_detection.serving.views.images_of_product import ChangedShown, changed
from defect_detection.use_cases.freeze_split import Proposal, Share, freeze_split, propose_split

split_of_product_api = APIBlueprint("split_of_product", __name__)
register_failures(split_of_product_api)


class ProposalQuery(Query):
    share: float = Field(0.2, ge=0.05, le=0.5, description="share of the images for the test split")


class ShareShown(BaseModel):
    name: str = Field(description="OK, a type of defect, or a day", examples=["scratch"])
    train: int
    test: int


class ProposalShown(BaseModel):
    """A proposed test split: whole parts, with equal shares of each type and day."""

    state: str = Field(
        description="state of the images; send it with the choice. If it differs then, images have changed"
    )
    images: int = Field(description="images for the test split")
    parts: int
    kinds: list[ShareShown]
    days: list[ShareShown]
    without_part: int = Field(description="images without a part; each counts as a separate part")


class ChoiceBody(BaseModel, extra="forbid"):
    share: Annotated[float, Field(ge=0.05, le=0.5), NUMBER] = Field(0.2, description="share of the proposal")
    state: str = Field(pattern="^[0-9a-f]{16}$", description="state of the proposal")


@split_of_product_api.get(
    "/data/split",
    summary="Propose a test split: whole parts, with equal shares of each type and day",
    tags=[DATA],
    responses={200: ProposalShown, **FAILURES},
)
def propose(query: ProposalQuery) -> Response:
    return as_json(_shown(propose_split(project().images, query.share)))


@split_of_product_api.post(
    "/data/split",
    summary="Choose the proposed test split. It is frozen from then on",
    tags=[DATA],
    responses={200: ChangedShown, **FAILURES},
)
def choose(body: ChoiceBody) -> Response:
    return changed(freeze_split(project().images, body.share, body.state, caller().name))


def _shown(proposal: Proposal) -> ProposalShown:
    return ProposalShown(
        state=proposal.state,
        images=proposal.images,
        parts=proposal.parts,
        kinds=_shares(proposal.kinds),
        days=_shares(proposal.days),
        without_part=proposal.without_part,
    )


def _shares(found: tuple[Share, ...]) -> list[ShareShown]:
    return [ShareShown(name=one.name, train=one.train, test=one.test) for one in found]
