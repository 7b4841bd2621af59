"""The words that tell facts of a face: tables, from which `core.clip.captions` makes sentences."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Words:
    """Ways to tell a fact: “with” has, “wearing” wears, “who is” being, and adjectives before the noun.

    `less_*` tell that the fact is false in words of their own; besides, `has`, `wears` and `being` are
    negated.
    """

    has: tuple[str, ...] = ()
    wears: tuple[str, ...] = ()
    being: tuple[str, ...] = ()
    adjectives: tuple[str, ...] = ()
    less_has: tuple[str, ...] = ()
    less_being: tuple[str, ...] = ()
    less_adjectives: tuple[str, ...] = ()
    does: tuple[str, ...] = field(default=())  # verbs: “smile”, negated with “does not”


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|") if part.strip())


def _hair(*colours: str) -> tuple[str, ...]:
    """Ways to say that somebody's hair has a colour."""
    patterns: tuple[str, ...] = (
        "{} hair",
        "{} hair",
        "hair that is {}",
        "{} coloured hair",
        "{} locks",
        "a head of {} hair",
    )
    patterns += ("{} hair on the head", "{}-coloured hair", "long {} hair", "short {} hair", "hair dyed {}")
    return tuple(pattern.format(colour) for colour in colours for pattern in patterns)


