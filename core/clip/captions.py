"""Captions in varied wording, made of facts, for the shipped annotator's training.

A caption tells one to four facts of an image: “a photo of a smiling woman with blond hair and no glasses”.
The words come from `core.clip.vocabulary`; sentences are put together from a subject, adjectives, what the
person has, wears and is, and a frame around it. Wordings that measure the annotator (`core.clip.wordings`)
are never made.
"""

from __future__ import annotations

import random

from core.clip.facts import AGES, ETHNICITIES, FACTS, INDEX
from core.clip.vocabulary import (
    AGE_ADJECTIVES,
    AGE_BEING,
    AGE_HAS,
    BLURRY_FRAMES,
    FACES,
    FRAMES,
    NOUNS,
    OPENINGS,
    SHARP_FRAMES,
    WORDS,
)

# How likely a caption tells a fact; 1 where not named. What the attribute sets ask for comes more often.
WEIGHT = {
    **dict.fromkeys(("male", "glasses", "smiling"), 2.5),
    **dict.fromkeys(("black_hair", "brown_hair", "blond_hair", "grey_hair", "bald"), 3.0),
    **dict.fromkeys(("moustache", "goatee", "beard", "clean_shaven"), 3.0),
    **dict.fromkeys(("child", "teenager", "adult", "old"), 3.5),
    **dict.fromkeys(ETHNICITIES, 2.0),
    **dict.fromkeys(("attractive", "blurry", "oval_face", "pointy_nose", "high_cheekbones"), 0.4),
}
# The same for telling that it is not so.
WEIGHT_NOT = {
    "male": 2.5,
    "glasses": 1.5,
    "smiling": 2.0,
    "beard": 0.8,
    "facial_hair": 0.8,
    "young": 0.8,
    "hat": 0.3,
    "moustache": 0.5,
    "goatee": 0.3,
    "bald": 0.3,
    "mouth_open": 0.4,
    "makeup": 0.3,
    "lipstick": 0.2,
    "clean_shaven": 0.0,
    "full_beard": 0.0,
    "attractive": 0.0,
    "adult": 0.1,
    "old": 0.15,
    "child": 0.15,
}
OTHER_NOT = 0.06


def choose_facts(known: dict[str, bool], rng: random.Random, first: str | None = None) -> dict[str, bool]:
    """One to four of an image's known facts, `first` before all, in the order to be told; {} without any."""
    names = [n for n in known if weight_of(n, known[n]) > 0]
    count = min(len(names), rng.choices((1, 2, 3, 4), (0.55, 0.27, 0.12, 0.06))[0])
    chosen: dict[str, bool] = {}
    while len(chosen) < count and names:
        weights = [weight_of(n, known[n]) for n in names]
        name = first if first in names else rng.choices(names, weights)[0]
        names.remove(name)
        # one age is enough: “an adult of middle age” says no more
        if name in AGES:
            names = [n for n in names if n not in AGES]
        chosen[name] = known[name]
    return chosen


def weight_of(name: str, true: bool) -> float:
    """How likely it is told that a fact is true, or false, relative to others; 0: never."""
    return WEIGHT.get(name, 1.0) if true else WEIGHT_NOT.get(name, OTHER_NOT)


def caption(told: dict[str, bool], rng: random.Random) -> str:
    """A caption in lower case that tells exactly these facts."""
    if len(told) <= 3 and rng.random() < 0.12:
        return _listed(told, rng)
    gender = told.get("male")
    age = next((n for n in AGES if told.get(n)), None)
    rest = [n for n in told if n not in ("male", "blurry", age)]
    spoken_age = age is not None and rng.random() < 0.3
    sentence = rng.random() < 0.25
    nouns = NOUNS[None if spoken_age else age][0 if gender is None else 1 if gender else 2]
    noun = rng.choice(nouns)
    adjectives: list[str] = []
    phrases: list[tuple[str, str]] = []  # kind (has, wears, being, lacks, does), words
    if spoken_age and age is not None:
        options = [("being", AGE_BEING), ("has", AGE_HAS), ("adjective", AGE_ADJECTIVES)]
        kind, table = rng.choice(options[:1] if rng.random() < 0.4 else options)
        (adjectives.append if kind == "adjective" else lambda w, k=kind: phrases.append((k, w)))(
            rng.choice(table[age])
        )
    for name in rest:
        kind, words = _phrase(name, told[name], rng)
        if kind == "adjective" and len(adjectives) < 2:
            adjectives.append(words)
        else:
            phrases.append((kind if kind != "adjective" else "being", words))
    subject = " ".join([*adjectives, noun])
    if gender is None and (age is None or spoken_age) and rng.random() < 0.2:
        subject = " ".join([*adjectives, rng.choice(("face", "human face", "head", "face", "portrait"))])
    if sentence and phrases:
        text = _sentence(subject, phrases, told, adjectives, rng)
    else:
        text = rng.choice(_frames(told)).format(_article(_joined(subject, phrases, rng), rng))
    return " ".join(text.split())


