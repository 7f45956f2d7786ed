"""A page that others see: what visitors may do, their line and limits, whose run is whose, and signing in."""
