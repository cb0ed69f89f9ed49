"""Query vector -> ranked candidates: top-k geocells, then every cluster in them."""
