"""What programs order of synthetic patients."""
