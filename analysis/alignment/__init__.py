"""Which units of which networks do the same thing, against what chance gives."""
