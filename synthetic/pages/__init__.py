"""What generation adds to other pages."""
