"""What programs ask of governance: one router for each area. ``config.api`` puts them together."""
