"""Indexes on object storage: published, fetched into a cache, verified, built beside and then published."""
