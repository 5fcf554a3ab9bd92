"""Find the part in the name of a file by a pattern such as ``{part}_*.png``: ``*`` stands for anything, ``{part}`` for the part.

Names are matched from left to right with the shortest text for each place, in linear time: no pattern can block a server.
"""

from dataclasses import dataclass

from defect_detection.errors import DataError

PART, ANY = "{part}", "*"
MOST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class NamePattern:
    """texts: what stands before, between and behind the places; is_part: for each place, whether it is that of the part."""

    texts: tuple[str, ...]
    is_part: tuple[bool, ...]
    with_ending: bool

    @classmethod
    def of(cls, pattern: str) -> "NamePattern":
        """Return the pattern of a text. Without a dot in it, the ending of names does not count.

        Raises:
            DataError: the place of the part is missing or there twice, or two places have no text between them.
        """
        if pattern.count(PART) != 1 or len(pattern) > MOST_CHARACTERS:
            raise DataError(
                f"pattern: expected {PART} once, such as '{PART}_*.png' or 'line1-{PART}-*', received {pattern[:80]!r}"
            )
        before, after = pattern.split(PART)
        texts = (*before.split(ANY), *after.split(ANY))
        is_part = (*(False,) * before.count(ANY), True, *(False,) * after.count(ANY))
        if "" in texts[1:-1]:
            raise DataError(
                f"pattern: expected a text between two places, such as '{PART}_{ANY}', received {pattern[:80]!r}"
            )
        return cls(texts, is_part, "." in pattern)

    def part_of(self, name: str) -> str | None:
        """Return the part in a name; None where the name does not match."""
        text = name if self.with_ending else name.rpartition(".")[0] or name
        first, *between = self.texts
        if not text.startswith(first):
            return None
        at, part = len(first), ""
        for number, (following, is_part) in enumerate(zip(between, self.is_part, strict=True)):
            is_last = number == len(between) - 1
            begin = at + is_part  # a part has at least one character
            end = len(text) - len(following) if is_last else text.find(following, begin)
            if end < begin or not text.startswith(following, end):
                return None
            part = text[at:end] if is_part else part
            at = end + len(following)
        return part.strip() or None
