"""Text from strangers - names of files, of layers, of classes - made safe to print.

A file's name may hold what a terminal obeys: escape sequences that move the cursor or set the window's title, a bell, marks
that turn the direction of writing about. Each is printed as its code.
"""

from __future__ import annotations

import unicodedata

#: Format characters that belong to the words of a language: the joiners of Persian, Hindi and emoji.
_PART_OF_WORDS = "\u200c\u200d"


def visible(text: str) -> str:
    r"""Return a text with what a terminal obeys or does not show as codes; lines and tabs stay.

    >>> print(visible("a\x1b[2Jb\u202egnp.c"))
    a\x1b[2Jb\u202egnp.c
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter in "\n\t" or letter in _PART_OF_WORDS or unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return letter
    return letter_code(letter)


def letter_code(letter: str) -> str:
    r"""Return the code of a letter, as Python writes it: \x1b, \u202e, \U0001f600."""
    number = ord(letter)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
