"""The table of settings, section by section. ``make config`` writes config.yaml from it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from defect_detection.config.base import Section, setting
from defect_detection.config.kinds import (
    Count,
    DeclaredProxies,
    Expected,
    FilePath,
    ImageSize,
    InsideUnit,
    OptionalCount,
    OptionalFilePath,
    OptionalPositive,
    Pattern,
    Positive,
    RootPath,
    Text,
    YesNo,
)


class MlflowConfig(Section):
    experiment_name: Text = setting("defect-detection", "the experiment of training runs.", advanced=True)
    registered_model_name: Text = setting(
        "Defect_CNN", "registered model that gets the best model of each training.", advanced=True
    )
    production_model_name: Text = setting(
        "Production_Reg", "registered model of those that met evaluation_threshold.", advanced=True
    )
    testing_model_name: Text = setting(
        "Testing_Reg", "registered model of those that did not meet it.", advanced=True
    )


class DataConfig(Section):
    train_dir: FilePath = setting(
        Path("data/train"), "one folder of images per class. Training and validation use it."
    )
    test_dir: FilePath = setting(
        Path("data/test"),
        "laid out alike, for evaluation only. It shares no image and no group with train_dir.",
    )
    feedback_dir: OptionalFilePath = setting(
        Path("data/feedback"),
        "labelled images. `defect feedback export` and each retraining write them, training reads them. null: feedback is recorded, "
        "but not used for training.",
    )
    challenge_dir: FilePath = setting(
        Path("data/challenge"),
        "known defects, in it or in one folder per type. A model must catch all of them before it is promoted. It may be missing.",
    )
    ok_classes: Annotated[tuple[str, ...], Field(min_length=1), Expected("a list of folder names")] = setting(
        ("ok", "good", "class_0", "normal", "ok_front"),
        "folders with OK images; every other folder is a type of defect. Case, outer blanks and Unicode forms do not matter. A name "
        "that only looks like OK (ok_2024, Good parts) is refused until it is in one of the two lists.",
    )
    defect_classes: Annotated[tuple[str, ...], Expected("a list of folder names")] = setting(
        (), "folders with defective images, although the name looks like OK."
    )
    image_size: ImageSize = setting(224, "height and width that images are resized to.")
    group_pattern: Pattern = setting(
        None,
        "searched in the path below train_dir or test_dir. Images with the same group (one part, one lot) stay on one side of the "
        r"split. Example: '_part(\d+)_'.",
    )
    pages: Annotated[Literal["refuse", "first", "all"], Expected("refuse, first or all")] = setting(
        "refuse",
        "what to do with a file of several pages (TIFF, animation). refuse: it is not read. first: its first page counts. all: each "
        "page is inspected, and the highest score decides; training and test refuse the file. See docs/images.md.",
    )
    bit_depth: Annotated[
        int | None, Field(ge=8, le=16, strict=True), Expected("null, or a whole number from 8 to 16")
    ] = setting(
        None,
        "bits that the camera uses in 16-bit files: with 12, white is 4095 instead of 65535. The model keeps the value.",
        advanced=True,
    )
    on_unreadable: Annotated[Literal["skip", "refuse"], Expected("skip or refuse")] = setting(
        "skip",
        "skip: broken images and other files (.heic, .gif, .zip) are left out and named. refuse: training stops at them. Notes and "
        "labels (.txt, .json, .csv), hidden files and system folders never stop anything.",
        advanced=True,
    )
    allow_leakage: YesNo = setting(
        False,
        "false: training stops where train_dir and test_dir share an image or a group. true: training goes on, and each report says "
        "that its figures are too good.",
        advanced=True,
    )
    allow_shortcuts: YesNo = setting(
        False,
        "false: training stops where the file format, size, quality or camera predicts the label. true: training goes on, and each "
        "report says so.",
        advanced=True,
    )
    validation_fraction: InsideUnit = setting(
        0.2, "share held out for validation where training.cv_below asks for one split.", advanced=True
    )
    max_pixels: Count = setting(
        25_000_000,
        "width x height: a larger image counts as unreadable. Decoding may take 1.5 s of one core and 250 MB of memory, more in "
        "proportion to this number, and for files above 1 MB. See docs/images.md.",
        advanced=True,
    )
    max_side: Count = setting(
        16_384, "pixels: an image with a longer side counts as unreadable.", advanced=True
    )


class InferenceConfig(Section):
    threads: OptionalCount = setting(None, "CPU threads of the model, and of decoding; null: all.")
    precision: Annotated[Literal["f32", "bf16"], Expected("f32 or bf16")] = setting(
        "f32",
        "bf16 is faster on some CPUs, and scores move a little. It is refused where a golden verdict differs.",
        advanced=True,
    )


class ServingConfig(Section):
    host: Text = setting(
        "0.0.0.0",  # noqa: S104  every interface: what changes state asks remote callers for a key
        "address to listen on. 127.0.0.1 keeps other machines out.",
    )
    port: Annotated[int, Field(ge=1, le=65535, strict=True), Expected("a whole number from 1 to 65535")] = (
        setting(5001, "port to listen on.")
    )
    behind_proxy: DeclaredProxies = setting(
        False,
        "true where a reverse proxy on this machine passes requests on, a list where proxies on other machines do. Then every caller "
        "needs a key, also on this machine. The server trusts two headers of the proxy: X-Forwarded-Prefix, the path below which the "
        "server is published, and the last address of X-Forwarded-For, from which the request came.",
    )
    root_path: RootPath = setting(
        "",
        "the path below which a proxy publishes this server. The page works without it. Addresses in answers (Location, log, image) "
        "begin with this path. Requests are accepted with and without it.",
    )
    public: Annotated[
        tuple[Literal["metrics", "models", "statistics"], ...],
        Expected("a list of metrics, models and statistics, or []"),
    ] = setting(
        (),
        "what everybody may read besides POST /predict and health. models includes thresholds, accuracies and run ids.",
    )
    api_key: Annotated[
        SecretStr | None,
        Field(min_length=16),
        Expected("null or 16 characters or more, here or in DEFECT_API_KEY"),
    ] = setting(
        None,
        "callers send it to change anything, and to read what was recorded. DEFECT_API_KEY in the environment or in .env is the "
        "better place, and wins. `defect keys create` makes more keys, each with a name and a role.",
    )
    rate_limit: OptionalPositive = setting(
        100, "requests per second of one other machine, twice as many at once after a pause; null: no limit."
    )
    retrain_timeout_s: Positive = setting(7200, "seconds after which a retraining is stopped.", advanced=True)
    refresh_s: Positive = setting(
        10,
        "seconds between two looks at the registry. A model that was promoted is then served.",
        advanced=True,
    )
    drain_s: Positive = setting(
        20,
        "seconds that open requests get to be answered when the server is stopped. It takes no others then.",
        advanced=True,
    )
    threads: Count = setting(
        8, "requests answered at the same time. A retraining that is waited for takes one.", advanced=True
    )
    max_upload_bytes: Count = setting(
        32_000_000, "bytes of one request with images. data.max_pixels limits each image.", advanced=True
    )
    max_images: Count = setting(64, "images in one request.", advanced=True)
    receive_timeout_s: Positive = setting(
        30, "seconds after which a request that has not arrived whole is refused.", advanced=True
    )


class RecordsConfig(Section):
    images_dir: FilePath = setting(Path("inspections"), "inspected images, named by their content.")
    keep_days: OptionalPositive = setting(
        365, "days that inspections, their images, and jobs with their logs are kept; null: for ever."
    )
    keep_gb: OptionalPositive = setting(
        50,
        "gigabytes that images may take; null: no limit. Room is made as images come, and their records stay. Callers without a key "
        "lose theirs first. Then who takes most room loses most, by key and by line. Doubtful verdicts go last.",
    )
    anonymous_gb_per_h: OptionalPositive = setting(
        10,
        "gigabytes of images kept per hour of one caller without a key; null: no limit. Beyond that it gets verdicts, its images "
        "are not kept, and GET /health/records counts them.",
        advanced=True,
    )
    prune_every_h: Annotated[
        float,
        Field(gt=0, allow_inf_nan=False),
        Expected("hours above 0 (null for records.keep_days and records.keep_gb keeps everything)"),
    ] = setting(24, "between two prunings by the server. `defect prune` does it at once.", advanced=True)


class JobsConfig(Section):
    run_in_server: YesNo = setting(
        True,
        "false: the server only queues retrainings, and `defect worker` runs them in its own process.",
        advanced=True,
    )
    retrain_after_labels: OptionalCount = setting(
        None,
        "a retraining starts by itself when so many images were labelled since the last was asked for; null: never.",
    )
