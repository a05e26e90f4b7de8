"""Networks that find objects: regions that are proposed, pooled and judged, and those that answer everywhere at once."""
