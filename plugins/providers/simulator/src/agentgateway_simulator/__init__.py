"""A model that needs no key and no network."""
