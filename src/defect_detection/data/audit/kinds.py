"""What the audit can find: how bad it is, what it means, and what to do. `docs/audit.md` says more about each."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    BLOCKS = "blocks"  # training refuses
    ALLOWED = "allowed"  # would block, but for data.allow_leakage or data.allow_shortcuts
    WARNING = "warning"  # figures may be wrong
    NOTE = "note"  # worth a look


@dataclass(frozen=True)
class Kind:
    """One kind of finding, in words for a quality engineer."""

    name: str
    severity: Severity
    title: str
    meaning: str
    advice: str


_ALL = (
    Kind(
        "copies_across_splits",
        Severity.BLOCKS,
        "The same image in train and test",
        "The model would be tested on images that it has learned from, and the test would say nothing.",
        "Remove each from one of the two folders.",
    ),
    Kind(
        "groups_across_splits",
        Severity.BLOCKS,
        "The same part in train and test",
        "Images of one group (one part, one lot) lie on both sides, so the test measures memory.",
        "Move all images of a group to one side, or correct data.group_pattern or the column group of index.csv.",
    ),
    Kind(
        "shortcuts",
        Severity.BLOCKS,
        "Something beside the picture tells the label",
        "OK and defective images differ in their format, size, quality or camera. A model learns that difference instead of the "
        "defects, and every figure is too good.",
        "Save both in the same way, with the same camera and program. Old images can be saved anew, all of them alike.",
    ),
    Kind(
        "masks",
        Severity.BLOCKS,
        "Masks among the images",
        "Their names say that they mark where the defect is in the images beside them, and they have few gray levels. The model "
        "would learn from them as if they showed parts.",
        "Name them in the column mask of index.csv, or move them out of the folder. If they do show parts, list them in the column "
        "file of index.csv.",
    ),
    Kind(
        "copies_across_labels",
        Severity.WARNING,
        "The same image with two labels",
        "One of the two labels is wrong.",
        "Look at the image, and remove the copy that is in the wrong folder.",
    ),
    Kind(
        "near_across_splits",
        Severity.WARNING,
        "Nearly identical images in train and test",
        "They may show the same part, photographed twice: then the test measures memory, and its figures are too good. Different "
        "parts that merely look alike can be among them, so training isn't refused.",
        "Look at the pairs. Where they show one part, move both to one side; name parts with data.group_pattern or in index.csv.",
    ),
    Kind(
        "near_across_labels",
        Severity.WARNING,
        "Nearly identical images with different labels",
        "Either one label is wrong, or the defect is as small as the difference between the two.",
        "Compare each pair, and correct the label that is wrong.",
    ),
    Kind(
        "near_within",
        Severity.WARNING,
        "Nearly identical images on one side, in no common group",
        "If they show the same part, validation may judge an image by a fit that has learned from its twin, and look too good.",
        "Give the images of a part the same group, with data.group_pattern or in index.csv.",
    ),
    Kind(
        "label_suspects",
        Severity.WARNING,
        "Labels to look at again",
        "A model that never learned from the image is sure of the opposite of its label. Either the label is wrong, or the image is "
        "unlike all others of its kind.",
        "Look at each, and move those with a wrong label to the right folder.",
    ),
    Kind(
        "shortcut_days",
        Severity.WARNING,
        "The day tells the label",
        "OK and defective images were taken on different days. Light, lens and setting may differ with the day, and a model learns "
        "that difference too.",
        "Take images of both kinds on the same days.",
    ),
    Kind(
        "unreadable",
        Severity.WARNING,
        "Unreadable files",
        "They are left out of training and test: they are damaged, or no JPEG, PNG, BMP, TIFF or WebP image.",
        "Repair, convert or remove them. data.on_unreadable: refuse stops at them instead.",
    ),
    Kind(
        "bit_depth",
        Severity.WARNING,
        "16-bit files of a camera that uses fewer bits",
        "No value in any of them reaches the upper bits, so white is nearly black to the model. The light is not the reason.",
        "Set data.bit_depth to the camera's bits and train again, or let the camera shift its values to the upper bits.",
    ),
    Kind(
        "imbalance",
        Severity.NOTE,
        "One class is rare",
        "A class with few images is learned less well, and its figures have wide intervals.",
        "Collect more images of it. Compare escapes and overkill rather than accuracy.",
    ),
    Kind(
        "shortcut_names",
        Severity.NOTE,
        "The name or date of the file tells the label",
        "Files are often named, copied and sorted after they were labelled: then it means nothing. Otherwise the two kinds come from "
        "different places.",
        "Make sure that both kinds come from the same line, camera and time.",
    ),
    Kind(
        "copies",
        Severity.NOTE,
        "Copies of the same image",
        "Each copy counts again in training and in the figures.",
        "Keep one of each.",
    ),
    Kind(
        "odd_size",
        Severity.NOTE,
        "Sizes or shapes unlike the others",
        "All images are stretched to one square, so a part comes out in other proportions than on the rest.",
        "Check the camera, the crop and the export; cut them as the others are cut.",
    ),
    Kind(
        "blurry",
        Severity.NOTE,
        "Blurry images",
        "They have far less fine structure than the others: out of focus, moving, or something else than the part.",
        "Remove them unless the line takes such images too.",
    ),
    Kind("dark", Severity.NOTE, "Dark images", "Hardly a pixel is bright.", "Check light and exposure."),
    Kind(
        "bright", Severity.NOTE, "Bright images", "Hardly a pixel isn't white.", "Check light and exposure."
    ),
    Kind(
        "low_information",
        Severity.NOTE,
        "Images with little in them",
        "A few gray levels make up the whole image.",
        "Check whether a part is in the image at all.",
    ),
)
KINDS = {kind.name: kind for kind in _ALL}