def _frames(told: dict[str, bool]) -> tuple[str, ...]:
    if "blurry" in told:
        return BLURRY_FRAMES if told["blurry"] else SHARP_FRAMES
    return FRAMES


def _article(text: str, rng: random.Random) -> str:
    """The noun phrase with an article, in most cases, and at times as “the face of” it."""
    first = text.split()[0]
    if first in (
        "people",
        "men",
        "women",
        "children",
        "kids",
        "adults",
        "boys",
        "girls",
        "somebody",
        "someone",
    ):
        named = text
    elif rng.random() < 0.1:
        named = text if rng.random() < 0.5 else f"the {text}"
    else:
        named = ("an " if first[0] in "aeiou" else "a ") + text
    if " face" not in text and " head" not in text and rng.random() < 0.22:
        return rng.choice(FACES).format(named)
    return named


def _phrase(name: str, true: bool, rng: random.Random) -> tuple[str, str]:
    """A way to tell that a fact is so or not so: its kind and its words."""
    if name in AGES:  # only false ones come here
        return "not", rng.choice(AGE_BEING[name])
    words = WORDS[name]
    if true:
        options = [("has", words.has), ("wears", words.wears), ("being", words.being)]
        options += [("adjective", words.adjectives), ("does", words.does)]
    else:
        options = [("lacks", words.has), ("bare", words.wears), ("not", words.being), ("doesn't", words.does)]
        if rng.random() < 0.45:
            own = [("has", words.less_has), ("being", words.less_being), ("adjective", words.less_adjectives)]
            options = own if any(w for _, w in own) else options
    kind, found = rng.choice([(kind, found) for kind, found in options if found])
    return kind, rng.choice(found)


def _bare(words: str) -> str:
    """Without its article: “no beard”."""
    for article in ("a ", "an ", "the "):
        if words.startswith(article):
            return words[len(article) :]
    return words


def _modifier(kind: str, words: str, rng: random.Random) -> str:
    """A phrase behind a noun: “with glasses”, “who is not smiling”."""
    pick = rng.choice
    if kind == "has":
        return pick(
            ("with {}", "with {}", "with {}", "who has {}", "having {}", "that has {}", "who has got {}")
        ).format(words)
    if kind == "wears":
        return pick(
            (
                "wearing {}",
                "wearing {}",
                "in {}",
                "who wears {}",
                "who is wearing {}",
                "with {}",
                "that wears {}",
            )
        ).format(words)
    if kind == "being":
        return pick(("who is {}", "that is {}", "{}", "who looks {}", "being {}", "who seems {}")).format(
            words
        )
    if kind == "lacks":
        if rng.random() < 0.5:
            return pick(("without {}", "who does not have {}", "who doesn't have {}")).format(words)
        return pick(("with no {}", "without any {}", "who has no {}", "having no {}", "lacking {}")).format(
            _bare(words)
        )
    if kind == "bare":
        return pick(
            (
                "not wearing {}",
                "who does not wear {}",
                "who isn't wearing {}",
                "without {}",
                "who wears no {}",
            )
        ).format(_bare(words) if rng.random() < 0.3 else words)
    if kind == "not":
        return pick(
            ("who is not {}", "not {}", "who isn't {}", "that is not {}", "who does not look {}")
        ).format(words)
    if kind == "does":
        return f"who {words if words.endswith('s') else words + 's'}"
    return pick(("who does not {}", "who doesn't {}", "that does not {}", "who never {}s")).format(
        words.removesuffix("s")
    )