WORDS: dict[str, Words] = {
    "glasses": Words(
        has=_split(
            "glasses|eyeglasses|spectacles|glasses on|a pair of glasses|specs|glasses on the nose|eye glasses"
        ),
        wears=_split(
            "glasses|eyeglasses|spectacles|a pair of glasses|specs|eyewear|reading glasses|sunglasses"
        ),
        adjectives=_split("bespectacled"),
        less_has=_split("bare eyes|uncovered eyes|nothing over the eyes"),
    ),
    "smiling": Words(
        has=_split(
            "a smile|a happy face|a big smile|a smiling face|a grin|a cheerful expression|a broad smile"
            "|a happy expression|a friendly smile|a smile on the face|a happy look|laughing eyes"
        ),
        being=_split("smiling|happy|grinning|cheerful|laughing|joyful|in a good mood"),
        adjectives=_split("smiling|happy|grinning|cheerful|laughing|joyful|friendly"),
        less_has=_split(
            "a serious face|a neutral expression|a straight face|a serious expression|a stern look"
            "|a neutral face|a serious look|a blank expression"
        ),
        less_being=_split("serious|unsmiling|stern|not happy|looking serious|solemn"),
        less_adjectives=_split("serious|unsmiling|stern|solemn|neutral"),
        does=_split("smile|smiles|grin|laugh"),
    ),
    "black_hair": Words(
        has=_hair("black", "jet-black", "raven", "very dark", "black"),
        adjectives=_split("black-haired|dark-haired|raven-haired|black haired"),
    ),
    "brown_hair": Words(
        has=_hair("brown", "brunette", "chestnut", "brown", "light brown", "dark brown"),
        adjectives=_split("brown-haired|brunette|brown haired|chestnut-haired"),
    ),
    "blond_hair": Words(
        has=_hair("blond", "blonde", "fair", "golden", "blond", "yellow"),
        adjectives=_split("blond|blonde|fair-haired|blond-haired|blonde-haired|golden-haired"),
    ),
    "grey_hair": Words(
        has=_hair("grey", "gray", "silver", "white", "grey", "greying"),
        adjectives=_split("grey-haired|gray-haired|white-haired|silver-haired|greying"),
    ),
    "bald": Words(
        has=_split("no hair|a bald head|a shaved head|no hair on the head|a hairless head|a bald scalp"),
        being=_split("bald|completely bald|bald-headed|hairless|without hair"),
        adjectives=_split("bald|bald-headed|hairless"),
        less_has=_split("hair|hair on the head|a full head of hair|thick hair"),
    ),
    "moustache": Words(
        has=_split(
            "a moustache|a mustache|a moustache under the nose|hair on the upper lip|whiskers"
            "|a mustache above the lips|a bushy moustache|a thin moustache"
        ),
        adjectives=_split("moustached|mustached"),
        wears=_split("a moustache|a mustache"),
    ),
    "goatee": Words(
        has=_split(
            "a goatee|a goatee beard|a small beard on the chin|a chin beard|a goatee on the chin"
            "|a small pointed beard|a beard around the mouth|hair on the chin"
        ),
        adjectives=_split("goateed"),
        wears=_split("a goatee|a goatee beard"),
    ),
    "beard": Words(
        has=_split(
            "a beard|a bearded face|a beard on the cheeks and chin|a beard on the face|hair on the cheeks"
            "|a thick beard|a bushy beard|some beard"
        ),
        adjectives=_split("bearded|unshaven|unshaved"),
        wears=_split("a beard"),
        being=_split("bearded|unshaven"),
        less_adjectives=_split("beardless"),
        less_being=_split("beardless"),
    ),
    "full_beard": Words(
        has=_split("a full beard|a long beard|a big beard|a full bushy beard|a thick full beard"),
        adjectives=_split("fully bearded|full-bearded"),
        wears=_split("a full beard"),
    ),
    "facial_hair": Words(
        has=_split("facial hair|hair on the face|a beard or moustache|some facial hair"),
        adjectives=_split("hairy-faced"),
    ),
    "clean_shaven": Words(
        has=_split(
            "a clean-shaven face|a shaved chin|smooth cheeks|a smooth chin|a clean shaven face|shaved cheeks"
        ),
        being=_split("clean-shaven|clean shaven|freshly shaved|well shaved|shaven"),
        adjectives=_split("clean-shaven|clean shaven|smooth-faced|shaven"),
    ),
    "sideburns": Words(has=_split("sideburns|hair in front of the ears|long sideburns")),
    "stubble": Words(
        has=_split("stubble|a five o'clock shadow|a 5 o'clock shadow|a stubbly chin|a three-day beard"),
        adjectives=_split("stubbly"),
        being=_split("badly shaved"),
    ),
    "receding_hairline": Words(
        has=_split("a receding hairline|thinning hair|a high forehead|little hair in front"),
        being=_split("balding|losing hair"),
        adjectives=_split("balding"),
    ),
    "bangs": Words(
        has=_split("bangs|a fringe|hair over the forehead|a fringe over the forehead|bangs on the forehead")
    ),
    "straight_hair": Words(
        has=_split("straight hair|smooth straight hair|straight locks"), adjectives=_split("straight-haired")
    ),
    "wavy_hair": Words(
        has=_split("wavy hair|curly hair|curls|wavy locks|waves in the hair"),
        adjectives=_split("wavy-haired|curly-haired|curly"),
    ),
    "hat": Words(
        has=_split("a hat|a cap|a hat on|headwear|a hat on the head|a covered head"),
        wears=_split("a hat|a cap|headwear|a beanie|a baseball cap|something on the head"),
    ),
    "earrings": Words(
        has=_split("earrings|jewellery in the ears|ear rings|an earring|pierced ears"),
        wears=_split("earrings|ear rings|jewelry on the ears|an earring"),
    ),
    "necklace": Words(
        has=_split("a necklace|a chain around the neck|jewellery on the neck"),
        wears=_split("a necklace|a chain around the neck|a pendant"),
    ),
    "necktie": Words(
        has=_split("a tie|a necktie|a tie around the neck"),
        wears=_split("a tie|a necktie|a suit and tie|a collar and tie"),
    ),
    "lipstick": Words(
        has=_split("lipstick|painted lips|red lips|lipstick on the lips|coloured lips"),
        wears=_split("lipstick|red lipstick"),
    ),
    "makeup": Words(
        has=_split("heavy make-up|makeup|make-up|a lot of makeup|make up on the face"),
        wears=_split("make-up|heavy makeup|makeup|a lot of make-up|cosmetics"),
        adjectives=_split("made-up|heavily made-up"),
    ),
    "rosy_cheeks": Words(has=_split("rosy cheeks|red cheeks|pink cheeks|blush on the cheeks")),
    "pale_skin": Words(
        has=_split("pale skin|a pale face|very fair skin|a white complexion|light skin"),
        adjectives=_split("pale|pale-skinned"),
        being=_split("pale"),
    ),
    "mouth_open": Words(
        has=_split("an open mouth|the mouth open|parted lips|visible teeth|the mouth slightly open"),
        less_has=_split("a closed mouth|the mouth closed|closed lips"),
        being=_split("showing teeth|talking|opening the mouth"),
    ),
    "high_cheekbones": Words(has=_split("high cheekbones|prominent cheekbones|raised cheeks")),
    "double_chin": Words(
        has=_split("a double chin|a fat chin|two chins"), adjectives=_split("double-chinned")
    ),
    "chubby": Words(
        has=_split("a chubby face|a fat face|chubby cheeks|a round full face"),
        adjectives=_split("chubby|fat|overweight|plump"),
        being=_split("chubby|fat|overweight"),
    ),
    "bags_under_eyes": Words(
        has=_split("bags under the eyes|eye bags|tired eyes|dark circles under the eyes")
    ),
    "arched_eyebrows": Words(
        has=_split("arched eyebrows|curved eyebrows|high arched brows|plucked eyebrows")
    ),
    "bushy_eyebrows": Words(has=_split("bushy eyebrows|thick eyebrows|heavy brows|big eyebrows")),
    "narrow_eyes": Words(
        has=_split("narrow eyes|small eyes|squinting eyes|half-closed eyes|slit eyes"),
        being=_split("squinting"),
    ),
    "big_nose": Words(
        has=_split("a big nose|a large nose|a broad nose|a wide nose"), adjectives=_split("big-nosed")
    ),
    "pointy_nose": Words(has=_split("a pointy nose|a pointed nose|a thin nose|a sharp nose")),
    "big_lips": Words(has=_split("big lips|full lips|thick lips|large lips")),
    "oval_face": Words(
        has=_split("an oval face|an egg-shaped face|a face of oval shape"), adjectives=_split("oval-faced")
    ),
    "attractive": Words(
        adjectives=_split("attractive|beautiful|good-looking|pretty|handsome"),
        being=_split("attractive|beautiful|good-looking"),
    ),
    "blurry": Words(),  # told by the frame
    "young": Words(
        adjectives=_split("young|youthful|young-looking"),
        being=_split("young|youthful"),
        has=_split("a young face|smooth young skin|a youthful look"),
        less_adjectives=_split("older|mature|not so young"),
        less_being=_split("older|mature|not young"),
        less_has=_split("an older face|a mature face"),
    ),
    "white": Words(
        adjectives=_split("white|caucasian|european|white"),
        being=_split("white|caucasian|european"),
        has=_split("white skin|caucasian features"),
    ),
    "black": Words(
        adjectives=_split("black|african|dark-skinned|african american|black"),
        being=_split("black|african|dark-skinned|of african descent"),
        has=_split("dark skin|black skin|african features|brown skin"),
    ),
    "asian": Words(
        adjectives=_split("asian|east asian|oriental|chinese|japanese|korean|asian"),
        being=_split("asian|east asian|from asia|from east asia"),
        has=_split("asian features|asian eyes|an asian face"),
    ),
    "indian": Words(
        adjectives=_split("indian|south asian|indian"),
        being=_split("indian|south asian|from india|from south asia"),
        has=_split("indian features|an indian face"),
    ),
}

