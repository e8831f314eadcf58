"""Pages of reviews, reports and bundles."""
