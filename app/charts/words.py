"""Numbers as the page says them."""


def percent(share: float) -> str:
    """``73 %``, with a space that does not break."""
    return f"{share * 100:.0f}\u00a0%"
