"""Model families: one readable file each, found through a table. Importing this door loads no torch."""

from quire.model.families.registry import FAMILIES, Family

__all__ = ["FAMILIES", "Family"]
