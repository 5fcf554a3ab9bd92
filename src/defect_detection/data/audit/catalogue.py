"""The kinds of findings of the audit: severity, meaning and advice. See also `docs/audit.md`."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    BLOCKS = "blocks"  # training refuses
    ALLOWED = "allowed"  # would block, but for data.allow_leakage or data.allow_shortcuts
    WARNING = "warning"  # figures may be wrong
    NOTE = "note"  # worth a look


@dataclass(frozen=True)
class FindingKind:
    """One kind of finding, in words for a quality engineer."""

    name: str
    severity: Severity
    title: str
    meaning: str
    advice: str


_ALL = (
    FindingKind(
        "copies_across_splits",
        Severity.BLOCKS,
        "The same image in train and test",
        "The model would be tested on images from its training, so the test would be worthless.",
        "Remove each image from one of the two folders.",
    ),
    FindingKind(
        "groups_across_splits",
        Severity.BLOCKS,
        "The same part in train and test",
        "Images of one group (one part, one lot) are in both splits, so the test measures memorisation.",
        "Move all images of a group to one split, or correct data.group_pattern or the column group of index.csv.",
    ),
    FindingKind(
        "shortcuts",
        Severity.BLOCKS,
        "File properties predict the label",
        "OK and defective images differ in format, size, quality or camera. A model learns this difference instead of the "
        "defects, and all figures are too good.",
        "Save both classes in the same way, with the same camera and program. You can convert all old images in the same "
        "way.",
    ),
    FindingKind(
        "masks",
        Severity.BLOCKS,
        "Masks among the images",
        "Their names are names of masks of other images, and they have few gray levels. The model would treat them as images of "
        "parts.",
        "Name them in the column mask of index.csv, or move them out of the folder. If they do show parts, list them in the column "
        "file of index.csv.",
    ),
    FindingKind(
        "copies_across_labels",
        Severity.WARNING,
        "The same image with two labels",
        "One of the two labels is wrong.",
        "Look at the image, and remove the copy in the wrong folder.",
    ),
    FindingKind(
        "near_across_splits",
        Severity.WARNING,
        "Nearly identical images in train and test",
        "They may show one part, photographed twice. The test then measures memorisation, and its figures are too good. "
        "They may also be different parts that look alike, so training is not refused.",
        "Look at the pairs. If a pair shows one part, move both images to one split, and name the part with "
        "data.group_pattern or in index.csv.",
    ),
    FindingKind(
        "near_across_labels",
        Severity.WARNING,
        "Nearly identical images with different labels",
        "Either one label is wrong, or the defect is as small as the difference between the two.",
        "Compare each pair, and correct the label that is wrong.",
    ),
    FindingKind(
        "near_within",
        Severity.WARNING,
        "Nearly identical images in one split, without a common group",
        "If they show one part, validation may score an image with a model that was trained on its near duplicate. Its "
        "figures are then too good.",
        "Give the images of a part the same group, with data.group_pattern or in index.csv.",
    ),
    FindingKind(
        "label_suspects",
        Severity.WARNING,
        "Doubtful labels",
        "In cross-validation, the model is confident of the opposite label. Either the label is wrong, or the image is "
        "unlike all others of its class.",
        "Look at each image. If its label is wrong, move it to the right folder.",
    ),
    FindingKind(
        "unlike_the_others",
        Severity.WARNING,
        "OK images unlike the others",
        "In cross-validation, their anomaly score is far above that of the other OK images. They may show a defect. Such "
        "images do not raise the threshold (at most a tenth of the OK images).",
        "Look at each image, in this order. If it shows a defect, move it into a folder of that defect.",
    ),
    FindingKind(
        "shortcut_days",
        Severity.WARNING,
        "The day predicts the label",
        "OK and defective images were taken on different days. Light, lens and settings may differ too, and a model learns "
        "that difference.",
        "Take images of both classes on the same days.",
    ),
    FindingKind(
        "unreadable",
        Severity.WARNING,
        "Unreadable files",
        "They are damaged or not a JPEG, PNG, BMP, TIFF or WebP image, so training and test leave them out.",
        "Repair, convert or remove them. With data.on_unreadable: refuse, they stop the training.",
    ),
    FindingKind(
        "bit_depth",
        Severity.WARNING,
        "16-bit files of a camera that uses fewer bits",
        "No value uses the upper bits, so the images are nearly black to the model. The lighting is not the cause.",
        "Set data.bit_depth to the bit depth of the camera and train again, or configure the camera to use the upper bits.",
    ),
    FindingKind(
        "imbalance",
        Severity.NOTE,
        "One class is rare",
        "The model learns a class with few images less well, and its figures have wide intervals.",
        "Collect more images of this class. Compare escapes and overkill instead of accuracy.",
    ),
    FindingKind(
        "shortcut_names",
        Severity.NOTE,
        "The file name or file date predicts the label",
        "This is harmless if the files were named, copied or sorted after labelling. Otherwise the two classes come from "
        "different sources.",
        "Check that both classes come from the same line, camera and time.",
    ),
    FindingKind(
        "copies",
        Severity.NOTE,
        "Copies of the same image",
        "Each copy counts again in training and in the figures.",
        "Keep one of each.",
    ),
    FindingKind(
        "odd_size",
        Severity.NOTE,
        "Sizes or shapes unlike the others",
        "All images are brought to one size, so the parts in these images get another size, other proportions or wide margins.",
        "Check the camera, the crop and the export; crop them like the other images.",
    ),
    FindingKind(
        "blurry",
        Severity.NOTE,
        "Blurry images",
        "They are much less sharp than the others: out of focus, in motion, or not showing the part.",
        "Remove them, unless the line takes such images too.",
    ),
    FindingKind(
        "dark", Severity.NOTE, "Dark images", "Almost all pixels are dark.", "Check light and exposure."
    ),
    FindingKind(
        "bright", Severity.NOTE, "Bright images", "Almost all pixels are white.", "Check light and exposure."
    ),
    FindingKind(
        "low_information",
        Severity.NOTE,
        "Images with little content",
        "The image has only a few gray levels.",
        "Check that the image shows a part.",
    ),
)
KINDS = {kind.name: kind for kind in _ALL}
