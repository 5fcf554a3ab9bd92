"""The request and response models of ``POST /predict``."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from defect_detection.data.boxes import Boxes
from defect_detection.serving.problems import Problem
from defect_detection.serving.routes import DESCRIBED, PARAMETER
from defect_detection.serving.strict import PLAIN_PATTERN, PlainName, Query, Words
from defect_detection.serving.uploads import FIELD, SAID

BINARY = {"type": "string", "format": "binary"}
IMAGE_TYPES = ("image/jpeg", "image/png", "image/bmp", "image/tiff", "image/webp", "application/octet-stream")


class ServedModel(BaseModel):
    """The model that decided."""

    name: str = Field(examples=["Production_Reg"])
    version: int = Field(examples=[3])
    uri: str = Field(description="for MLflow", examples=["models:/Production_Reg/3"])


class Evidence(BaseModel):
    """Where the defect is."""

    shape: list[int] = Field(description="rows and columns of the evidence map", examples=[[14, 14]])
    extent: list[float] = Field(
        description="left, top, width and height of the rectangle that the map covers, in fractions of the upright image; padding "
        "lies outside of it",
        examples=[[0, 0, 1, 1]],
    )
    values: list[list[float]] | None = Field(
        None, description="explain=array: log-odds of a defect in each cell; higher means more defective"
    )
    overlay_png: str | None = Field(
        None,
        description="explain=overlay: the upright image in its own size with the evidence map, in base64. For one image it "
        "appears at the top level only, and is null in results",
    )


class BoxShown(BaseModel):
    """A connected area of evidence above the level that corresponds to the threshold."""

    box: list[int] = Field(
        description="left, top, width and height in pixels of the upright image", examples=[[112, 64, 48, 32]]
    )
    area_px: int = Field(description="of its cells, in pixels of the upright image", examples=[1280])
    share: float = Field(
        description="its share of the odds of all cells of the image", ge=0, le=1, examples=[0.81]
    )
    box_mm: list[float] | None = Field(
        None,
        description="the same as box in mm; null without data.mm_per_px",
        examples=[[5.6, 3.2, 2.4, 1.6]],
    )
    area_mm2: float | None = Field(
        None, description="the area in mm²; null without data.mm_per_px", examples=[3.2]
    )

    @classmethod
    def all_of(cls, boxes: Boxes) -> "list[BoxShown]":
        empty = {"box_mm": None, "area_mm2": None}
        return [cls.model_construct(**(empty | one)) for one in boxes.to_json()]


class TypeShown(BaseModel):
    """A type of defect that the model names."""

    type: str = Field(description="a type of the training images, other or unknown", examples=["scratch"])
    probability: float | None = Field(
        description="of this type, if the part is defective; null of unknown", examples=[0.92]
    )


class Prediction(BaseModel):
    """The verdict on one image. Of an image that got none, all but `name` and `error` is null."""

    id: str | None = Field(
        default=None, description="of this inspection", examples=["6f9e1f0c2b4d4f8a9a3f1f0c2b4d4f8a"]
    )
    name: str | None = Field(
        default=None, description="the file name given by the sender; empty if none was sent"
    )
    verdict: Literal["ok", "defective", "review"] | None = None
    score: float | None = Field(
        default=None,
        description="P(defective), or an anomaly score: see score_is",
        ge=0,
        le=1,
        examples=[0.97],
    )
    score_is: Literal["probability", "anomaly"] | None = Field(
        default=None,
        description="anomaly: the model learned from OK images alone, and its score is not P(defective)",
        examples=["probability"],
    )
    threshold: float | None = Field(
        default=None,
        description="an image is defective when score >= threshold; null for callers without a key",
        examples=[0.41],
    )
    reason: str | None = Field(
        default=None,
        description="how the image differs from the training images, so its verdict is never ok; null if it does not differ",
        examples=["brightness 3 is outside 92 to 140, the range of the training images"],
    )
    novelty: float | None = Field(
        default=None,
        description="difference from the OK training images, in standard deviations; null: this model measures no novelty",
        examples=[0.4],
    )
    model: ServedModel | None = None
    latency_ms: float | None = Field(default=None, description="decoding and the model", examples=[6.1])
    page: int | None = Field(
        default=None, description="the page that decided, counted from 1 (data.pages: all)"
    )
    pages: int | None = Field(default=None, description="number of inspected pages")
    defect_type: str | None = Field(
        default=None,
        description="the strongest type of defect: one of the training images, other (a type with few images) or unknown (the model "
        "is unsure); null if the verdict is ok, or if this model does not distinguish types",
        examples=["scratch"],
    )
    defect_type_probability: float | None = Field(
        default=None,
        description="of the strongest type, if the part is defective; null of unknown",
        examples=[0.92],
    )
    defect_types: list[TypeShown] | None = Field(
        default=None,
        description="all types, strongest first; more than one only if training images have several",
    )
    image_size: list[int] | None = Field(
        default=None, description="width and height of the upright image in pixels", examples=[[640, 480]]
    )
    boxes: list[BoxShown] | None = Field(
        default=None,
        description="where the defects are, strongest first; empty if the score is below the threshold",
    )
    ignored_boxes: int | None = Field(
        default=None, description="areas below evaluation.min_defect_px, which get no box", examples=[0]
    )
    evidence: Evidence | None = Field(default=None, description="with explain")
    error: Problem | None = Field(
        default=None, description="why it has no verdict; only for one image among several"
    )


Explain = Literal["0", "false", "1", "true", "overlay", "array"]


class PredictQuery(Query):
    """The form of the response, and facts to record. In a form they may be fields instead, except `name`."""

    explain: Explain = Field(
        "0", description="1, true, overlay: add an overlay; array: add the evidence map as numbers"
    )
    name: Words = Field("", description="file name, if the image is the body")
    group: PlainName = Field("", description="the same for all images of one part or lot")
    line: PlainName = ""
    station: PlainName = ""
    part: PlainName = ""


NOTHING = Prediction().model_dump()
EXAMPLE = {
    "id": "6f9e1f0c2b4d4f8a9a3f1f0c2b4d4f8a",
    "name": "part.png",
    "verdict": "defective",
    "score": 0.97,
    "score_is": "probability",
    "threshold": 0.41,
    "reason": None,
    "novelty": 0.4,
    "model": {"name": "Production_Reg", "version": 3, "uri": "models:/Production_Reg/3"},
    "latency_ms": 6.1,
    "page": 1,
    "pages": 1,
    "defect_type": "scratch",
    "defect_type_probability": 0.92,
    "defect_types": [{"type": "scratch", "probability": 0.92}],
    "image_size": [640, 480],
    "boxes": [
        {
            "box": [112, 64, 48, 32],
            "area_px": 1280,
            "share": 0.81,
            "box_mm": [5.6, 3.2, 2.4, 1.6],
            "area_mm2": 3.2,
        }
    ],
    "ignored_boxes": 0,
    "evidence": None,
    "error": None,
}
FAILED_EXAMPLE = dict.fromkeys(EXAMPLE) | {
    "name": "notes.txt",
    "error": {
        "type": "about:blank",
        "title": "Unsupported Media Type",
        "status": 415,
        "detail": "expected a JPEG, PNG, BMP, TIFF or WebP image, received 5 bytes of something else",
    },
}
WORDS = {"type": "string", "maxLength": 200, "pattern": PLAIN_PATTERN}
REQUEST_BODY = {
    "description": "an image, or a form with one or more images. The parameters may be form fields instead, each once",
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {
                        "type": "array",
                        "items": BINARY,
                        "minItems": 1,
                        "description": "one or more files",
                    },
                    **{name: WORDS for name in SAID if name not in ("explain", PARAMETER)},
                    PARAMETER: DESCRIBED["schema"],
                    "explain": {"type": "string", "enum": list(get_args(Explain))},
                },
                "additionalProperties": False,
            }
        },
        **{kind: {"schema": BINARY} for kind in IMAGE_TYPES},
    },
}


class Answer(Prediction):
    """The verdicts on all images, in order. For one image, the top level repeats its verdict; otherwise it is null."""

    results: list[Prediction] = Field(description="one entry per image, in the order sent")

    model_config = ConfigDict(
        openapi_extra={  # type: ignore[typeddict-unknown-key]
            "description": "the verdicts; with 'Accept: image/png' an overlay of a single image",
            "examples": {
                "one image": {"value": EXAMPLE | {"results": [EXAMPLE]}},
                "several images": {"value": dict.fromkeys(EXAMPLE) | {"results": [EXAMPLE, FAILED_EXAMPLE]}},
            },
            "content": {"image/png": {"schema": BINARY}},
        },
    )
