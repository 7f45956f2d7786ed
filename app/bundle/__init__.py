"""A run as a page of its own: `making.make_bundle` writes it, `viewer/` is what opens in the browser."""
