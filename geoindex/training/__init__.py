"""Geo-embeddings learned from images: losses, heads, and the fit over stored features."""
