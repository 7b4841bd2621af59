"""Wordings that measure the annotator: never among its training captions.

The attribute phrase or the sentence around it is new; the single words are known, for a word that was never
seen means nothing to a model this small. A test proves that no caption of the training contains one.
"""

from __future__ import annotations

# Attribute of resources/attributes/faces.toml -> value -> sentences.
WORDINGS: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {
        "female": (
            "the person shown here is a woman",
            "a snapshot of some lady",
            "here we look at a female human being",
        ),
        "male": (
            "the person shown here is a man",
            "a snapshot of some guy",
            "here we look at a male human being",
        ),
    },
    "glasses": {
        "glasses": (
            "the person shown here needs eyeglasses",
            "a snapshot of somebody whose eyes are behind glasses",
            "a face that has spectacles on it",
        ),
        "none": (
            "the person shown here needs no eyeglasses",
            "a snapshot of somebody whose eyes are behind no glasses",
            "a face that has no spectacles on it",
        ),
    },
    "smile": {
        "smiling": (
            "the person shown here smiles at us",
            "a snapshot of a happily smiling face",
            "here we look at a face full of happy laughing",
        ),
        "none": (
            "the person shown here does not smile at us",
            "a snapshot of a face that is very serious",
            "here we look at a face without happy laughing",
        ),
    },
    "age": {
        "child": (
            "the person shown here is still a little child",
            "a snapshot of some small kid",
            "here we look at the face that a child has",
        ),
        "teenager": (
            "the person shown here is still a teenager",
            "a snapshot of some adolescent",
            "here we look at the face that a teenager has",
        ),
        "adult": (
            "the person shown here is already an adult",
            "a snapshot of some grown-up",
            "here we look at the face that an adult has",
        ),
        "old": (
            "the person shown here is already very old",
            "a snapshot of some elderly person",
            "here we look at the face that a senior has",
        ),
    },
    "hair_color": {
        "black": (
            "the person shown here has hair whose colour is black",
            "a snapshot of hair that looks black",
            "here we look at the black hair of somebody",
        ),
        "brown": (
            "the person shown here has hair whose colour is brown",
            "a snapshot of hair that looks brown",
            "here we look at the brown hair of somebody",
        ),
        "blond": (
            "the person shown here has hair whose colour is blond",
            "a snapshot of hair that looks blond",
            "here we look at the blonde hair of somebody",
        ),
        "grey": (
            "the person shown here has hair whose colour is grey",
            "a snapshot of hair that looks grey",
            "here we look at the gray hair of somebody",
        ),
        "bald": (
            "the person shown here has a head that is bald",
            "a snapshot of a head on which there is no hair",
            "here we look at the bald head of somebody",
        ),
    },
    "facial_hair": {
        "none": (
            "the person shown here has shaved",
            "a snapshot of cheeks and chin without a beard",
            "here we look at the shaven face of somebody",
        ),
        "moustache": (
            "the person shown here lets a moustache grow",
            "a snapshot of a moustache above a mouth",
            "here we look at the mustache of somebody",
        ),
        "goatee": (
            "the person shown here lets a goatee grow",
            "a snapshot of a goatee below a mouth",
            "here we look at the goatee of somebody",
        ),
        "beard": (
            "the person shown here lets a full beard grow",
            "a snapshot of a beard that covers the cheeks",
            "here we look at the big beard of somebody",
        ),
    },
}


def held_out_wordings() -> frozenset[str]:
    """Sentences that no training caption may be or contain, in lower case: these, and the faces set's."""
    from core.attributes import load_attribute_set
    from core.paths import resources

    found = {text for values in WORDINGS.values() for texts in values.values() for text in texts}
    for attribute in load_attribute_set(resources() / "attributes" / "faces.toml"):
        for value in attribute.values:
            found.update(prompt.lower() for prompt in value.prompts)
    return frozenset(found)
