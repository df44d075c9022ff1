"""Installed fonts for characters that the default font lacks."""

import functools

import matplotlib
from matplotlib import font_manager


def families_with(text: str) -> tuple[list[str], str]:
    """The font families for a text, the default ones first, and the characters that no installed font has."""
    families = list(matplotlib.rcParams["font.family"])
    default = font_manager.findfont(font_manager.FontProperties(family=families))
    missing = {character for character in text if character.isprintable()} - _characters_of(default)
    candidates = font_manager.findSystemFonts() if missing else []
    while missing and candidates:
        best = max(candidates, key=lambda path: (len(missing & _characters_of(path)), "regular" in path.lower(), path))
        found = missing & _characters_of(best)
        if not found:
            break
        font_manager.fontManager.addfont(best)  # its list may be older than the font
        families.append(font_manager.get_font(best).family_name)
        missing -= found
    return families, "".join(sorted(missing))


@functools.cache
def _characters_of(path: str) -> frozenset[str]:
    """The characters of a font; none of one that cannot be read."""
    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
