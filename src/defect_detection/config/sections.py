"""The table of settings, section by section. ``make config`` writes config.yaml from it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from defect_detection.config.base import Section, setting
from defect_detection.config.kinds import (
    BucketAddress,
    Count,
    DeclaredProxies,
    Expected,
    FilePath,
    FolderNames,
    ImageSize,
    InsideUnit,
    OptionalCount,
    OptionalFilePath,
    OptionalPositive,
    Pattern,
    Positive,
    Region,
    RootPath,
    Text,
    WholeNumber,
    YesNo,
)


class MlflowConfig(Section):
    experiment_name: Text = setting(
        "defect-detection", "MLflow experiment of the training runs.", advanced=True
    )
    registered_model_name: Text = setting(
        "Defect_CNN", "registered model for the best model of each training.", advanced=True
    )
    production_model_name: Text = setting(
        "Production_Reg", "registered model for models that reach evaluation_threshold.", advanced=True
    )
    testing_model_name: Text = setting(
        "Testing_Reg", "registered model for models below evaluation_threshold.", advanced=True
    )


class TilesConfig(Section):
    size: Annotated[
        int,
        Field(ge=32, le=1024, multiple_of=16, strict=True),
        Expected("a multiple of 16 from 32 to 1024 (pixels)"),
    ] = setting(448, "height and width of a tile, and of the input of the model.")
    overlap: WholeNumber = setting(64, "pixels that neighbouring tiles share; below size.")
    scale: Annotated[float, Field(gt=0, le=1), Expected("a number, 0 < x <= 1")] = setting(
        1.0, "images are resized by this factor before they are cut.", advanced=True
    )

    @model_validator(mode="after")
    def _overlap_below_size(self) -> "TilesConfig":
        if self.overlap > self.size - 16:
            raise ValueError(f"overlap to be at most size - 16, {self.size - 16}, not {self.overlap}")
        return self


class DataConfig(Section):
    train_dir: FilePath = setting(
        Path("data/train"), "one folder of images per class. Training and validation use it."
    )
    test_dir: FilePath = setting(
        Path("data/test"),
        "same layout as train_dir, used for evaluation only. It must share no image and no group with train_dir.",
    )
    feedback_dir: OptionalFilePath = setting(
        Path("data/feedback"),
        "labelled images. `defect feedback export` and each retraining write them, training reads them. null: feedback is recorded, "
        "but not used for training.",
    )
    challenge_dir: FilePath = setting(
        Path("data/challenge"),
        "known defects, directly or in one folder per defect type. A model must catch all of them to be promoted. The "
        "folder is optional.",
    )
    ok_classes: Annotated[FolderNames, Field(min_length=1)] = setting(
        ("ok", "good", "class_0", "normal", "ok_front"),
        "folders with OK images; every other folder is a defect type. Case, blanks at both ends and Unicode forms are "
        "ignored. A name that resembles an OK class (ok_2024, Good parts) is refused until it is in one of the two lists.",
    )
    defect_classes: FolderNames = setting(
        (), "folders with defective images although the name resembles an OK class."
    )
    image_size: ImageSize = setting(
        224, "images are resized to this height and width in pixels: one number, or [height, width]."
    )
    region: Region = setting(
        None,
        "[left, top, width, height] of the region that the model sees of the upright image, in pixels or in fractions of 1; null: "
        "the whole image. The model does not see pixels outside the region. See docs/regions.md.",
        advanced=True,
    )
    ignore_mask: OptionalFilePath = setting(
        None,
        "gray image of the region's size, or of the image's: its black pixels are ignored; null: no pixel is ignored.",
        advanced=True,
    )
    resize: Annotated[Literal["stretch", "keep_aspect"], Expected("stretch or keep_aspect")] = setting(
        "stretch",
        "stretch: images are stretched to image_size. keep_aspect: images keep their aspect ratio; ignored padding fills the rest.",
        advanced=True,
    )
    tiles: Annotated[TilesConfig | None, Expected("null or keys with values")] = setting(
        None,
        "cuts large images into tiles, which the model inspects at full resolution; null: no tiles. With tiles, image_size and resize "
        "do not apply. See docs/large-images.md.",
        advanced=True,
    )
    group_pattern: Pattern = setting(
        None,
        r"regular expression that finds the group (one part, one lot) in the path below train_dir or test_dir. Images of one "
        r"group stay in one split. Example: '_part(\d+)_'.",
    )
    pages: Annotated[Literal["refuse", "first", "all"], Expected("refuse, first or all")] = setting(
        "refuse",
        "files with several pages (TIFF, animation). refuse: such files count as unreadable. first: only the first page is used. all: "
        "every page is inspected, and the highest score decides; training and test refuse the file. See docs/images.md.",
    )
    bit_depth: Annotated[
        int | None, Field(ge=8, le=16, strict=True), Expected("null, or a whole number from 8 to 16")
    ] = setting(
        None,
        "bit depth of the camera in 16-bit files: with 12, white is 4095 instead of 65535. Training stores it in the model.",
        advanced=True,
    )
    on_unreadable: Annotated[Literal["skip", "refuse"], Expected("skip or refuse")] = setting(
        "skip",
        "skip: damaged images and unsupported files (.heic, .gif, .zip) are left out and listed. refuse: they stop the "
        "training. Notes and labels (.txt, .json, .csv), hidden files and system folders never stop it.",
        advanced=True,
    )
    allow_leakage: YesNo = setting(
        False,
        "false: training stops if train_dir and test_dir share an image or a group. true: training continues, and each "
        "report warns that its figures are too good.",
        advanced=True,
    )
    allow_shortcuts: YesNo = setting(
        False,
        "false: training stops if the file format, size, quality or camera predicts the label. true: training continues, "
        "and each report says so.",
        advanced=True,
    )
    validation_fraction: InsideUnit = setting(
        0.2, "share of the validation images if training.cv_below requires a single split.", advanced=True
    )
    max_pixels: Count = setting(
        25_000_000,
        "width x height: a larger image counts as unreadable. The limits on decoding time and memory grow with this "
        "number. See docs/images.md.",
        advanced=True,
    )
    max_side: Count = setting(
        16_384, "pixels: an image with a longer side counts as unreadable.", advanced=True
    )
    mm_per_px: OptionalPositive = setting(
        None,
        "millimetres per pixel of the original image, such as 0.05. Boxes then also have their size in mm and mm². null: unknown.",
        advanced=True,
    )


class InferenceConfig(Section):
    threads: OptionalCount = setting(None, "CPU threads for the model and for decoding; null: all.")
    precision: Annotated[Literal["f32", "bf16"], Expected("f32 or bf16")] = setting(
        "f32",
        "bf16 is faster on some CPUs, with slightly different scores. It is refused if a golden verdict differs.",
        advanced=True,
    )


class ServingConfig(Section):
    host: Text = setting(
        "0.0.0.0",  # noqa: S104  every interface: what changes state asks remote callers for a key
        "address to listen on. With 127.0.0.1, other machines cannot connect.",
    )
    port: Annotated[int, Field(ge=1, le=65535, strict=True), Expected("a whole number from 1 to 65535")] = (
        setting(5001, "port to listen on.")
    )
    behind_proxy: DeclaredProxies = setting(
        False,
        "true if a reverse proxy on this machine forwards requests; a list if proxies on other machines do. Then every "
        "caller needs a key, also local callers. The server trusts two headers of the proxy: X-Forwarded-Prefix (the path "
        "of the server) and the last address of X-Forwarded-For (the caller).",
    )
    root_path: RootPath = setting(
        "",
        "the path below which a proxy publishes this server. The page works without it. Addresses in responses (Location, "
        "log, image) begin with this path. Requests work with and without it.",
    )
    public: Annotated[
        tuple[Literal["metrics", "models", "statistics"], ...],
        Expected("a list of metrics, models and statistics, or []"),
    ] = setting(
        (),
        "data that everyone may read, in addition to POST /predict and health. models includes thresholds, accuracies and "
        "run ids.",
    )
    api_key: Annotated[
        SecretStr | None,
        Field(min_length=16),
        Expected("null or at least 16 characters, here or in DEFECT_API_KEY"),
    ] = setting(
        None,
        "key that callers must send to change anything or to read records. Preferably set DEFECT_API_KEY in the environment or "
        "in .env; it takes precedence. `defect keys create` creates further keys with a name and a role.",
    )
    rate_limit: OptionalPositive = setting(
        100, "requests per second from one other machine, with bursts of twice as many; null: no limit."
    )
    retrain_timeout_s: Positive = setting(7200, "seconds after which a retraining is stopped.", advanced=True)
    refresh_s: Positive = setting(
        10,
        "seconds within which a server should serve a newly promoted model. It checks for one ten times per period.",
        advanced=True,
    )
    drain_s: Positive = setting(
        20,
        "seconds that open requests have to finish when the server stops. A stopping server accepts no new requests.",
        advanced=True,
    )
    threads: Count = setting(
        8, "requests answered at the same time. POST /retrain occupies one while it waits.", advanced=True
    )
    max_upload_bytes: Count = setting(
        32_000_000,
        "size limit of a request with images, in bytes. data.max_pixels limits each image.",
        advanced=True,
    )
    max_images: Count = setting(64, "images per request.", advanced=True)
    max_models: Count = setting(
        16,
        "models in memory at the same time. The least recently used model is unloaded first, never that of the default product.",
        advanced=True,
    )
    preload: Annotated[tuple[str, ...], Expected("a list of names of products")] = setting(
        (), "products whose model loads when the server starts; others load on first use.", advanced=True
    )
    receive_timeout_s: Positive = setting(
        30, "seconds after which a request that has not arrived completely is refused.", advanced=True
    )


class RecordsConfig(Section):
    images_dir: FilePath = setting(Path("inspections"), "inspected images, named by their content.")
    images: BucketAddress = setting(
        None,
        "object storage for inspected images instead of images_dir, for several servers; null: none. Needs the extra s3. "
        "Credentials and the server come from the environment or .env: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL.",
        advanced=True,
    )
    keep_days: OptionalPositive = setting(
        365, "retention of inspections, images, jobs and logs in days; null: for ever."
    )
    keep_gb: OptionalPositive = setting(
        50,
        "size limit of the images in gigabytes; null: no limit. Old images are deleted as new ones arrive; their records "
        "stay. Images of callers without a key are deleted first, then those of the largest sender and line. Images "
        "with a doubtful verdict are deleted last.",
    )
    anonymous_gb_per_h: OptionalPositive = setting(
        10,
        "gigabytes of images per hour stored for each caller without a key; null: no limit. Beyond it, the caller still "
        "gets verdicts, its images are not stored, and GET /health/records counts them.",
        advanced=True,
    )
    prune_every_h: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Expected("hours above 0 (null for records.keep_days and records.keep_gb keeps everything)"),
    ] = setting(24, "interval of automatic pruning. `defect prune` prunes immediately.", advanced=True)


class JobsConfig(Section):
    run_in_server: YesNo = setting(
        True,
        "false: the server only queues retrainings, and `defect worker` runs them in its own process.",
        advanced=True,
    )
    retrain_after_labels: OptionalCount = setting(
        None,
        "starts a retraining when this many images were labelled since the last request for a retraining; null: never.",
    )


class MonitoringConfig(Section):
    window: Annotated[int, Field(ge=50, le=5000, strict=True), Expected("a whole number from 50 to 5000")] = (
        setting(
            500,
            "number of inspections that are compared at a time: the latest inspections of the model in production.",
            advanced=True,
        )
    )
    persistence: Annotated[int, Field(ge=1, le=20, strict=True), Expected("a whole number from 1 to 20")] = (
        setting(
            3,
            "number of windows in a row that must differ before there is an alarm. With 1, a single unusual lot causes an alarm.",
            advanced=True,
        )
    )
    every_h: Annotated[float, Field(ge=0.05, le=168), Expected("hours from 0.05 to 168")] = setting(
        1, "hours between two comparisons, and at least between the ends of two windows.", advanced=True
    )
    false_alarms_per_year: Positive = setting(
        1,
        "expected number of windows per year that differ by chance, for all figures together. It determines the significance level of "
        "each test. persistence makes false alarms even rarer.",
        advanced=True,
    )
    by_station: YesNo = setting(
        True,
        "true: each line and station is also compared separately, so one dim lamp among twenty is noticed. With several stations, an "
        "alarm needs more windows in a row, so that there are not more false alarms in total.",
        advanced=True,
    )


class ScalingConfig(Section):
    engine: Annotated[Literal["local", "ray"], Expected("local or ray")] = setting(
        "local",
        "local: `defect train` trains in its own process; ray: it trains on a Ray cluster.",
        advanced=True,
    )
    address: Annotated[Text | None, Expected("null, auto, host:port or ray://host:port")] = setting(
        None,
        "address of a running cluster: auto, host:port or ray://host:port; null: the command starts a cluster on this machine.",
        advanced=True,
    )
    trial_cpus: Count = setting(
        2, "processors that a hyperparameter set, or a trial of the search, takes.", advanced=True
    )
    trial_gb: Positive = setting(
        2, "gigabytes of memory that a hyperparameter set, or a trial of the search, takes.", advanced=True
    )
