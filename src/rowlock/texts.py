"""Which characters are visible: the rules for every text, name and label.

The classes are written for `re` and for the patterns of JSON Schema alike.
"""

import re

# C0 and C1 controls. A text that may have lines has these two, besides a return before a newline.
CONTROLS = r"\x00-\x1f\x7f-\x9f"
LINES = r"\t\n\r"
OTHER_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
# Separators: Zs, Zl and Zp.
BLANKS = r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Unicode's default-ignorable characters, the other format characters (Cf), the blank of Braille,
# the musical null, and the marks of annotations. Those beyond the basic plane stand apart, as
# patterns of JSON Schema have no common way to write them.
INVISIBLE = (
    r"\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffc"
)
# Two of them join letters or keep them apart, as Persian, Sinhala and other scripts are spelt.
INVISIBLE_BUT_JOINERS = INVISIBLE.replace(r"\u200b-\u200f", r"\u200b\u200e\u200f")
INVISIBLE_BEYOND = (
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d159"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
SURROGATES = r"\ud800-\udfff"  # lone ones, which UTF-8 can't encode

PLAIN = re.compile("[!-~][ -~]*")  # all of it shows, as in most texts
CONTROL = re.compile(f"[{CONTROLS}{SURROGATES}]")
CONTROL_BUT_LINES = re.compile(f"[{OTHER_CONTROLS}{SURROGATES}]")
HIDDEN_BUT_JOINERS = re.compile(
    f"[{CONTROLS}{SURROGATES}{INVISIBLE_BUT_JOINERS}{INVISIBLE_BEYOND}]"
)
HIDDEN = re.compile(f"[{CONTROLS}{SURROGATES}{INVISIBLE}{INVISIBLE_BEYOND}]")
VISIBLE = re.compile(f"[^{CONTROLS}{SURROGATES}{BLANKS}{INVISIBLE}{INVISIBLE_BEYOND}]")


def pattern(*, lines: bool = False) -> str:
    """Return a JSON Schema pattern of texts with a visible character and no control characters.

    With `lines`, tabs and newlines are no control characters.
    """
    taken = f"[^{OTHER_CONTROLS if lines else CONTROLS}]*"
    return f"^{taken}[^{CONTROLS}{BLANKS}{INVISIBLE}]{taken}$"


def problem(text: str, *, lines: bool = False) -> str | None:
    """Return what is wrong with a text, or None. The caller checks its length."""
    if (CONTROL_BUT_LINES if lines else CONTROL).search(text):
        but = " but tabs and newlines" if lines else ""
        return f"Must not contain control characters{but}."
    if text and not VISIBLE.search(text):
        return "Must have a visible character."
    return None
