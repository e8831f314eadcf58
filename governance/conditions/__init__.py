"""Whether the conditions of the catalogue hold: three-valued conclusions from answers. No Django models."""
