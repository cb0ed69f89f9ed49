"""Stored images -> a generation: cells, clusters, geo-embeddings, search index, fitted posterior."""
