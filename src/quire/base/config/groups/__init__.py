"""The settings themselves, one file per group, nothing but declarations."""
