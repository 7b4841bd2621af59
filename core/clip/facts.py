"""What the sources of the shared faces say about each image: true, false, or nothing.

A fact is narrower than an attribute: “has a goatee” is true, false or unknown. Captions are made of facts,
and whether an image fits a caption is decided by them, so that a fact the source does not tell never counts
against an image.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import StudioError

# CelebA's flags that are facts as they stand, and the names they have here.
CELEBA_FLAGS = {
    "Male": "male",
    "Young": "young",
    "Eyeglasses": "glasses",
    "Smiling": "smiling",
    "Mustache": "moustache",
    "Goatee": "goatee",
    "Sideburns": "sideburns",
    "5_o_Clock_Shadow": "stubble",
    "Bald": "bald",
    "Receding_Hairline": "receding_hairline",
    "Bangs": "bangs",
    "Straight_Hair": "straight_hair",
    "Wavy_Hair": "wavy_hair",
    "Wearing_Hat": "hat",
    "Wearing_Earrings": "earrings",
    "Wearing_Necklace": "necklace",
    "Wearing_Necktie": "necktie",
    "Wearing_Lipstick": "lipstick",
    "Heavy_Makeup": "makeup",
    "Rosy_Cheeks": "rosy_cheeks",
    "Pale_Skin": "pale_skin",
    "Mouth_Slightly_Open": "mouth_open",
    "High_Cheekbones": "high_cheekbones",
    "Double_Chin": "double_chin",
    "Chubby": "chubby",
    "Bags_Under_Eyes": "bags_under_eyes",
    "Arched_Eyebrows": "arched_eyebrows",
    "Bushy_Eyebrows": "bushy_eyebrows",
    "Narrow_Eyes": "narrow_eyes",
    "Big_Nose": "big_nose",
    "Pointy_Nose": "pointy_nose",
    "Big_Lips": "big_lips",
    "Oval_Face": "oval_face",
    "Attractive": "attractive",
    "Blurry": "blurry",
}
HAIR_FLAGS = {
    "Black_Hair": "black_hair",
    "Brown_Hair": "brown_hair",
    "Blond_Hair": "blond_hair",
    "Gray_Hair": "grey_hair",
}
AGES = ("baby", "child", "teenager", "adult", "young_adult", "middle_aged", "old")
ETHNICITIES = ("white", "black", "asian", "indian")
FACTS = (
    *CELEBA_FLAGS.values(),
    *HAIR_FLAGS.values(),
    "beard",
    "full_beard",
    "facial_hair",
    "clean_shaven",
    *AGES,
    *ETHNICITIES,
)
INDEX = {name: i for i, name in enumerate(FACTS)}


def celeba_facts(flags: dict[str, str]) -> dict[str, bool]:
    """The facts that CelebA's 40 flags (“1” or “-1”) tell."""

    def has(name: str) -> bool:
        return flags[name] == "1"

    facts = {fact: has(flag) for flag, fact in CELEBA_FLAGS.items()}
    colours = [fact for flag, fact in HAIR_FLAGS.items() if has(flag)]
    # with no colour flagged, or under a hat, the flags leave the colour open
    if colours or has("Bald"):
        facts.update({fact: fact in colours for fact in HAIR_FLAGS.values()})
    if has("Wearing_Hat"):
        for name in ("bald", "receding_hairline", "bangs"):
            if not facts[name]:
                del facts[name]
    # the flags are not exclusive: most moustaches are with a goatee, and a goatee is a beard
    shaven, goatee = has("No_Beard"), has("Goatee")
    if shaven:
        facts["beard"] = False
    elif goatee or has("Sideburns") or not (has("Mustache") or has("5_o_Clock_Shadow")):
        facts["beard"] = True  # a moustache or stubble alone leaves it open
    if shaven or (goatee and not has("Sideburns")):
        facts["full_beard"] = False
    elif has("Sideburns") and not goatee:
        facts["full_beard"] = True
    bare = shaven and not has("Mustache") and not has("Goatee")
    facts["facial_hair"] = not bare
    facts["clean_shaven"] = bare and not has("5_o_Clock_Shadow")
    # CelebA's people are adults, but its “young” does not say how young
    if not has("Young"):
        facts.update(baby=False, child=False, teenager=False)
    elif not has("Gray_Hair"):
        facts["old"] = False
    return facts


def utkface_facts(name: str) -> dict[str, bool]:
    """The facts in a UTKFace file name: age, gender and ethnicity."""
    fields = name.split("_")
    facts: dict[str, bool] = {}
    if len(fields) < 4 or not fields[0].isdigit():
        return facts
    years = int(fields[0])
    facts = {
        "baby": years <= 2,
        "child": years <= 12,
        "teenager": 13 <= years <= 19,
        "adult": 20 <= years < 60,
        "young_adult": 20 <= years <= 35,
        "middle_aged": 40 <= years < 60,
        "old": years >= 60,
    }
    if 13 <= years <= 35 or years >= 45:
        facts["young"] = years <= 35
    if fields[1] in ("0", "1"):
        facts["male"] = fields[1] == "0"
    if years <= 12 or facts.get("male") is False:
        facts.update(dict.fromkeys(("beard", "full_beard", "moustache", "goatee", "facial_hair"), False))
    if fields[2] in ("0", "1", "2", "3"):
        facts.update({e: i == int(fields[2]) for i, e in enumerate(ETHNICITIES)})
    return facts


def read_facts(data: Path, names: Sequence[str]) -> np.ndarray:
    """(N, len(FACTS)) int8 of the images called `names` (as `prepare` names them): 1, -1, or 0 unknown."""
    try:
        with (data / "celeba_attributes.csv").open(newline="") as file:
            celeba = {f"celeba/{row['image']}": celeba_facts(row) for row in csv.DictReader(file)}
        genders: dict[str, bool] = {}
        for value in ("female", "male"):
            for line in (data / f"lfw_{value}_names.txt").read_text().split():
                genders[line] = value == "male"
    except (OSError, KeyError) as error:
        raise StudioError(
            f"The labels of the shared faces can't be read: {error}.", "Give the folder that was prepared."
        ) from error
    table = np.zeros((len(names), len(FACTS)), np.int8)
    for row, name in zip(table, names, strict=True):
        source, _, rest = name.partition("/")
        if source == "celeba":
            facts = celeba.get(name, {})
        elif source == "utkface":
            facts = utkface_facts(rest)
        else:
            person, _, file_name = rest.partition("/")
            male = genders.get(file_name, genders.get(person))
            facts = {} if male is None else {"male": male}
        for fact, true in facts.items():
            row[INDEX[fact]] = 1 if true else -1
    return table


def fits(captions: np.ndarray, facts: np.ndarray) -> np.ndarray:
    """(N, T) int8: 1 where an image fits a caption, -1 where it does not, 0 where the facts don't say.

    `captions` (T, F) holds the facts each caption tells (1, -1, or 0 for not told), `facts` (N, F) the
    images'.
    """
    product = captions.astype(np.float32)
    images = facts.astype(np.float32)
    agreed = (product > 0) @ (images > 0).T.astype(np.float32) + (product < 0) @ (images < 0).T.astype(
        np.float32
    )
    denied = (product > 0) @ (images < 0).T.astype(np.float32) + (product < 0) @ (images > 0).T.astype(
        np.float32
    )
    told = np.abs(product).sum(1, keepdims=True)
    return np.where(denied > 0, -1, np.where(agreed == told, 1, 0)).astype(np.int8).T
