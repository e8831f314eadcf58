"""What programs ask of the registry: one router for each area. ``config.api`` puts them together."""
