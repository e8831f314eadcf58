"""What programs send to monitors and ask of them, under ``/api/v1/monitors``."""
