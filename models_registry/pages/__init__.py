"""Pages of systems, versions, cohorts and imports."""
