"""Parts of the page Sinks."""
