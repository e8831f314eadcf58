"""Acts of people: ordering patients and generators of them."""
