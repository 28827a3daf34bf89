"""Text from elsewhere, such as the name of a file, as it may be shown: a terminal obeys what it does not print."""


def visible(text: str) -> str:
    """The text with each character that is not printed written as in `\\x1b` or `\\u202e`."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
