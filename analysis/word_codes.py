"""Words as one number each, for compiled code: the hash FNV-1a of their characters, of 64 bits."""

START, PRIME = 0xCBF29CE484222325, 0x100000001B3
_MASK = (1 << 64) - 1


def code_of(word: str) -> int:
    """The number that stands for a word, signed.

    Example:
        >>> code_of("ttbar") == code_of("ttbar") != code_of("ttbar_2018")
        True
    """
    code = START
    for character in word:
        code = ((code ^ ord(character)) * PRIME) & _MASK
    return code - (1 << 64) if code >> 63 else code
