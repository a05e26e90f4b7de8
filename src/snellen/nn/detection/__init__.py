"""Networks that find objects: those that propose regions and look again, and those that answer everywhere at once."""
