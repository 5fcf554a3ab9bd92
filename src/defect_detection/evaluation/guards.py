"""Guards of the gate: tests on two models' verdicts for the same parts."""

from .paired import PairedDifferences, Pairs, chance_beyond, chance_of_worse, fewest_parts, parts_needed
from .policy import Check, GatePolicy, Outcome, Rule
from .rates import percent


def escapes(pairs: Pairs, policy: GatePolicy) -> Rule:
    """Test that the escape rate is not higher by the margin (non-inferiority). HOLD if there are significantly more escapes."""
    found, margin = pairs.escapes, f"{percent(policy.margin)} percentage points"
    if not found.total:
        reason = f"No defective test image, so escapes are unknown; {_from_none(policy, pairs.noun)}"
        needed = fewest_parts(policy.margin, policy.level)
        return Rule(name="escapes", outcome=Outcome.INSUFFICIENT, reason=reason, helps=_add_to_test(needed))
    seen = (
        f"Of {found.total} defective {pairs.noun} it misses {found.worse} that the champion catches, and catches {found.better} "
        "that the champion misses"
    )
    beyond, worse = chance_beyond(found, policy.margin), chance_of_worse(found)
    if beyond <= policy.level:
        ruled_out = f"enough evidence that escapes rise by less than {margin} ({_p(beyond)})"
        return Rule(name="escapes", outcome=Outcome.PROMOTE, reason=f"{seen}: {ruled_out}")
    if worse <= policy.level:
        more = f"significantly more escapes (McNemar, {_p(worse)})"
        return Rule(name="escapes", outcome=Outcome.HOLD, reason=f"{seen}: {more}")
    too_few = f"not enough evidence that escapes rise by less than {margin} ({_p(beyond)}, needs <= {policy.level:g})"
    reason = f"{seen}: {too_few}; {_what_would(found, policy, pairs.noun)}"
    needed = parts_needed(found, policy.margin, policy.level)
    helps = _add_to_test(needed and needed - found.total)
    return Rule(name="escapes", outcome=Outcome.INSUFFICIENT, reason=reason, helps=helps)


def _add_to_test(parts: int | None) -> str:
    return f"add about {parts} defective parts to the test images" if parts else ""


def _from_none(policy: GatePolicy, noun: str) -> str:
    needed = fewest_parts(policy.margin, policy.level)
    return f"about {needed or 'too many'} defective test {noun} with the same verdicts of both models would be enough"


def _what_would(found: PairedDifferences, policy: GatePolicy, noun: str) -> str:
    needed = parts_needed(found, policy.margin, policy.level)
    if needed is None:
        return f"more {noun} with such results would not help either"
    return f"about {needed - found.total} more defective test {noun} with such results would be enough"


def slices(pairs: Pairs, policy: GatePolicy) -> Rule:
    """Hold if a defect type has significantly more escapes.

    One exact McNemar test for each type with enough differing parts to ever be significant, with Holm's correction
    (Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979).
    """
    if len(pairs.types) < 2:
        reason = "All defects have the same type" if pairs.types else "There is no defect to compare by type"
        return Rule(name="slices", outcome=Outcome.PROMOTE, reason=reason)
    worse = _worse_types(pairs, policy.level, "misses", "catches")
    if worse:
        return Rule(
            name="slices",
            outcome=Outcome.HOLD,
            reason=f"Significantly worse on defects of type {', '.join(worse)}",
        )
    return Rule(name="slices", outcome=Outcome.PROMOTE, reason="Not significantly worse on any defect type")


def types(named: Pairs, level: float) -> Check:
    """Check that no type of defect is named wrongly significantly more often, as `slices` does with escapes.

    Args:
        named: defective images whose type both models should name; "called" is whether each named it.
    """
    worse = _worse_types(named, level, "misnames", "names")
    if worse:
        return Check(
            name="types", passed=False, text=f"Significantly worse at naming the type {', '.join(worse)}"
        )
    return Check(
        name="types", passed=True, text=f"Names no type significantly worse, on {len(named.labels)} images"
    )


def _worse_types(pairs: Pairs, level: float, wrong: str, right: str) -> list[str]:
    """Describe the types on which the candidate is significantly worse."""
    found = {name: pairs.escapes_of(name) for name in pairs.types}
    tested = {name: chance_of_worse(one) for name, one in found.items() if _may_be_significant(one, level)}
    worse = []
    for place, name in enumerate(sorted(tested, key=lambda name: (tested[name], name))):
        if tested[name] * (len(tested) - place) > level:
            break
        worse.append(
            f"{name} ({wrong} {found[name].worse} of {found[name].total} that the champion {right}, "
            f"{right} {found[name].better} that it {wrong}, {_p(tested[name])})"
        )
    return worse


def _may_be_significant(found: PairedDifferences, level: float) -> bool:
    return 0.5 ** (found.worse + found.better) <= level


def gain(pairs: Pairs, policy: GatePolicy) -> Rule:
    """Test whether the higher accuracy is statistically significant."""
    found = pairs.mistakes
    chance = chance_of_worse(PairedDifferences(found.better, found.worse, found.total))
    enough = chance <= policy.level
    reason = f"{in_words(pairs)}: {'more than' if enough else 'may be'} chance"
    return Rule(name="gain", outcome=Outcome.PROMOTE if enough else Outcome.INSUFFICIENT, reason=reason)


def worse(pairs: Pairs, policy: GatePolicy) -> Rule:
    """Hold if the candidate makes significantly more errors than the champion."""
    found = pairs.mistakes
    chance = chance_of_worse(found)
    held = chance <= policy.level
    reason = (
        f"Wrong on {found.worse} {pairs.noun} where the champion is right, right on {found.better} where it is wrong: "
        f"{'' if held else 'not '}significantly worse (McNemar, {_p(chance)})"
    )
    return Rule(name="worse", outcome=Outcome.HOLD if held else Outcome.PROMOTE, reason=reason)


def in_words(pairs: Pairs) -> str:
    """Return how often only one of the two models is right, and the p-value."""
    found = pairs.mistakes
    chance = chance_of_worse(PairedDifferences(found.better, found.worse, found.total))
    right = f"Right on {found.better} {pairs.noun} where the champion is wrong"
    return f"{right}, wrong on {found.worse} where it is right (McNemar, {_p(chance)})"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.0005 else "p < 0.0005"
