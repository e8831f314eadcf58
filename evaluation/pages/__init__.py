"""Pages of audits and protocols."""