def _predicate(kind: str, words: str, rng: random.Random) -> str:
    """A phrase behind a subject: “has glasses”, “is not smiling”."""
    pick = rng.choice
    if kind == "has":
        return pick(("has {}", "has {}", "has got {}", "is a person with {}", "shows {}")).format(words)
    if kind == "wears":
        return pick(("wears {}", "is wearing {}", "has {} on", "is seen with {}")).format(words)
    if kind == "being":
        return pick(("is {}", "is {}", "looks {}", "seems to be {}", "appears {}")).format(words)
    if kind == "lacks":
        if rng.random() < 0.5:
            return pick(("does not have {}", "doesn't have {}", "is without {}")).format(words)
        return pick(("has no {}", "has not got any {}", "lacks {}", "has got no {}")).format(_bare(words))
    if kind == "bare":
        return pick(("does not wear {}", "isn't wearing {}", "is not wearing {}", "wears no {}")).format(
            _bare(words) if rng.random() < 0.3 else words
        )
    if kind == "not":
        return pick(("is not {}", "isn't {}", "does not look {}")).format(words)
    if kind == "does":
        return words if words.endswith("s") else words + "s"
    return pick(("does not {}", "doesn't {}")).format(words.removesuffix("s"))


def _joined(subject: str, phrases: list[tuple[str, str]], rng: random.Random) -> str:
    parts = [_modifier(kind, words, rng) for kind, words in phrases]
    if len(parts) > 1:
        join = rng.choice((", ", " and ", " ", ", and "))
        return f"{subject} {', '.join(parts[:-1])}{join}{parts[-1]}"
    return " ".join([subject, *parts])


def _sentence(
    subject: str,
    phrases: list[tuple[str, str]],
    told: dict[str, bool],
    adjectives: list[str],
    rng: random.Random,
) -> str:
    gender = told.get("male")
    if gender is None and not adjectives and not any(told.get(a) for a in AGES) and rng.random() < 0.8:
        opening = rng.choice(OPENINGS)
    elif gender is not None and not adjectives and len(told) == len(phrases) + 1 and rng.random() < 0.4:
        opening = rng.choice(("he", "this man") if gender else ("she", "this woman"))
    else:
        opening = rng.choice(("the {}", "this {}", "a {}", "the {} in the picture")).format(subject)
    verbs = [_predicate(kind, words, rng) for kind, words in phrases]
    text = f"{opening} {' and '.join(verbs)}"
    if "blurry" in told:
        text += rng.choice((" in a blurry photo", ", blurred") if told["blurry"] else (" in a sharp photo",))
    return text


def _listed(told: dict[str, bool], rng: random.Random) -> str:
    """Key words: “man, glasses, no beard”."""
    parts = []
    for name, true in told.items():
        if name == "male":
            parts.append(rng.choice(NOUNS[None][1 if true else 2]))
        elif name in AGES:
            parts.append(rng.choice(NOUNS[name][0]) if true else f"not {rng.choice(AGE_BEING[name])}")
        elif name == "blurry":
            parts.append(rng.choice(("blurry", "blurred", "unsharp") if true else ("sharp", "not blurry")))
        else:
            kind, words = _phrase(name, true, rng)
            if kind in ("lacks", "bare"):
                words = rng.choice(("no {}", "without {}", "without any {}")).format(_bare(words))
            elif kind == "not":
                words = f"not {words}"
            elif kind == "doesn't":
                words = f"does not {words}"
            elif kind in ("has", "wears"):
                words = rng.choice((words, _bare(words)))
            parts.append(words)
    rng.shuffle(parts)
    return rng.choice((", ", ", ", " and ", " ")).join(parts)


def told_row(told: dict[str, bool]) -> list[int]:
    """The facts of a caption as a row of the table `core.clip.facts.fits` takes."""
    row = [0] * len(FACTS)
    for name, true in told.items():
        row[INDEX[name]] = 1 if true else -1
    return row