# Nouns by age (or none) and gender (or none).
NOUNS: dict[str | None, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    None: (
        _split("person|person|human|individual|human being|subject|people|somebody|someone"),
        _split("man|man|guy|male|male person|gentleman|male human|fellow|dude|masculine person|men"),
        _split("woman|woman|lady|female|female person|gal|female human|feminine person|girl or woman|women"),
    ),
    "baby": (
        _split("baby|infant|toddler|little baby|newborn|very small child|small baby"),
        _split("baby boy|male baby|infant boy|boy toddler"),
        _split("baby girl|female baby|infant girl|girl toddler"),
    ),
    "child": (
        _split(
            "child|kid|little kid|small child|young child|youngster|little child|young kid|"
            "children|kids|minor"
        ),
        _split("boy|little boy|young boy|male child|small boy|male kid|boys"),
        _split("girl|little girl|young girl|female child|small girl|female kid|girls"),
    ),
    "teenager": (
        _split("teenager|teen|adolescent|teenage person|youth|teenaged person|juvenile|high school student"),
        _split("teenage boy|male teenager|adolescent boy|teen boy|boy in his teens"),
        _split("teenage girl|female teenager|adolescent girl|teen girl|girl in her teens"),
    ),
    "adult": (
        _split("adult|grown-up|adult person|grown-up person|adult human|grown person|adults"),
        _split("adult man|grown man|male adult|grown-up man"),
        _split("adult woman|grown woman|grown-up woman|adult lady"),
    ),
    "young_adult": (
        _split(
            "young adult|person in the twenties|young grown-up|"
            "person between twenty and thirty|university student"
        ),
        _split("young adult man|young man in his twenties|young adult male"),
        _split("young adult woman|young woman in her twenties|young adult female"),
    ),
    "middle_aged": (
        _split(
            "middle-aged person|middle aged person|middle-aged adult|person in middle age|"
            "person of forty or fifty"
        ),
        _split("middle-aged man|middle aged man|man in his forties|man in his fifties"),
        _split("middle-aged woman|middle aged woman|woman in her forties|woman in her fifties"),
    ),
    "old": (
        _split(
            "old person|elderly person|senior|senior citizen|pensioner|aged person|elder|"
            "old human|grandparent"
            "|elderly people|old people|retired person|very old person|person with wrinkles|wrinkled person"
        ),
        _split(
            "old man|elderly man|grandfather|grandpa|aged man|senior man|old gentleman|"
            "elderly gentleman|old guy"
        ),
        _split("old woman|elderly woman|grandmother|grandma|aged woman|senior woman|old lady|elderly lady"),
    ),
}
AGE_BEING = {
    "baby": _split("a baby|an infant|not even three years old|one year old"),
    "child": _split(
        "a child|a kid|under twelve|a few years old|very young|still small|five years old|ten years old"
    ),
    "teenager": _split(
        "a teenager|in the teens|an adolescent|about sixteen|not yet grown up|fifteen years old"
    ),
    "adult": _split("an adult|grown up|a grown-up|of adult age"),
    "young_adult": _split("in the twenties|about thirty|a young adult|twenty-five years old"),
    "middle_aged": _split("middle-aged|of middle age|about fifty|in the forties"),
    "old": _split(
        "old|elderly|aged|over sixty|a senior|seventy years old|very old|wrinkled|retired|of old age"
    ),
}
AGE_ADJECTIVES = {
    "old": _split("old|elderly|aged|wrinkled|senior"),
    "child": _split("childish|child's"),
    "teenager": _split("teenage|adolescent"),
    "middle_aged": _split("middle-aged|middle aged"),
    "adult": _split("adult|grown-up"),
    "baby": _split("baby's"),
    "young_adult": _split("young adult"),
}
AGE_HAS = {
    "old": _split("wrinkles|wrinkled skin|an old face|deep wrinkles|a wrinkled face"),
    "child": _split("a child's face|a childlike face|a child face"),
    "adult": _split("an adult face|a grown-up face"),
    "teenager": _split("a teenage face|an adolescent face"),
    "baby": _split("a baby face|a baby's face"),
    "middle_aged": _split("a middle-aged face"),
    "young_adult": _split("a young adult face"),
}

