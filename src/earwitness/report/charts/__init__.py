"""Charts as Altair specifications, and their rendering to SVG and PNG."""
