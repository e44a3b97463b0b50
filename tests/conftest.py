from __future__ import annotations

from jaxtyping import install_import_hook

# Shapes and types in signatures are checked in every test, not believed.
install_import_hook("consilience", "beartype.beartype")