FRAMES = _split(
    "{}|{}|{}|a photo of {}|a photo of {}|a photo of {}|a picture of {}|an image of {}|a photograph of {}"
    "|a portrait of {}|a portrait photo of {}|a close-up of {}|a close-up photo of {}|a headshot of {}"
    "|a cropped photo of {}|a good photo of {}|a bad photo of {}|a face photo of {}|a selfie of {}"
    "|this is {}|this is a photo of {}|it is {}|an image showing {}|a photo showing {}|there is {}"
    "|a photo in which there is {}|this picture shows {}|the photo shows {}|we see {}|"
    "here is {}|one can see {}"
    "|a colour photo of {}|a passport photo of {}|the image is of {}|a profile picture of {}|photo of {}"
    "|picture of {}|portrait of {}|image of {}|a picture that shows {}|in this photo you see {}|look at {}"
)
BLURRY_FRAMES = _split(
    "a blurry photo of {}|a blurred picture of {}|an out of focus photo of {}|"
    "a blurry image of {}|a fuzzy photo of {}"
    "|a photo of poor sharpness of {}|an unsharp photo of {}|blurry picture of {}"
)
SHARP_FRAMES = _split(
    "a sharp photo of {}|a clear picture of {}|a crisp photo of {}|a photo in focus of {}"
    "|a high quality photo of {}|a photo that is not blurry of {}"
)
FACES = _split(
    "the face of {}|a face of {}|{}'s face|the head of {}|a view of the face of {}|the head and face of {}"
)
OPENINGS = _split(
    "this person|the person|the person in the photo|the person in the picture|the subject|"
    "somebody who|someone who"
    "|a person who|this human|the face|the one in this image|a person that|the individual|"
    "one who|a face of somebody who"
)
